"""AP: precision averaged over the ranks of the relevant passages; its mean is MAP."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded


def AP(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """Sum of precision at each relevant rank within k, over all relevant passages: trec_eval's map and map_cut."""
    relevant = graded.relevant(k, rel)
    precision = relevant.cumsum(axis=1) / (np.arange(relevant.shape[1]) + 1)
    at_relevant = precision * relevant
    # Where nothing is relevant the sum is 0, and so is the value.
    return at_relevant.sum(axis=1) / np.maximum(graded.relevant_count(rel), 1)
