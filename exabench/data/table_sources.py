"""What a table was made from: the collections that its recipe names, and the languages of its texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, UnknownName
from exabench.core.nouns import Task
from exabench.core.rows import Table
from exabench.data.licences import task_names
from exabench.tasks.catalogue import task

_SELDOM = 0.05  # a language of fewer texts is more likely a wrong guess


def source_tasks(table: Table, board: str | Path | None = None) -> list[Task]:
    """The tasks that the recipe reads its texts from, each once, as far as the catalogue (or the board) knows them."""
    found: dict[str, Task] = {}
    for name in task_names(table.recipe):
        try:
            source = task(name, board=board)
        except (UnknownName, BadInput):
            continue
        found.setdefault(source.name, source)
    return list(found.values())


def table_languages(table: Table, sources: Sequence[Task]) -> list[str]:
    """The languages of the texts: those of the `sources`, else those that the table's report estimates.

    A folder that no task.toml describes is not known to be in any language.
    """
    described = []
    for source in sources:
        if source.folder is None and source.language not in described:
            described.append(source.language)
    return described or reported_languages(table.report)


def reported_languages(report: Mapping[str, Any]) -> list[str]:
    """The languages of the passages, the most frequent first; a report may hold anything, and then there is none."""
    shares = report.get("passage languages")
    if not isinstance(shares, Mapping):
        return []
    found = []
    for language, share in shares.items():
        if isinstance(share, float | int) and share >= _SELDOM and language != "und":
            found.append((-share, str(language)))
    return [language for _, language in sorted(found)]
