"""The results of one reranker on several tasks: a mapping by task with means over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exabench.core.errors import plural
from exabench.core.nouns import Result, Run
from exabench.core.tables import data_frame, html_table
from exabench.measure.metric_values import mean


class ResultTable(dict[str, Result]):
    """Results by the name of their task, in the order in which they were made.

    `runs` are the rankings that were measured, and `seconds` how long reranking took, both by task. `groups` are the
    tasks that are the mean of others (CQADupStack) and the suites, each with the names of its members.
    """

    def __init__(
        self, groups: Mapping[str, tuple[str, ...]] | None = None, suites: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        super().__init__()
        self.groups = dict(groups or {})
        self.suites = dict(suites or {})
        self.runs: dict[str, Run] = {}
        self.seconds: dict[str, float] = {}

    def add(self, result: Result, run: Run, seconds: float) -> None:
        """One more result, with the run that it measures."""
        self[result.task] = result
        self.runs[result.task] = run
        self.seconds[result.task] = seconds

    @property
    def mean(self) -> dict[str, float]:
        """The macro mean of each metric that all tasks have; a task that is a mean of others counts once."""
        # The members of a group count through it; the other tasks for themselves.
        members: set[str] = set()
        members.update(*self.groups.values())
        return self._mean_of([*self.groups, *(name for name in self if name not in members)])

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """The macro means of the groups and suites of which every member is there, by name."""
        found = {}
        for name, members in {**self.groups, **self.suites}.items():
            values = self._mean_of(members)
            if values:
                found[name] = values
        return found

    def _mean_of(self, names: Iterable[str]) -> dict[str, float]:
        """The mean of each metric over tasks and groups; empty where one of them is not there."""
        rows: list[Mapping[str, float]] = []
        for name in names:
            if name in self.groups:
                rows.append(self._mean_of(self.groups[name]))
            elif name in self:
                rows.append(self[name].measurement.metrics)
            else:
                return {}
        if not rows:
            return {}
        # A headline that is one task's alone (R@1 of BRIGHT's long documents) has no mean.
        means = {}
        for metric in rows[0]:
            values = [row[metric] for row in rows if metric in row]
            if len(values) == len(rows):
                means[metric] = mean(values)
        return means

    def __repr__(self) -> str:
        lines = []
        for name, result in self.items():
            headline = result.measurement.headline
            lines.append(f"{name} {headline} {result[headline]:.4f}")
        return f"<ResultTable of {plural(len(self), 'task')}: {', '.join(lines)}>"

    def _repr_html_(self) -> str:
        header = ("task", "metric", "value", "95 % interval", "first stage", "p", "ceiling")
        rows: list[tuple[object, ...]] = []
        for name, result in self.items():
            metric = result.measurement.headline
            low, high = result.interval
            row = (name, metric, result[metric], f"[{low:.4f}, {high:.4f}]")
            rows.append((*row, result.first_stage[metric], result.gain["p"], result.ceiling[metric]))
        for name, values in self.means.items():
            metric = next(iter(values))
            rows.append((f"{name} (mean)", metric, values[metric], "", "", "", ""))
        return html_table(plural(len(self), "task"), header, rows)

    def to_pandas(self) -> Any:
        """A row for each task and metric, as a pandas DataFrame. Raises MissingExtra where pandas is not installed."""
        rows = []
        for name, result in self.items():
            rows += [{"task": name, **row} for row in result.rows()]
        return data_frame(rows)
