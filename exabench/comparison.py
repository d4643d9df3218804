"""Comparison: two systems on the same queries: who wins, by how much, and whether that is noise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from exabench.catalogue import single_task
from exabench.collections._choose import judgements_of
from exabench.errors import BadInput
from exabench.ledger import Ledger
from exabench.measuring import measurement, metrics_of
from exabench.metrics._measure import MetricName
from exabench.nouns import Measurement, Qrels, Run
from exabench.runs import rank_scores, read_run
from exabench.statistics import ALPHA, PairedTest, holm, paired_test


@dataclass(frozen=True)
class TaskComparison:
    """A against B on one task (and candidates): means, the paired test, and every query's two values."""

    task: str
    metric: str
    a: float
    b: float
    test: PairedTest
    corrected: float
    per_query: Mapping[str, tuple[float, float]]

    @property
    def verdict(self) -> str:
        """In words: who is better, or that the data cannot tell (randomisation test, Holm over the tasks)."""
        if self.corrected >= ALPHA:
            return "no difference that these queries can show"
        return "A is better" if self.test.difference > 0 else "B is better"

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON holds it; `p` is the randomisation test's, `p_holm` the corrected one."""
        return {
            "task": self.task,
            "metric": self.metric,
            "a": self.a,
            "b": self.b,
            **self.test.as_json(),
            "p": self.test.randomisation,
            "p_holm": self.corrected,
            "verdict": self.verdict,
            "per_query": {query_id: list(values) for query_id, values in self.per_query.items()},
        }


def compare(
    a: str | Path | Run,
    b: str | Path | Run,
    *,
    task: str | None = None,
    qrels: str | Path | Qrels | None = None,
    data: str | Path | None = None,
    metric: str | None = None,
    threshold: int = 1,
    lock: str | Path | None = None,
) -> list[TaskComparison]:
    """Compare two runs on a task or on any qrels. Raises BadInput or OutsideFailed."""
    judged, convention, name = judgements_of(task, qrels, data, threshold, lock)
    metric = metric or (metrics_of(single_task(task))[0] if task else "nDCG@10")
    measured = [measurement(_run(run), judged, convention, [metric], task=task) for run in (a, b)]
    return _corrected([(name, measured[0], measured[1])], metric)


def compare_submissions(
    a: str,
    b: str,
    board: str | Path,
    *,
    task: str | None = None,
    candidates: str | None = None,
    metric: str | None = None,
) -> list[TaskComparison]:
    """Compare two submissions of a leaderboard on every task and candidate list that both have a result for.

    `task` and `candidates` (a list's name) choose among them; Holm's correction is over those that are compared.
    Raises BadInput where none is left.
    """
    ledger = Ledger(Path(board))
    slugs = [name.replace("/", "--") for name in (a, b)]
    found = [{(r.task, r.candidates.name): r.measurement for r in ledger.results(slug)} for slug in slugs]
    for slug, results in zip(slugs, found, strict=True):
        if not results:
            raise BadInput(f"{slug} has no result there", file=board)
    shared = sorted(found[0].keys() & found[1].keys())
    chosen = [pair for pair in shared if task in (None, pair[0]) and candidates in (None, pair[1])]
    if not chosen:
        there = ", ".join(f"{pair[0]} ({pair[1]})" for pair in shared) or "nothing"
        wanted = f" of {task or 'any task'} ({candidates or 'any candidates'})" if task or candidates else ""
        raise BadInput(f"{slugs[0]} and {slugs[1]} share no result{wanted}; they share: {there}", file=board)
    pairs = [(f"{pair[0]} ({pair[1]})", found[0][pair], found[1][pair]) for pair in chosen]
    return _corrected(pairs, metric)


def comparison_table(
    runs: Sequence[str | Path | Run],
    *,
    task: str | None = None,
    qrels: str | Path | Qrels | None = None,
    data: str | Path | None = None,
    metrics: Sequence[str] = ("nDCG@10",),
    threshold: int = 1,
    lock: str | Path | None = None,
) -> Any:
    """ranx's comparison of several runs (a `ranx.Report`: print it, or `.to_latex()`), Student's paired test.

    The values are computed by ranx from our ranking order; its first call in a process compiles for a while.
    """
    import ranx

    judged, convention, _ = judgements_of(task, qrels, data, threshold, lock)
    threshold = convention.relevance_threshold
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba on integer casts inside ranx
        return ranx.compare(
            ranx.Qrels({q: {p: max(0, g) for p, g in row.items()} for q, row in judged.items()}),
            [_as_ranx(_run(run), judged) for run in runs],
            metrics=[_ranx_name(name, threshold) for name in metrics],
            stat_test="student",
            max_p=ALPHA,
            make_comparable=True,
        )


_RANX = {
    "nDCG": "ndcg",
    "nDCG_exp": "ndcg_burges",
    "RR": "mrr",
    "AP": "map",
    "R": "recall",
    "P": "precision",
    "Success": "hit_rate",
}


def _ranx_name(text: str, threshold: int) -> str:
    name = MetricName.parse(text)
    if name.metric not in _RANX:
        raise BadInput(f"ranx has no {name.metric}; choose from: {', '.join(_RANX)}")
    level = f"-l{threshold}" if threshold != 1 and not name.metric.startswith("nDCG") else ""
    return _RANX[name.metric] + (f"@{name.k}" if name.k else "") + level


def _as_ranx(run: Run, judged: Qrels) -> Any:
    """Falling scores make ranx's own sort agree with the ranking rule."""
    import ranx

    answered = {query_id: rank_scores(run.ranking(query_id)) for query_id in run if query_id in judged}
    if not answered:
        raise BadInput(f"run {run.name!r} answers no judged query")
    return ranx.Run(answered, name=run.name)


def _corrected(pairs: Sequence[tuple[str, Measurement, Measurement]], metric: str | None) -> list[TaskComparison]:
    tests = []
    for name, first, second in pairs:
        chosen = str(MetricName.parse(metric)) if metric else first.headline
        for measured in (first, second):
            if chosen not in measured.per_query:
                raise BadInput(f"{measured.run} has no {chosen} on {name}; it has {', '.join(measured.metrics)}")
        each = {q: (value, second.per_query[chosen][q]) for q, value in first.per_query[chosen].items()}
        values = np.array(list(each.values()))
        tests.append((name, chosen, first[chosen], second[chosen], paired_test([values[:, 0]], [values[:, 1]]), each))
    corrected = holm([test[4].randomisation for test in tests])
    return [TaskComparison(*t[:5], p, t[5]) for t, p in zip(tests, corrected, strict=True)]


def _run(run: str | Path | Run) -> Run:
    return run if isinstance(run, Run) else read_run(run)
