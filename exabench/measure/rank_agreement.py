"""Agreement of two rankings of the same passages: Kendall's tau, and the share of the top that changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TOP = 10


def kendall_tau(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau-b of two rows of scores `[n]`, in which ties count for neither order; 0 where one is all ties."""
    places = np.triu_indices(len(a), 1)
    one = np.sign(np.subtract.outer(a, a))[places]
    other = np.sign(np.subtract.outer(b, b))[places]
    untied = np.count_nonzero(one) * np.count_nonzero(other)
    if not untied:
        return 0.0
    return float((one * other).sum() / np.sqrt(untied))


def churn(before: Sequence[str], after: Sequence[str], k: int = TOP) -> float:
    """The share, from 0 to 1, of the first `k` of one ranking that are not among the first `k` of the other."""
    top = set(before[:k])
    if not top:
        return 0.0
    return len(top - set(after[:k])) / len(top)
