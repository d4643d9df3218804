"""Metrics that exabench does not compute itself: ir_measures computes them, from the same graded rankings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from exabench.core.ir_metrics import uses_threshold, values_by_query
from exabench.measure.graded import ELSEWHERE, Graded


def values(text: str, graded: Graded) -> np.ndarray:
    """The values, float64 (queries,), of a metric that `ir_metrics.measure_named` gave; 0 for a query without answer.

    Passages get invented ids, and falling scores in ranking order, so that no tool breaks a tie in its own
    way. A relevance level that the name leaves open is the threshold.
    """
    # The grades are changed, for not every tool takes the level.
    if uses_threshold(text):
        graded = _as_yes_and_no(graded)
    qrels, run = _as_dicts(graded)
    found = np.zeros(len(graded.query_ids))
    if run:
        for query, value in values_by_query(text, qrels, run).items():
            found[int(query)] = value
    return found


def _as_yes_and_no(graded: Graded) -> Graded:
    """The same rankings with the grades 1 and 0 for what is relevant and what is not; those below 0 stay."""
    changed = []
    for grades in (graded.grades, graded.ideal):
        relevant = np.where(grades >= graded.threshold, 1, 0)
        changed.append(np.where(grades < 0, grades, relevant))
    return replace(graded, grades=changed[0], ideal=changed[1], threshold=1)


def _as_dicts(graded: Graded) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    """Judgements and a run that give the same graded rankings; queries are called by their number."""
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for query, length in enumerate(graded.lengths.tolist()):
        judged = graded.ideal[query]
        judged = judged[judged > ELSEWHERE]
        # trec_eval's library reads beyond its memory where every grade is below 0; nothing is relevant there.
        if not length or judged.max() < 0:
            continue
        ranked = graded.grades[query, :length].tolist()
        row = {}
        for rank, grade in enumerate(ranked):
            if grade > ELSEWHERE:
                row[f"ranked{rank}"] = grade
        grades, counts = np.unique(judged, return_counts=True)
        left = dict(zip(grades.tolist(), counts.tolist(), strict=True))
        for grade in row.values():
            left[grade] -= 1
        # Judged passages that are not ranked: metrics count them, whatever they are called.
        for grade, count in left.items():
            for number in range(count):
                row[f"missed{grade}-{number}"] = grade
        qrels[str(query)] = row
        run[str(query)] = {f"ranked{rank}": float(length - rank) for rank in range(length)}
    return qrels, run
