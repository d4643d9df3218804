"""Bpref: binary preference, how rarely a passage judged not relevant is ranked above a relevant one (SIGIR 2004)."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import Graded


def Bpref(graded: Graded, k: int | None, *, rel: int | None = None) -> np.ndarray:
    """Buckley and Voorhees' measure as trec_eval's bpref has it: passages without a judgement are skipped.

    With R relevant and N judged passages that are not, each relevant one gives 1 - min(those above it, R) / min(N, R);
    the sum is over R. A grade below 0 counts as no judgement.
    """
    if k is not None:
        raise BadInput("Bpref has no cutoff: it is computed over the whole list")
    level = graded.threshold if rel is None else rel
    relevant = graded.relevant(None, rel)
    others = (graded.grades >= 0) & (graded.grades < level)
    others_above = others.cumsum(axis=1)
    relevant_count = graded.relevant_count(rel)[:, None]
    other_count = ((graded.ideal >= 0) & (graded.ideal < level)).sum(axis=1)[:, None]
    # Where nothing was judged not relevant, nothing is above a relevant passage, and 0 is divided by 1.
    most = np.maximum(np.minimum(other_count, relevant_count), 1)
    kept = 1 - np.minimum(others_above, relevant_count) / most
    # Where nothing is relevant the sum is 0, and so is the value.
    return (kept * relevant).sum(axis=1) / np.maximum(relevant_count[:, 0], 1)
