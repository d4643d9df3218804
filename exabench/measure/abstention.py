"""Abstention: does a run know which queries it answers badly? MTEB's nAUC, one number of a whole run.

A system that abstains from the queries that it is least confident of should have a better mean on the others. nAUC is
the area under that curve between what a random order gives (0) and the best order (1); below 0, confidence misleads.
Gisserot-Boukhlef et al., "Towards Trustworthy Reranking: A Simple yet Effective Abstention Mechanism" (2024).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exabench.core.errors import BadInput
from exabench.core.nouns import Run
from exabench.measure.metric_values import MetricName

RATES = np.linspace(0, 1, 11)[:-1]  # shares of queries abstained from: MTEB's, to the last bit, which decides rounding
CONFIDENCES = ("max", "std", "diff1")
_NAME = re.compile(r"nauc_(.+)_(max|std|diff1)", re.IGNORECASE)


@dataclass(frozen=True)
class Abstention:
    """nAUC of a metric under one notion of confidence, as in `nAUC_nDCG@10_max`, which MTEB writes nauc_ndcg_at_10_max.

    Confidence is the highest score of a query's list (max), the standard deviation of its scores (std), or how far the
    first is above the second (diff1).
    """

    metric: MetricName
    confidence: str

    @classmethod
    def parse(cls, text: str) -> Abstention | None:
        """Read `nAUC_<metric>_<confidence>`, or None for another metric. Raises BadInput for a name that begins so."""
        if not text.lower().startswith("nauc"):
            return None
        form = _NAME.fullmatch(text)
        if not form:
            raise BadInput(f"nAUC is written nAUC_<metric>_<confidence>, confidence {', '.join(CONFIDENCES)}")
        return cls(MetricName.parse(form[1]), form[2].lower())

    def __str__(self) -> str:
        return f"nAUC_{self.metric}_{self.confidence}"

    def value(self, run: Run, query_ids: Sequence[str], values: np.ndarray) -> float | None:
        """nAUC of the metric's `values`, one for each of `query_ids`, over the queries that the run answers.

        None where it is undefined: fewer than two queries, or the same value for all.
        """
        confidences = []
        answered = []
        for query_id, value in zip(query_ids, values.tolist(), strict=True):
            rows = run.rows(query_id)
            if rows is not None:
                confidences.append(confidence_of(run.scores[rows], self.confidence))
                answered.append(value)
        return nauc(np.array(confidences), np.array(answered))


def confidence_of(scores: np.ndarray, confidence: str) -> float:
    """How sure a ranking is, from its scores, best first, (passages,) in single precision."""
    scores = scores.astype(np.float64)
    if confidence == "max":
        return float(scores[0])
    if confidence == "std":
        return float(scores.std())
    return float(scores[0] - scores[1]) if len(scores) > 1 else 0.0


def nauc(confidences: np.ndarray, values: np.ndarray) -> float | None:
    """Normalised area under the abstention curve of values, (queries,), under confidences, (queries,); at most 1."""
    if len(values) < 2:
        return None
    curve = _abstention_curve(confidences, values)
    best = _abstention_curve(values, values)
    flat = best[0] * (RATES[-1] - RATES[0])
    # What abstaining from the right queries can gain: 1 on the scale of nAUC.
    possible = float(np.trapezoid(best, RATES)) - flat
    if abs(possible) < 1e-12:  # all values are the same, but for rounding
        return None
    return (float(np.trapezoid(curve, RATES)) - flat) / possible


def _abstention_curve(confidences: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The mean value of the queries that are left at each of RATES, the least confident ones removed first."""
    # Queries of one confidence go in the order given, as in MTEB.
    by_confidence = values[np.argsort(confidences, stable=True)]
    curve = []
    for rate in RATES:
        # Python's round (2.5 is 2), as MTEB does it; one query is always left, or there were no mean.
        taken = min(round(rate * len(values)), len(values) - 1)
        curve.append(by_confidence[taken:].mean())
    return np.array(curve)
