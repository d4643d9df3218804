"""nDCG_exp: nDCG with the exponential gain 2^grade - 1 (Burges et al. 2005); never the same number as nDCG."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded
from exabench.measure.metrics._gain import normalised_gain


def nDCG_exp(graded: Graded, k: int | None) -> np.ndarray:
    """Gain 2^max(grade, 0) - 1, discount log2(rank + 1), ideal over all judged passages."""
    return normalised_gain(graded, k, _gain)


def _gain(grades: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """2^grade - 1, over 2^highest: exact, and finite where grades count clicks (2^1024 has no double)."""
    return np.ldexp(1.0, grades - highest) - np.ldexp(1.0, -highest)
