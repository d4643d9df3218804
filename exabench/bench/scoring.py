"""Scoring: runs against the judgements of a task, of every task of a suite, or any others; several make a table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from exabench.bench.measurement import METRICS, measurement, metrics_of, read_metrics
from exabench.bench.notes import equal_runs
from exabench.bench.suite_means import Suite, suite_of
from exabench.bench.systems import read_systems
from exabench.core.files import check_standard_input
from exabench.core.nouns import Measurement, Run, Task
from exabench.core.tables import csv_text, data_frame, html_table, latex_table, latex_text
from exabench.measure.statistics import mean_intervals
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import judgements_of


@dataclass(frozen=True)
class SuiteMean:
    """A system's macro means on a suite, by metric, with their 95% intervals; only metrics that every task has."""

    run: str
    suite: Suite
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {
            "run": self.run,
            "suite": self.suite.name,
            "tasks": [task.name for task in self.suite.tasks],
            "metrics": dict(self.metrics),
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
        }


_Bounded: TypeAlias = tuple[float | None, float | None, float | None]  # a value and its interval


class ScoreTable(list[Measurement]):
    """Measurements in order, system after system, as a list that also makes tables of itself.

    `means` are those of each system on a suite, and `notes` say what is odd about several runs at once.
    """

    def __init__(
        self, measurements: Iterable[Measurement], means: Sequence[SuiteMean] = (), notes: Sequence[str] = ()
    ) -> None:
        super().__init__(measurements)
        self.means = tuple(means)
        self.notes = tuple(notes)

    def as_json(self) -> dict[str, Any]:
        """The object that `bench score --json` prints of several runs."""
        return {
            "runs": [measured.as_json() for measured in self],
            "means": [mean.as_json() for mean in self.means],
            "notes": list(self.notes),
        }

    @property
    def metrics(self) -> list[str]:
        """The metrics of all lines, in order."""
        # A dict is a set that keeps its order: the headline of the first task comes first.
        names: dict[str, None] = {}
        for measured in self:
            names |= dict.fromkeys([*measured.metrics, *measured.abstention])
        return list(names)

    def rows(self) -> list[dict[str, Any]]:
        """A row for each system and task, and for each mean: the metrics and the bounds of their 95% intervals."""
        rows = []
        for system, task, queries, missing, values in self._lines():
            row: dict[str, Any] = {"system": system, "task": task, "queries": queries, "missing_queries": missing}
            for metric in self.metrics:
                value, low, high = values.get(metric, (None, None, None))
                row |= {metric: value, f"{metric} low": low, f"{metric} high": high}
            rows.append(row)
        return rows

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The header and the lines of a plain table, as text; the task is left out where there is only one."""
        header = ["system", "task", *self.metrics]
        lines = []
        for system, task, _, _, values in self._lines():
            line = [system, task]
            for metric in self.metrics:
                cell = ""
                value, low, high = values.get(metric, (None, None, None))
                if value is not None:
                    cell = f"{value:.4f}"  # the digits of trec_eval
                if low is not None:
                    cell += f" [{low:.4f}, {high:.4f}]"
                line.append(cell)
            lines.append(line)
        if len({line[1] for line in lines}) == 1:
            for line in (header, *lines):
                del line[1]
        return header, lines

    def latex(self) -> str:
        """The table as LaTeX (it needs the package booktabs), intervals behind their values."""
        header, lines = self.cells()
        names = len(header) - len(self.metrics)
        return latex_table(
            "l" * names + "r" * len(self.metrics),
            " & ".join(map(latex_text, header)),
            [" & ".join(map(latex_text, line)) for line in lines],
        )

    def csv(self) -> str:
        """`rows` as CSV, numbers in full."""
        return csv_text(self.rows())

    def to_pandas(self) -> Any:
        """`rows` as a pandas DataFrame. Raises MissingExtra where pandas is not installed."""
        return data_frame(self.rows())

    def __repr__(self) -> str:
        header, lines = self.cells()
        return "\n".join("  ".join(line) for line in (header, *lines))

    def _repr_html_(self) -> str:
        header, lines = self.cells()
        return html_table("scores", header, lines)

    def _lines(self) -> Iterator[tuple[str, str, int, int, dict[str, _Bounded]]]:
        """System, task, queries, missing queries, and by metric value and interval."""
        for one in self:
            values = _with_bounds(one.metrics, one.intervals)
            for metric, whole in one.abstention.items():  # a number of the whole run has no interval
                values[metric] = (whole, None, None)
            yield one.run, one.task or "", one.queries, one.missing_queries, values
        for mean in self.means:
            parts = [one for one in self if one.run == mean.run]
            queries = sum(one.queries for one in parts)
            missing = sum(one.missing_queries for one in parts)
            yield mean.run, mean.suite.label, queries, missing, _with_bounds(mean.metrics, mean.intervals)


def _with_bounds(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> dict[str, _Bounded]:
    return {name: (value, *intervals[name]) for name, value in metrics.items()}


def score(run: Any, **choices: Any) -> Any:
    """Measure a run against a `task` (`tasks.catalogue.task` says what names it) or any `qrels`.

    `run` is a Run, a file, `{query: {passage: score}}`, a DataFrame, a ranx.Run, ...; `qrels` a file or such a value.
    On a suite it is a folder of runs, or a run for each task by its name. A list holds several runs. One run on one
    task gives a Measurement, anything else a ScoreTable. The keywords are those of `score_systems`. Raises BadInput
    or OutsideFailed.
    """
    # A list is several runs, or one run as rows: its first item tells.
    if isinstance(run, list | tuple) and not (run and _is_row(run[0])):
        return score_systems(run, **choices)
    table = score_systems([run], **choices)
    if table.means:
        return table
    return table[0]


def _is_row(item: Any) -> bool:
    """Is an item of a list a row of one run, (query, passage, score) or a record of them, and no run?"""
    if isinstance(item, Mapping) and not isinstance(item, Run):
        return any(isinstance(value, int | float) for value in item.values())
    return isinstance(item, list | tuple)


def score_systems(
    systems: Sequence[Any],
    *,
    task: str | Task | None = None,
    qrels: Any = None,
    data: str | Path | None = None,
    metrics: str | Sequence[str] = (),
    threshold: int | None = None,
    lock: str | Path | None = None,
    board: str | Path | None = None,
) -> ScoreTable:
    """The table of one system or several.

    `metrics` default to the headline of each task and METRICS; `threshold` is the lowest grade that counts as relevant,
    by default the task's own, or 1.
    """
    run_scorer = RunScorer(task, qrels, data, threshold, lock, board)
    if isinstance(metrics, str):  # else each letter would be taken for a metric
        metrics = (metrics,)
    found = run_scorer.measure(systems, metrics, _metrics_of)
    measurements: list[Measurement] = []
    means = []
    for of_system in found.measurements:
        measurements += of_system
        if run_scorer.suite:
            means.append(_suite_mean(run_scorer.suite, of_system))
    return ScoreTable(measurements, means, found.notes)


def _metrics_of(task: Task | None) -> Sequence[str]:
    return metrics_of(task) if task else METRICS


def _suite_mean(suite: Suite, measurements: Sequence[Measurement]) -> SuiteMean:
    by_task = {str(one.task): one for one in measurements}
    metrics = {}
    arrays = []
    for name in measurements[0].metrics:
        holders = [one for one in measurements if name in one.metrics]
        if len(holders) < len(measurements):  # a mean over some of the tasks is another number
            continue
        metrics[name] = suite.mean_of({task: one[name] for task, one in by_task.items()})
        arrays.append(suite.arrays_of({task: values_of(one, name) for task, one in by_task.items()}))
    # All metrics at once: each is resampled with the same queries.
    bounds = mean_intervals(arrays)
    return SuiteMean(measurements[0].run, suite, metrics, dict(zip(metrics, bounds, strict=True)))


def values_of(measured: Measurement, metric: str) -> np.ndarray:
    """A metric's value for each query, in the order of the queries' ids."""
    return np.array(list(measured.per_query[metric].values()))


def _runs_of(systems: Sequence[Any]) -> Iterator[Any]:
    """Every run of the systems, as it was given; on a suite a system may be a mapping of them."""
    for system in systems:
        if isinstance(system, Mapping) and not isinstance(system, Run):
            yield from system.values()
        else:
            yield system


class Measured(NamedTuple):
    """For each system its measurement on each task, and notes on several runs at once."""

    measurements: list[list[Measurement]]
    notes: list[str]


class RunScorer:
    """What runs are measured on: a task, every task of a `suite`, or any judgements. Runs are read before judgements.

    Raises BadInput, OutsideFailed.
    """

    def __init__(
        self,
        task: str | Task | None,
        qrels: Any,
        data: str | Path | None,
        threshold: int | None,
        lock: str | Path | None,
        board: str | Path | None,
    ) -> None:
        self.suite: Suite | None = None
        self._tasks: list[Task | None] = [None]
        if task is not None:
            self.suite = suite_of(task, data, board)
            if self.suite:
                self._tasks = list(self.suite.tasks)
            else:
                self._tasks = [single_task(task, data=data, board=board)]
        self._qrels = qrels
        self._judgements = functools.partial(
            judgements_of, qrels=qrels, data=data, threshold=threshold, lock=lock, board=board
        )

    def label(self, measured: Measurement) -> str:
        """What a measurement is on: the name of its task, or of the file of judgements."""
        if measured.task:
            return measured.task
        if isinstance(self._qrels, str | Path):
            return Path(self._qrels).name
        return "qrels"

    def measure(
        self, systems: Sequence[Any], metrics: Sequence[str], default: Callable[[Task | None], Sequence[str]]
    ) -> Measured:
        """Measure each system on each task, by `metrics` or the `default` of the task (None: any judgements)."""
        check_standard_input(self._qrels, *_runs_of(systems))
        read_metrics(metrics)  # what is wrong there is told before a file is read
        names = [task.name if task else "" for task in self._tasks]
        read = read_systems(systems, self.suite, names[0])
        # All judgements before the first measurement: the last task of a suite may be the one that cannot be read.
        every = [self._judgements(task) for task in self._tasks]
        found: list[list[Measurement]] = [[] for _ in read]
        remarks = []
        for name, task, judged in zip(names, self._tasks, every, strict=True):
            chosen = metrics or default(task)
            for system, measurements in zip(read, found, strict=True):
                # A file's own tag may be another one, or that of all runs: "Anserini".
                run = replace(system.runs[name], name=system.name)
                measured = measurement(
                    run, judged.qrels, judged.convention, chosen, task=name or None, excluded=judged.excluded
                )
                if judged.note:
                    measured = replace(measured, notes=(*measured.notes, judged.note))
                measurements.append(measured)
            for remark in equal_runs([replace(system.runs[name], name=system.name) for system in read]):
                remarks.append(f"{name}: {remark}" if self.suite else remark)
        return Measured(found, remarks)
