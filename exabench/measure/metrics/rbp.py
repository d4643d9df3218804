"""RBP: rank-biased precision, the gain of a reader who continues to the next rank with probability p (TOIS 2008)."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import Graded


def RBP(graded: Graded, k: int | None, *, p: float, rel: int | None = None) -> np.ndarray:
    """(1 - p) times the sum of p^(rank - 1) over the relevant ranks within k (Moffat and Zobel): a lower bound.

    It is never normalised, so that RBP@k is what the first k ranks are sure to give. `p` is above 0 and below 1.
    """
    if not 0 < p < 1:
        raise BadInput(f"RBP's p is the probability of reading on, above 0 and below 1, not {p}")
    relevant = graded.relevant(k, rel)
    # Of the ranks that are looked at, not of all k: behind the end of a list nothing is gained.
    weights = (1 - p) * p ** np.arange(relevant.shape[1])
    return (relevant * weights).sum(axis=1)
