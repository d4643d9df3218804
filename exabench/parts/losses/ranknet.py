"""Logistic loss on every pair of passages whose labels differ (RankNet; TWOLAR, RankGPT's students)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from exabench.parts.losses._masked import (
    differences,
    log_sigmoid,
    mean_where,
    ordered_pairs,
    positive,
    zero_outside_mask,
)

if TYPE_CHECKING:
    from torch import Tensor


class RankNet:
    """Mean over the pairs (i, j) of a group with y_i > y_j of log(1 + exp(-sigma (s_i - s_j))).

    Burges et al. 2005, where a pair's target probability is 1. TWOLAR's Eq. 2 prints exp(s_i - s_j) for r_i < r_j,
    i the better one, which has the sign inverted, and a sum; its code (rank_loss.py) is what stands here: the sign of
    RankNet, and the mean over pairs, 435 for 30 passages. `weights="difference"` multiplies each pair by y_i - y_j
    (an option of RankGPT's and of allRank's code; the mean is still over the number of pairs).
    sentence-transformers takes log2, 1.4427 times this, and the mean over the pairs of all groups of a batch, where
    here every group counts alike.
    """

    needs = "order"

    def __init__(self, *, sigma: float = 1.0, weights: Literal["none", "difference"] = "none") -> None:
        self.sigma = positive("sigma", sigma)
        self.weights = weights

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`; passages with equal labels make no pair."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        losses = -log_sigmoid(self.sigma * differences(scores))
        if self.weights == "difference":
            losses = losses * differences(labels)
        return mean_where(ordered_pairs(labels, mask), losses)
