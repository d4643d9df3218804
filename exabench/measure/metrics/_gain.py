"""The sum that nDCG and its variants share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exabench.measure.graded import Graded


def normalised_gain(graded: Graded, k: int | None, gain: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """DCG@k / ideal DCG@k for each query, 0 where nothing is relevant. Negative grades have gain 0.

    `gain` gets grades, int32 (queries, ranks), and each query's highest, (queries, 1), by which it may scale a query's
    gains: the scale cancels out.
    """
    highest = graded.ideal.max(axis=1, initial=0, keepdims=True)
    sums = []
    for grades in (graded.grades, graded.ideal):
        # UNJUDGED is negative as well.
        counted = np.maximum(grades[:, :k], 0)
        discounts = np.log2(np.arange(counted.shape[1]) + 2)
        discounted = gain(counted, highest) / discounts
        sums.append(discounted.sum(axis=1))
    found, ideal = sums
    return np.divide(found, ideal, out=np.zeros_like(ideal), where=ideal > 0)
