"""P: precision, the share of the ranks within the cutoff that hold a relevant passage."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import Graded


def P(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """Relevant passages within k over k, also where fewer than k are ranked: trec_eval's P."""
    if k is None:
        raise BadInput("P needs a cutoff, as in P@10")
    return graded.relevant(k, rel).sum(axis=1) / k
