"""ERR: expected reciprocal rank, one over the rank at which a reader is satisfied (Chapelle et al., CIKM 2009)."""

from __future__ import annotations

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.graded import Graded


def ERR(graded: Graded, k: int | None, *, max_rel: int = 4) -> np.ndarray:
    """A passage satisfies with probability (2^grade - 1) / 2^max_rel: gdeval's ERR, where the highest grade is 4.

    Sum over the ranks within k of 1 / rank times the chance that this is the first passage to satisfy. `max_rel` is
    the highest grade of the scale, whether any passage has it or not. Raises BadInput for a grade above it.
    """
    highest = graded.ideal.max(initial=0)
    if highest > max_rel:
        raise BadInput(
            f"ERR takes grades up to {max_rel}, and one is {highest}: "
            f"name the highest grade of the scale, as in ERR(max_rel={highest})@20"
        )
    # Unjudged is far below 0, too.
    counted = np.maximum(graded.grades[:, :k], 0)
    # (2^grade - 1) / 2^max_rel, in powers that stay below 1.
    satisfied = np.ldexp(1.0, counted - max_rel) - np.ldexp(1.0, -max_rel)
    unsatisfied = np.cumprod(1 - satisfied, axis=1)
    # The chance to come to a rank: all ranks above it did not satisfy.
    reached = np.ones_like(satisfied)
    reached[:, 1:] = unsatisfied[:, :-1]
    ranks = np.arange(satisfied.shape[1]) + 1
    return (reached * satisfied / ranks).sum(axis=1)
