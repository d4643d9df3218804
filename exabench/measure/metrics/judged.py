"""Judged: the share of the ranked passages within the cutoff that have a judgement."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import UNJUDGED, Graded


def Judged(graded: Graded, k: int | None) -> np.ndarray:
    """Judged passages within k over k. It says nothing where the qrels hold positives only."""
    if k is None:
        raise BadInput("Judged needs a cutoff, as in Judged@10")
    return (graded.grades[:, :k] != UNJUDGED).sum(axis=1) / k
