"""Means over tasks: each task of a suite weighs the same; one that is the mean of others (CQADupStack) counts once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exabench.core.nouns import Task
from exabench.measure.metric_values import mean
from exabench.measure.statistics import as_one_task
from exabench.tasks.catalogue import expand, suite_name, task as task_of


@dataclass(frozen=True)
class Suite:
    """A suite, or a task that is the mean of others: the tasks that are scored, and how their mean is taken.

    `parts` has for each task of the suite the names of those that are scored for it: itself, or its members.
    """

    name: str
    tasks: tuple[Task, ...]
    parts: tuple[tuple[str, ...], ...]

    @property
    def label(self) -> str:
        """What a line of means is called."""
        return f"{self.name} (mean of {len(self.parts)})"

    def mean_of(self, values: Mapping[str, float]) -> float:
        """The macro mean of one value for each of `tasks`, by name."""
        # Tasks weigh the same, not queries, as in the tables of BEIR and MTEB: 49 queries of Touche count as much as
        # 10,000 of Quora.
        means = []
        for members in self.parts:
            means.append(mean(values[name] for name in members))
        return mean(means)

    def arrays_of(self, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The values of each task's queries, by name, as one array for each of `parts`, as `mean_intervals` takes."""
        arrays = []
        for members in self.parts:
            arrays.append(as_one_task([values[name] for name in members]))
        return arrays


def suite_of(name: str | Path | Task, data: str | Path | None = None, board: str | Path | None = None) -> Suite | None:
    """The suite that `name` stands for, None for a single task. Raises as `tasks.catalogue.task` does."""
    title = suite_name(name) if isinstance(name, str) else ""
    if title:
        listed = expand(title, data=data, board=board)
    else:
        whole = task_of(name, data=data, board=board)
        if not whole.members:
            return None
        title = whole.name
        listed = expand(whole.members, data=data, board=board)
    parts = tuple(one.members or (one.name,) for one in listed)
    scored: list[str] = []
    for members in parts:
        scored += members
    tasks = tuple(expand(scored, data=data, board=board))
    return Suite(title, tasks, parts)
