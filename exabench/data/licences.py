"""Licences that training data inherits: those of the collections that its texts are from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from exabench.core.nouns import Task
from exabench.core.rows import Table
from exabench.tasks.catalogue import aliases, tasks

MSMARCO = "MS MARCO terms: non-commercial research only"
"""Of every text of MS MARCO: https://microsoft.github.io/msmarco/"""


def tasks_of(recipe: Mapping[str, Any]) -> list[Task]:
    """The tasks of the catalogue that a recipe names anywhere, each once, by name."""
    found = {}
    for name in task_names(recipe):
        task = tasks().get(aliases().get(name.lower(), ""))
        if task is not None:
            found[task.name] = task
    return [found[name] for name in sorted(found)]


def inherited_licences(recipe: Mapping[str, Any], sources: Iterable[str] = ()) -> dict[str, str]:
    """The licence of each collection that a recipe reads, as far as it is known, by the collection's title.

    `sources` names what was read of no task, such as a file of triples.
    """
    licences = {}
    for task in tasks_of(recipe):
        if task.licence:
            licences[task.title] = task.licence
    for source in sources:
        if "MS MARCO" in source:
            licences[source] = MSMARCO
    return licences


def licences_behind(table: Table) -> dict[str, str]:
    """The licences that a model inherits that learns from a table: the table's own, and those of its collections."""
    name = table.recipe.get("table", "")
    return {f"table {name}": table.licence, **inherited_licences(table.recipe)}


def task_names(value: Any) -> Iterator[str]:
    """The values of every key `task` in a recipe."""
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        if key == "task" and isinstance(inner, str):
            yield inner
        else:
            yield from task_names(inner)
