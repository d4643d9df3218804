"""nDCG_exp: nDCG with the exponential gain 2^grade - 1 (Burges et al. 2005); never the same number as nDCG."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded
from exabench.measure.metrics._gain import normalised_gain


def nDCG_exp(graded: Graded, k: int | None) -> np.ndarray:
    """Gain 2^max(grade, 0) - 1, discount log2(rank + 1), ideal over all judged passages."""
    return normalised_gain(graded, k, lambda grade: np.exp2(grade) - 1)
