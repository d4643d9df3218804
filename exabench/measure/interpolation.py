"""Interpolation: a reranker's scores mixed with those of its first stage by one weight, and the choice of the weight.

Lin, Nogueira and Yates (Pretrained Transformers for Text Ranking, 2021) describe such mixtures. The scores of the two
have unlike units, so each list is z-normalised before they are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from exabench.core.errors import BadInput, printable
from exabench.core.nouns import Qrels, Run
from exabench.measure.metric_values import mean, measure
from exabench.measure.runs import run_of

METRIC = "nDCG@10"  # by which a weight is chosen
WEIGHTS = tuple(round(0.05 * step, 2) for step in range(1, 21))
"""The weights that are tried: a mean over some hundred queries does not tell finer ones apart."""

_DECIMALS = 9  # of a mean: sums in another order differ in the last bits, and are the same number


@dataclass(frozen=True)
class FittedWeight:
    """The weight that ranks the queries `on` which it was chosen best, and the means of METRIC by weight."""

    weight: float
    on: str
    queries: int
    curve: Mapping[float, float]

    def as_json(self) -> dict[str, Any]:
        """Every field and the metric, as JSON holds them: the curve as pairs of weight and mean."""
        curve = list(map(list, self.curve.items()))
        return {"weight": self.weight, "on": self.on, "queries": self.queries, "metric": METRIC, "curve": curve}


def is_weight(value: object) -> bool:
    """Is it a weight of a reranker: a number above 0, at most 1?"""
    return type(value) in (int, float) and 0 < value <= 1  # type: ignore[operator]


def check_weight(value: object) -> None:
    """Raise BadInput for what is not a weight."""
    if not is_weight(value):
        raise BadInput(f"interpolate must be a weight above 0 and at most 1, not {printable(repr(value))}")


def mix(reranked: Run, first_stage: Run, weight: float) -> Run:
    """The run of `weight` * z(reranker) + (1 - `weight`) * z(first stage), for each passage of each query's list.

    z is the score less the mean of the query's list, over its standard deviation (that of the whole list, not of a
    sample); of a list of equal scores every z is 0. Both runs hold the same passages, and their scores are taken as
    runs hold them, in single precision. With weight 1 it is the reranker's own run.
    """
    if weight == 1:  # its scores as they are: normalised and rounded, two near ones could become equal
        return reranked
    scores = {}
    for query_id in reranked:
        own = reranked[query_id]
        before = first_stage[query_id]
        z_own = _normalised(list(own.values()))
        z_before = _normalised(list(map(before.__getitem__, own)))  # in the order of the other
        mixed = weight * z_own + (1 - weight) * z_before
        scores[query_id] = dict(zip(own, mixed.tolist(), strict=True))
    return run_of(reranked.name, scores)


def _normalised(scores: list[float]) -> np.ndarray:
    """The z of each score of one list, float64."""
    values = np.array(scores, np.float64)
    if values.min() == values.max():  # a rounded mean would leave a deviation that is not 0
        return np.zeros_like(values)
    return (values - values.mean()) / values.std()


def fit_weight(reranked: Run, first_stage: Run, qrels: Qrels, on: str, threshold: int = 1) -> FittedWeight:
    """The weight of WEIGHTS with the highest mean METRIC over the queries of `qrels`; of equal ones the largest.

    `on` names the queries; they must be others than those that the system is tested on.
    """
    curve = {}
    for weight in WEIGHTS:
        _, values = measure(qrels, mix(reranked, first_stage, weight), [METRIC], threshold=threshold)
        curve[weight] = round(mean(values[METRIC].tolist()), _DECIMALS)
    # Of equal ones the largest, which depends on the first stage the least.
    best = max(curve, key=lambda weight: (curve[weight], weight))
    return FittedWeight(best, on, len(qrels), curve)
