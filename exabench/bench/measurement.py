"""Measurement: from a run and judgements to values, intervals, ties and notes, under one convention."""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import numpy as np

from exabench.bench import notes
from exabench.core.errors import BadInput
from exabench.core.nouns import RESULT_FORMAT, Candidates, Convention, Measurement, Qrels, Result, Run, Task
from exabench.measure.abstention import Abstention
from exabench.measure.graded import Graded
from exabench.measure.metric_values import ByMetric, MetricName, mean, measure
from exabench.measure.qrels import positives_only, qrels_digest
from exabench.measure.runs import complete_run, leave_out, run_digest
from exabench.measure.statistics import bootstrap_intervals, paired_test_of_format
from exabench.measure.ties import ceiling, measure_with_ties, tie_report
from exabench.tasks.collections import judgements_command

# nDCG@10 first, as in BEIR and TREC-DL; Judged@10 last: it says how far the others can be trusted.
METRICS = tuple("nDCG@10 RR@10 AP@100 R@100 P@10 Success@5 Judged@10".split())
TIE_METRIC = "nDCG@10"  # whose bounds every result carries; the headline's where it was not asked for
FROM_FILES = ("run_file", "fusion")  # first stages that exabench read and did not run itself


def metrics_of(task: Task) -> tuple[str, ...]:
    """The task's headline metric first, then the others that every result carries."""
    headline = str(MetricName.parse(task.headline))
    return tuple(dict.fromkeys((headline, *METRICS)))


def read_metrics(metrics: Iterable[str | MetricName]) -> tuple[list[MetricName], list[Abstention]]:
    """The metrics that have a value for each query, and those of a whole run, whose own metric is among the first.

    Raises BadInput, UnknownName or MissingExtra as MetricName.parse does.
    """
    names = []
    abstentions = []
    for text in metrics:
        abstention = None
        if isinstance(text, str):
            abstention = Abstention.parse(text)
        if abstention is None:
            names.append(MetricName.parse(text))
        else:
            abstentions.append(abstention)
    asked = set(names)
    names += [one.metric for one in abstentions if one.metric not in asked]
    return names, abstentions


def measurement(
    run: Run,
    qrels: Qrels,
    convention: Convention,
    metrics: Sequence[str | MetricName],
    *,
    task: str | None = None,
    handed_in: Run | None = None,
    excluded: Mapping[str, Set[str]] = MappingProxyType({}),
) -> Measurement:
    """Values, intervals and ties of one run under one convention, without the passages `excluded` for each query.

    Ties and notes are those of the run as it was `handed_in`, where that is another one: what was added to it says
    nothing about it.
    """
    names, abstentions = read_metrics(metrics)
    run, self_matches, left_out = leave_out(run, convention, excluded)
    threshold = convention.relevance_threshold
    unsaid: list[MetricName] = []
    if positives_only(qrels):  # of such judgements no one can say what was judged and found not relevant
        wanted = {one.metric for one in abstentions}
        of_judging = [name for name in names if name.metric in ("Judged", "Hole") and name not in wanted]
        others = [name for name in names if name not in of_judging]
        if others:
            # No one asked for what every result carries, so no one is told that it is left out.
            if not {str(name) for name in names}.issuperset(METRICS):
                unsaid = of_judging
            names = others
    given = run
    if handed_in is None:
        query_ids, values, ties = measure_with_ties(qrels, run, names, threshold=threshold)
    else:
        given = handed_in
        self_matches = left_out = 0
        query_ids, values = measure(qrels, run, names, threshold=threshold)
        ties = tie_report(qrels, given, names, threshold=threshold)
    # All metrics at once: each is resampled with the same queries.
    bounds = bootstrap_intervals(np.stack(list(values.values())))
    means = ByMetric[float]()
    intervals = ByMetric[tuple[float, float]]()
    per_query = ByMetric[dict[str, float]]()
    for (name, row), (low, high) in zip(values.items(), bounds, strict=True):
        means[name] = mean(row)
        intervals[name] = (float(low), float(high))
        per_query[name] = dict(zip(query_ids, row.tolist(), strict=True))

    headline = next(iter(values))
    tie_metric = headline
    if TIE_METRIC in values:
        tie_metric = TIE_METRIC
    # A note on a metric that no one asked for would only be noise.
    asked = [name for name in values if name == headline or name not in METRICS]
    remarks = [
        *notes.on_run(given, qrels, ties, asked),
        notes.nothing_relevant(qrels, threshold),
        notes.dropped_passages(self_matches, left_out),
        notes.left_out_metrics(list(map(str, unsaid))),
    ]

    answered = set(run.query_ids)
    return Measurement(
        run=run.name,
        task=task,
        convention=convention,
        headline=headline,
        metrics=means,
        intervals=intervals,
        queries=len(query_ids),
        missing_queries=len(set(query_ids) - answered),
        extra_queries=len(answered - set(query_ids)),
        ties={"rate": ties.rate, "worst": ties.worst[tie_metric], "best": ties.best[tie_metric]},
        per_query=per_query,
        notes=tuple(filter(None, remarks)),
        abstention={str(one): one.value(run, query_ids, values[str(one.metric)]) for one in abstentions},
    )


class CandidateEvaluator:
    """A task's judgements and one frozen candidate list: whatever is ranked over it is measured here.

    `metrics`, the headline first, default to those of the task. Raises BadInput where the list was frozen with other
    judgements or under another convention.
    """

    _lock: str | Path | None = None  # the lock file of the board that the list is on, for messages

    def __init__(
        self, task: Task, candidates: Candidates, run: Run, qrels: Qrels, source: str, metrics: Sequence[str] = ()
    ) -> None:
        self.task = task
        self.metrics = tuple(metrics) or metrics_of(task)
        self.candidates = candidates
        self.run = run
        self.qrels = qrels
        self.source = source
        self._qrels_digest = qrels_digest(qrels)
        self._bounds: dict[int, tuple[dict[str, np.ndarray], dict[str, float]]] = {}  # by format
        # Its recall was taken with those, and would be next to numbers by other rules.
        if (candidates.qrels_digest, candidates.convention_digest) != (self._qrels_digest, task.convention.digest):
            raise BadInput(
                f"candidates {candidates.name} of {task.name} were frozen with other judgements or another convention; "
                f"`{judgements_command(task, self._lock)}` says what differs, or make them again under another name"
            )

    def by(self, metric: str) -> CandidateEvaluator:
        """The same with another headline metric."""
        task = replace(self.task, headline=metric)
        return CandidateEvaluator(task, self.candidates, self.run, self.qrels, self.source)

    def result(
        self, submission: str, kind: str, run: Run, command: str | None = None, *, number: int = RESULT_FORMAT
    ) -> Result:
        """Measure a run over these candidates; `kind` is the submission's, `number` the result's format."""
        # A reranker that scored 20 of 100 candidates is measured on all 100: those left out follow in their own order.
        whole, added = complete_run(run, self.run)
        metrics = _metrics_of_format(number, self.metrics)
        measured = measurement(whole, self.qrels, self.task.convention, metrics, task=self.task.name, handed_in=run)
        headline = measured.headline
        values = list(measured.per_query[headline].values())
        own = [np.array(values)]
        first_stage, best = self._bounds_of_format(number)
        gain = paired_test_of_format(number, own, [first_stage[headline]])
        # A run that was submitted, or a list that exabench read from a file, cannot be made again from the model.
        state = "reproduced"
        if kind == "run" or self.candidates.retriever in FROM_FILES:
            state = "re-computed"
        return Result(
            submission=submission,
            state=state,
            candidates=self.candidates,
            measurement=measured,
            first_stage=ByMetric({name: mean(row) for name, row in first_stage.items()}),
            ceiling=ByMetric(best),
            gain=gain,
            run_digest=run_digest(run, submission),
            completed=added,
            qrels_digest=self._qrels_digest,
            qrels_source=self.source,
            versions={"exabench": version("exabench"), "numpy": np.__version__, "python": platform.python_version()},
            command=command or self.command(submission),
            created=today(),
            format=number,
        )

    def command(self, submission: str, *, trusted: bool = False) -> str:
        """The command that makes a result over these candidates again; `trusted`: its model ran without the sandbox."""
        command = f"exabench bench run {submission} --task {self.task.name} --candidates {self.candidates.name}"
        if trusted:
            command += " --trusted"
        return command

    def _bounds_of_format(self, number: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Values of the list in its own order for each query, and the means of its best order, by metric."""
        if number not in self._bounds:
            metrics = _metrics_of_format(number, self.metrics)
            threshold = self.task.convention.relevance_threshold
            _, first_stage = measure(self.qrels, self.run, metrics, threshold=threshold)
            self._bounds[number] = (first_stage, ceiling(self.qrels, self.run, metrics, threshold=threshold))
        return self._bounds[number]


class _JudgedOverCutoff(MetricName):
    """Judged@k as results before format 4 hold it: over k, however few passages are ranked."""

    def values(self, graded: Graded) -> np.ndarray:
        """Judged passages within k over k."""
        return graded.judged(self.k).sum(axis=1) / (self.k or 1)


def _metrics_of_format(number: int, metrics: Sequence[str]) -> list[MetricName]:
    """The metrics, by the rules of a result of that format."""
    names = []
    for text in metrics:
        name = MetricName.parse(text)
        if number < 4 and name.metric == "Judged":
            name = _JudgedOverCutoff(name.metric, name.k)
        names.append(name)
    return names


def today() -> str:
    """The date, UTC; SOURCE_DATE_EPOCH overrides it, so that a rebuild can give the same bytes."""
    # https://reproducible-builds.org/specs/source-date-epoch/
    seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()
