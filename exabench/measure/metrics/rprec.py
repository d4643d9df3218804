"""Rprec: precision at the rank that equals the number of relevant passages."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import Graded


def Rprec(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """Relevant passages within rank R over R, where R counts the query's relevant passages: trec_eval's Rprec."""
    if k is not None:
        raise BadInput("Rprec has no cutoff: each query has its own")
    count = graded.relevant_count(rel)[:, None]
    within = np.arange(graded.grades.shape[1]) < count
    found = graded.relevant(None, rel) & within
    # Where nothing is relevant nothing is found, and the value is 0.
    return found.sum(axis=1) / np.maximum(count[:, 0], 1)
