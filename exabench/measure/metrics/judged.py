"""Judged: the share of the ranked passages within the cutoff that have a judgement."""

from __future__ import annotations

import numpy as np

from exabench.measure.graded import Graded


def Judged(graded: Graded, k: int | None) -> np.ndarray:
    """Judged passages within k over the passages ranked within k, 0 where none is ranked: ir_measures' Judged.

    A list that is shorter than k loses nothing. Every row of the judgements counts, whatever its grade: where a grade
    below 0 marks what was pooled and not judged (NIST's use), this is the share of the pool. It says nothing where the
    judgements hold positives only.
    """
    judged = graded.judged(k).sum(axis=1)
    # An empty list has no judged passage either: 0 / 1.
    return judged / np.maximum(graded.ranked_count(k), 1)
