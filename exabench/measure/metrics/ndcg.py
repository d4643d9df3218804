"""nDCG: discounted cumulative gain over that of the best possible ranking (Järvelin and Kekäläinen 2002)."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded
from exabench.measure.metrics._gain import normalised_gain


def nDCG(graded: Graded, k: int | None) -> np.ndarray:
    """Linear gain max(grade, 0), discount log2(rank + 1), ideal over all judged passages: trec_eval's ndcg_cut."""
    return normalised_gain(graded, k, lambda grades, highest: grades)
