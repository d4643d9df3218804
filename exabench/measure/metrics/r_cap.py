"""R_cap: capped recall, relevant passages within the cutoff over the most that fit."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import Graded


def R_cap(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """Relevant passages within k over min(k, all relevant passages), 0 where there are none: BEIR's recall_cap."""
    if k is None:
        raise BadInput("R_cap needs a cutoff, as in R_cap@100")
    most = np.minimum(graded.relevant_count(rel), k)
    # Where nothing is relevant nothing is found, and the value is 0 (BEIR divides by 0 there).
    return graded.relevant(k, rel).sum(axis=1) / np.maximum(most, 1)
