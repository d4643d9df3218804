"""The sum that nDCG and its variants share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exabench.measure.graded import Graded


def normalised_gain(graded: Graded, k: int | None, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """DCG@k / ideal DCG@k for each query, 0 where nothing is relevant. Negative grades have gain 0."""
    found = _discounted(gain(np.maximum(graded.grades[:, :k], 0).astype(np.float64)))
    ideal = _discounted(gain(np.maximum(graded.ideal[:, :k], 0).astype(np.float64)))
    return np.divide(found, ideal, out=np.zeros_like(ideal), where=ideal > 0)


def _discounted(gains: np.ndarray) -> np.ndarray:
    return (gains / np.log2(np.arange(gains.shape[1]) + 2)).sum(axis=1)
