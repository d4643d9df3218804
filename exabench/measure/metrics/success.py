"""Success: 1 where a relevant passage is ranked within the cutoff, else 0."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded


def Success(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """trec_eval's success."""
    return np.asarray(graded.relevant(k, rel).any(axis=1), np.float64)
