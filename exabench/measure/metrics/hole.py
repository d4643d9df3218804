"""Hole: the share of ranks within the cutoff with an unjudged passage."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import UNJUDGED, Graded


def Hole(graded: Graded, k: int | None) -> np.ndarray:
    """Passages within k that were judged for no query at all, over k, also where fewer are ranked: BEIR's hole.

    A passage judged for another query is not a hole, so that Judged (this query's judgements) says more.
    """
    if k is None:
        raise BadInput("Hole needs a cutoff, as in Hole@10")
    unjudged = graded.grades[:, :k] == UNJUDGED
    # Grades behind the end of a list are UNJUDGED as well, and hold no passage.
    ranked = np.arange(unjudged.shape[1]) < graded.lengths[:, None]
    return (unjudged & ranked).sum(axis=1) / k
