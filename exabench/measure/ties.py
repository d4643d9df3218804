"""Ties of a run: their share, and the best and worst value of each metric that they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from exabench.core.nouns import Qrels, Run
from exabench.measure.graded import Graded, cells, grade
from exabench.measure.metric_values import MetricName, deepest_cutoff, mean


@dataclass(frozen=True)
class Ties:
    """`rate`: share of the judged queries' passages that tie with another one of their query (single precision).

    `worst` and `best`: the mean of each metric when every tie is broken against, or in favour of, the system.
    """

    rate: float
    worst: dict[str, float]
    best: dict[str, float]


def tie_report(qrels: Qrels, run: Run, metrics: Sequence[str | MetricName], *, threshold: int = 1) -> Ties:
    """The ties of a run, and what they can change in each of `metrics`."""
    return measure_with_ties(qrels, run, metrics, threshold=threshold)[2]


def measure_with_ties(
    qrels: Qrels, run: Run, metrics: Sequence[str | MetricName], *, threshold: int = 1
) -> tuple[tuple[str, ...], dict[str, np.ndarray], Ties]:
    """Query ids and values as `measure` returns them, and the ties: the run is graded once for both."""
    names = [MetricName.parse(text) for text in metrics]
    sizes = np.diff(run.offsets)
    starts = run.offsets[:-1]
    # At i: does the passage at i tie with the one before it?
    ties = np.zeros(len(run.scores) + 1, bool)
    ties[1:-1] = run.scores[1:] == run.scores[:-1]
    ties[starts] = False  # a query's first passage follows another query's last
    tied = ties[1:] | ties[:-1]
    judged = np.array([bool(qrels.get(query_id)) for query_id in run.query_ids], bool)
    ranked = int(sizes[judged].sum())
    rate = 0.0
    if ranked:
        rate = int(np.count_nonzero(tied & np.repeat(judged, sizes))) / ranked

    # Only the ranks that a metric looks at are graded, and what ties with one of them.
    depth = deepest_cutoff(names)
    if depth is not None:
        # The first and the last row of each tie: one that begins above the cutoff may reach below it, and a passage
        # from there may then come up.
        first = np.flatnonzero(ties[1:-1] & ~ties[:-2])
        last = np.flatnonzero(tied & ~ties[1:])
        places = np.searchsorted(run.offsets, first, side="right") - 1
        rank_of_first = first - run.offsets[places]
        rank_of_last = last - run.offsets[places]
        depth = max(depth, int(rank_of_last[rank_of_first < depth].max(initial=-1)) + 1)
    graded = grade(qrels, run, threshold=threshold, depth=depth)
    values = _values(names, graded)
    query, rank, row = cells(run, graded.query_ids, depth)
    in_tie = tied[row]
    worst = best = values
    if in_tie.any():
        group = np.cumsum(~ties[row[in_tie]])  # passages of one tie share a number
        chosen = (query[in_tie], rank[in_tie], group)
        worst = _values(names, _reorder(graded, *chosen, 1))
        best = _values(names, _reorder(graded, *chosen, -1))
    report = Ties(
        rate=rate,
        worst={name: mean(row) for name, row in worst.items()},
        best={name: mean(row) for name, row in best.items()},
    )
    return graded.query_ids, values, report


def _values(names: Sequence[MetricName], graded: Graded) -> dict[str, np.ndarray]:
    return {str(name): name.values(graded) for name in names}


def ceiling(qrels: Qrels, run: Run, metrics: Sequence[str | MetricName], *, threshold: int = 1) -> dict[str, float]:
    """The mean of each metric if the run's passages were in their best order: what no reranker can exceed."""
    graded = grade(qrels, run, threshold=threshold)
    query, rank, _ = cells(run, graded.query_ids, None)
    # As if all passages of a query tied.
    best = _reorder(graded, query, rank, query, -1)
    means = {}
    for text in metrics:
        name = MetricName.parse(text)
        means[str(name)] = mean(name.values(best))
    return means


def _reorder(graded: Graded, query: np.ndarray, rank: np.ndarray, group: np.ndarray, sign: int) -> Graded:
    """The same rankings with every tie sorted by grade, lowest first for sign 1, highest first for sign -1."""
    listed = graded.grades[query, rank]
    # A grade below 0 and a missing judgement gain as little as a grade of 0, so these stay in the run's order.
    gains = np.maximum(listed, 0)
    order = np.lexsort((sign * gains, group))
    grades = graded.grades.copy()
    grades[query, rank] = listed[order]
    return replace(graded, grades=grades)
