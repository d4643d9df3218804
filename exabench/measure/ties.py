"""Ties of a run: their share, and the best and worst value of a metric that they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from exabench.core.nouns import Qrels, Run
from exabench.measure.graded import Graded, cells, grade
from exabench.measure.metric_values import MetricName, mean


def tie_report(qrels: Qrels, run: Run, metric: str = "nDCG@10", *, threshold: int = 1) -> dict[str, float]:
    """`rate`: share of the ranked passages that tie with another of the same query (single precision);
    `worst` and `best`: the mean of `metric` when every tie is broken against, or in favour of, the system.
    """
    graded = grade(qrels, run, threshold=threshold)
    query, rank, row = cells(run, graded.query_ids, None)
    if not len(row):
        return {"rate": 0.0, "worst": 0.0, "best": 0.0}
    scores = run.scores[row]
    same_score = scores[1:] == scores[:-1]
    same_query = query[1:] == query[:-1]
    # At i: does the passage at i tie with the one before it?
    ties = np.zeros(len(row) + 1, bool)
    ties[1:-1] = same_score & same_query
    tied = ties[1:] | ties[:-1]
    group = np.cumsum(~ties[:-1])  # passages of one tie share a number
    worst = _reorder(graded, query, rank, group, 1)
    best = _reorder(graded, query, rank, group, -1)
    name = MetricName.parse(metric)
    return {"rate": float(tied.mean()), "worst": mean(name.values(worst)), "best": mean(name.values(best))}


def ceiling(qrels: Qrels, run: Run, metrics: Sequence[str], *, threshold: int = 1) -> dict[str, float]:
    """The mean of each metric if the run's passages stood in their best order: what no reranker can exceed."""
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
