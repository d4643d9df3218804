"""Readings: how the scores of a server may be the model's own scores on another scale, and how far off they then are.

A model's score is taken before any squashing: of two labels or two answers it is the difference of their logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

EQUAL = 1e-3
"""How far apart equal scores may be, as a share of the served scores' standard deviation: what engines round."""

_LEAST = 1e-6  # of the standard deviation: scores that are all alike differ by what float32 rounds
_MOST_OUTLIERS = 0.97  # the quantile of the differences that a hypothesis is judged by

OF_TWO = ("difference", "log_softmax", "softmax")
"""Strategies whose score is made of two labels or two answers."""

_SURE = -1e-37  # the log of a probability that float32 does not tell from 1

Curve = Callable[[np.ndarray], np.ndarray]


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(log_sigmoid(scores))


def log_sigmoid(scores: np.ndarray) -> np.ndarray:
    """The logarithm of the sigmoid, without overflow."""
    return -np.logaddexp(0.0, -scores)


def unsquashed(scores: np.ndarray, strategy: str) -> np.ndarray:
    """The difference of the two logits that a strategy squashed; other scores as they are."""
    if strategy == "softmax":
        scores = np.log(np.maximum(scores, np.exp(-80)))  # float32 has no smaller probability
    elif strategy != "log_softmax":
        return scores
    scores = np.minimum(scores, _SURE)
    return scores - np.log(-np.expm1(scores))


def _raw(scores: np.ndarray) -> np.ndarray:
    return scores


RISING: Mapping[str, Curve] = {"raw": _raw, "sigmoid": sigmoid, "log-sigmoid": log_sigmoid}
"""Scales that keep the order of scores, by name."""

AFFINE = "affine"
"""One more: any rising line."""


class ScoreReading(NamedTuple):
    """What scores are read as, and the difference `[n]` of each from what was served, in served standard deviations."""

    name: str
    differences: np.ndarray

    @property
    def most(self) -> float:
        """The largest difference."""
        return float(np.abs(self.differences).max())

    @property
    def usual_most(self) -> float:
        """The largest difference but for three pairs in a hundred, which another cut may explain."""
        return float(np.quantile(np.abs(self.differences), _MOST_OUTLIERS))


def through(curve: Curve, name: str, scores: np.ndarray, served: np.ndarray) -> ScoreReading:
    """The model's scores `[n]` read through one curve."""
    return ScoreReading(name, (curve(scores) - served) / _spread(served))


def best_reading(scores: np.ndarray, served: np.ndarray) -> ScoreReading:
    """The reading that comes nearest; the line only where no fixed scale is equal, for it always fits better."""
    found = [through(curve, name, scores, served) for name, curve in RISING.items()]
    nearest = min(found, key=lambda reading: reading.usual_most)
    if nearest.most <= EQUAL:
        return nearest
    line = on_a_line(scores, served)
    return min(nearest, line, key=lambda reading: reading.usual_most)


def on_a_line(scores: np.ndarray, served: np.ndarray) -> ScoreReading:
    """The model's scores on the rising line that fits best; on a level one where none rises."""
    centred = scores - scores.mean()
    slope = 0.0
    if centred.any():
        slope = max(0.0, float(centred @ served / (centred @ centred)))
    line = served.mean() + slope * centred
    return ScoreReading(AFFINE, (line - served) / _spread(served))


def _spread(served: np.ndarray) -> float:
    return max(float(served.std()), _LEAST)
