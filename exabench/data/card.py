"""The card of a release in a folder: its facts, a row of its tables, and the Hub datasets that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from exabench.core.rows import Release, Row
from exabench.hub.cards import card, template_for
from exabench.tasks.catalogue import aliases, tasks


def release_card(folder: str | Path, release: Release, *, repository: str = "", existing: str = "") -> str:
    """README.md of a release. Its tables need not all be in `folder`: a row is shown of those that are.

    `repository` and `existing` are those of `card`. Raises BadInput as it does.
    """
    return card(
        release,
        template_for(release.name),
        samples=_sample_rows(Path(folder), release),
        sources=_source_datasets(release),
        repository=repository,
        existing=existing,
    )


def _sample_rows(folder: Path, release: Release) -> dict[str, Row]:
    """The first row of each table whose files are in the folder."""
    samples = {}
    for name, table in release.tables.items():
        for file in table.files:
            path = folder / file.path
            if file.rows and path.is_file():
                batches = pq.ParquetFile(path).iter_batches(batch_size=1)
                samples[name] = next(batches).to_pylist()[0]
                break
    return samples


def _source_datasets(release: Release) -> list[str]:
    """The Hub datasets of the tasks that the recipes name."""
    sources = set()
    for table in release.tables.values():
        for name in _task_names(table.recipe):
            task = tasks().get(aliases().get(name.lower(), ""))
            if task and task.hub:
                sources.add(task.hub["repo"])
    return sorted(sources)


def _task_names(recipe: Any) -> Iterator[str]:
    """The values of every key `task` in a recipe."""
    if not isinstance(recipe, dict):
        return
    for key, value in recipe.items():
        if key == "task" and isinstance(value, str):
            yield value
        else:
            yield from _task_names(value)
