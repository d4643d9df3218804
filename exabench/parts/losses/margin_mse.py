"""Squared error of the margins between passages, against a teacher's margins (Margin-MSE)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from exabench.parts.losses._masked import best, differences, mean_where, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class MarginMse:
    """Mean over pairs (i, j) of ((s_i - s_j) - (t_i - t_j))^2, t the teacher's scores.

    Hofstätter et al. 2020, for triples of a query, a positive and a negative. A group of two is such a triple. In
    longer lists `pairs="all"` takes every two passages once, and `pairs="best"` the teacher's best against each of the
    rest (sentence-transformers takes its first passage, the positive by judgement, against the rest; the two differ
    where the teacher prefers a negative). "best" needs a passage below the best: not all scores may tie.
    """

    needs = "scores"

    def __init__(self, *, pairs: Literal["all", "best"] = "all") -> None:
        self.pairs = pairs

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`."""
        import torch

        scores, labels = zero_outside_mask(scores, labels, mask)
        if self.pairs == "best":
            top = best(labels, mask)
            chosen = top[:, :, None] & (mask & ~top)[:, None, :]
        else:
            chosen = torch.triu(mask[:, :, None] & mask[:, None, :], diagonal=1)
        return mean_where(chosen, differences(scores - labels) ** 2)
