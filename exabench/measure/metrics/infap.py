"""infAP: AP inferred from a judged sample of the pool (Yilmaz and Aslam, CIKM 2006)."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import Graded

EPSILON = 1e-5  # trec_eval's INFAP_EPSILON, which its values show in the fifth decimal


def infAP(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """trec_eval's infAP: of the passages above a relevant one, those in the pool count as the judged among them do.

    A grade below 0 marks a passage of the pool that was not judged; a passage without a row was not in the pool.
    """
    if k is not None:
        raise BadInput("infAP has no cutoff: it is computed over the whole list")
    relevant = graded.relevant(None, rel)
    pooled = graded.judged(None)
    judged = graded.grades >= 0
    # Above each rank, not counting it: ranks, passages of the pool, judged ones, relevant ones.
    above = np.arange(relevant.shape[1])
    pooled_above = pooled.cumsum(axis=1) - pooled
    judged_above = judged.cumsum(axis=1) - judged
    relevant_above = relevant.cumsum(axis=1) - relevant
    inferred = (relevant_above + EPSILON) / (judged_above + 2 * EPSILON)
    precision = (1 + pooled_above * inferred) / (above + 1)
    return (precision * relevant).sum(axis=1) / np.maximum(graded.relevant_count(rel), 1)
