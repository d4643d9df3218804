"""The results of one reranker on several tasks: a mapping by task with means over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exabench.bench.suite_means import Suite
from exabench.core.errors import plural
from exabench.core.nouns import Result, Run
from exabench.core.tables import data_frame, html_table


class ResultTable(dict[str, Result]):
    """Results by the name of their task, in the order in which they were made.

    `runs` are the rankings that were measured, and `seconds` how long reranking took, both by task. `asked` holds all
    tasks that were asked for, `suites` the suites among them and the tasks that are a mean of others (CQADupStack).
    """

    def __init__(self, asked: Suite, suites: Sequence[Suite] = ()) -> None:
        super().__init__()
        self.asked = asked
        self.suites = tuple(suites)
        self.runs: dict[str, Run] = {}
        self.seconds: dict[str, float] = {}

    def add(self, result: Result, run: Run, seconds: float) -> None:
        """One more result, with the run that it measures."""
        self[result.task] = result
        self.runs[result.task] = run
        self.seconds[result.task] = seconds

    @property
    def mean(self) -> dict[str, float]:
        """The macro mean of each metric that all tasks have; a task that is a mean of others counts once.

        Empty where a task is missing, because a mean over the others would be another number.
        """
        return self._mean_of(self.asked)

    @property
    def means(self) -> dict[str, dict[str, float]]:
        """The macro means of the suites of which no task is missing, by name."""
        found = {}
        for suite in self.suites:
            values = self._mean_of(suite)
            if values:
                found[suite.name] = values
        return found

    def _mean_of(self, suite: Suite) -> dict[str, float]:
        """The macro mean of each metric over a suite; empty where one of its tasks is not there."""
        names = [task.name for task in suite.tasks]
        if not all(name in self for name in names):
            return {}
        means = {}
        for metric in self[names[0]].measurement.metrics:
            values = {}
            for name in names:
                metrics = self[name].measurement.metrics
                if metric in metrics:
                    values[name] = metrics[metric]
            # A headline that is one task's alone (R@1 of BRIGHT's long documents) has no mean.
            if len(values) == len(names):
                means[metric] = suite.mean_of(values)
        return means

    def __repr__(self) -> str:
        lines = []
        for name, result in self.items():
            headline = result.measurement.headline
            lines.append(f"{name} {headline} {result[headline]:.4f}")
        return f"<ResultTable of {plural(len(self), 'task')}: {', '.join(lines)}>"

    def _repr_html_(self) -> str:
        header = ("task", "metric", "value", "95% interval", "first stage", "p", "ceiling")
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
