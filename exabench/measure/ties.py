"""Ties of a run: their share, and the best and worst value of a metric that they allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from exabench.core.nouns import Qrels, Run
from exabench.measure.graded import UNJUDGED, Graded, cells, grade
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
    same = np.zeros(len(row) + 1, bool)  # at i: does the passage at i tie with the one before it?
    same[1:-1] = (scores[1:] == scores[:-1]) & (query[1:] == query[:-1])
    tied = same[1:] | same[:-1]
    group = np.cumsum(~same[:-1])  # passages of one tie share a number
    name = MetricName.parse(metric)
    worst = mean(name.values(_reorder(graded, query, rank, group, 1)))
    best = mean(name.values(_reorder(graded, query, rank, group, -1)))
    return {"rate": float(tied.mean()), "worst": worst, "best": best}


def ceiling(qrels: Qrels, run: Run, metrics: Sequence[str], *, threshold: int = 1) -> dict[str, float]:
    """The mean of each metric if the run's passages stood in their best order: what no reranker can exceed."""
    graded = grade(qrels, run, threshold=threshold)
    query, rank, _ = cells(run, graded.query_ids, None)
    best = _reorder(graded, query, rank, query, -1)
    means = {}
    for text in metrics:
        name = MetricName.parse(text)
        means[str(name)] = mean(name.values(best))
    return means


def _reorder(graded: Graded, query: np.ndarray, rank: np.ndarray, group: np.ndarray, sign: int) -> Graded:
    """The same rankings with every tie sorted by grade, lowest first for sign 1, highest first for sign -1."""
    order = np.lexsort((sign * np.maximum(graded.grades[query, rank], 0), group))
    grades = np.full_like(graded.grades, UNJUDGED)
    grades[query, rank] = graded.grades[query[order], rank[order]]
    return Graded(graded.query_ids, grades, graded.ideal, graded.threshold)
