"""RR: one over the rank of the first relevant passage; its mean is MRR."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded


def RR(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """1 / rank of the first relevant passage within k, 0 where there is none: trec_eval's recip_rank, cut at k."""
    relevant = graded.relevant(k, rel)
    # argmax of no ranks at all is an error.
    if not relevant.shape[1]:
        return np.zeros(len(relevant))
    return np.where(relevant.any(axis=1), 1 / (relevant.argmax(axis=1) + 1), 0.0)
