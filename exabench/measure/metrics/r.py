"""R: recall, the share of the relevant passages that are ranked within the cutoff."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded


def R(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """Relevant passages within k over all relevant passages, 0 where there are none: trec_eval's recall."""
    # Where nothing is relevant nothing is found, and the value is 0.
    return graded.relevant(k, rel).sum(axis=1) / np.maximum(graded.relevant_count(rel), 1)
