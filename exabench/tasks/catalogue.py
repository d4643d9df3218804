"""The table of tasks and suites, read from the TOML pages in tasks/."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import read_toml
from exabench.core.nouns import Convention, Task

FOLDER = Path(__file__).parent
_OF_CONVENTION = ("relevance_threshold", "self_match")


@functools.cache
def tasks() -> dict[str, Task]:
    """Every task by name, in the order of the pages."""
    found = {}
    for page in sorted(FOLDER.glob("*.toml")):
        if page.name == "suites.toml":
            continue
        for name, values in read_toml(page).items():
            of_convention = {key: values.pop(key) for key in _OF_CONVENTION if key in values}
            if "text_fields" in values:
                of_convention["text_fields"] = tuple(values.pop("text_fields"))
            convention = Convention(**of_convention)
            members = tuple(values.pop("members", ()))
            found[name] = Task(name=name, convention=convention, members=members, **values)
    return found


@functools.cache
def suites() -> dict[str, tuple[str, ...]]:
    """Every suite's tasks by the suite's name."""
    return {name: tuple(suite["tasks"]) for name, suite in read_toml(FOLDER / "suites.toml").items()}


def task(name: str) -> Task:
    """The task called `name`. Raises UnknownName with the nearest names."""
    if name not in tasks():
        raise UnknownName("task", name, tasks())
    return tasks()[name]


def single_task(name: str) -> Task:
    """The task called `name`, which must have judgements of its own (CQADupStack is scored by its forums)."""
    found = task(name)
    if found.members:
        raise BadInput(
            f"{name} is the mean of {len(found.members)} tasks; name one of them: {', '.join(found.members)}"
        )
    return found


def expand(names: Iterable[str]) -> list[str]:
    """Task names with every suite among `names` replaced by its tasks, each once. Raises UnknownName."""
    found = {}
    for name in names:
        for member in suites().get(name, (name,)):
            found[member] = task(member)
    return list(found)
