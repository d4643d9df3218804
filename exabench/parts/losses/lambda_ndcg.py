"""Logistic loss on pairs, weighed by what a swap would change in nDCG (LambdaRank, LambdaLoss)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from exabench.core.errors import BadInput, printable
from exabench.parts.losses._masked import (
    differences,
    log_sigmoid,
    lowest,
    mean_where,
    not_negative,
    ordered_pairs,
    positive,
    zero_outside_mask,
)

if TYPE_CHECKING:
    from torch import Tensor


class LambdaNdcg:
    """Mean over the pairs with y_i > y_j of w_ij |G_i - G_j| log2(1 + exp(-sigma (s_i - s_j))).

    Wang et al. 2018. r_i is the rank of passage i by the present scores, D(r) = log2(1 + r), G_i the gain (2^y - 1,
    or y with `gain="linear"`) over the best possible DCG of the group at k. `weighting` names w_ij:
    "lambdarank" is rho = |1 / D(r_i) - 1 / D(r_j)|, so that w |G_i - G_j| is |delta nDCG| (Burges et al. 2006);
    "ndcg2" is delta = |1 / D(|r_i - r_j|) - 1 / D(|r_i - r_j| + 1)|, the paper's NDCG-Loss2;
    "ndcg2pp" is rho + mu delta, its NDCG-Loss2++ and its best (mu = 10 in the published codes).
    Ranks and gains are constants for the gradient. Passages with equal scores are ranked by their place in the group.

    With `k`, a pair counts where one of the two is among the first k, as sentence-transformers has it; allRank's and
    TWOLAR's code ask it of both. The paper sums over pairs and allRank may; this is the mean over a group's pairs, and
    sentence-transformers' the mean over those of all groups. Both codes take log2 by default; `log="natural"` gives
    the same times ln 2. allRank's code raises the sigmoid to the power w and cuts it off at 1e-10, so that badly
    misordered pairs have no gradient; here they keep it. Gains are computed relative to the highest label, so that
    2^y of long lists does not overflow.
    """

    needs = "order"

    def __init__(
        self,
        *,
        weighting: Literal["lambdarank", "ndcg2", "ndcg2pp"] = "ndcg2pp",
        k: int | None = None,
        gain: Literal["exponential", "linear"] = "exponential",
        mu: float = 10.0,
        sigma: float = 1.0,
        log: Literal["binary", "natural"] = "binary",
    ) -> None:
        if k is not None and k < 1:
            raise BadInput(f"k of a loss must be a whole number from 1, not {printable(repr(k))}")
        self.weighting = weighting
        self.gain = gain
        self.k = k
        self.mu = positive("mu", mu)
        self.sigma = positive("sigma", sigma)
        self.unit = 1.0
        if log == "binary":
            self.unit = math.log(2)

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`. Raises BadInput for a label below 0."""
        import torch

        scores, labels = zero_outside_mask(scores, labels, mask)
        not_negative(labels, "lambda_ndcg")
        order = lowest(scores, mask).argsort(descending=True, stable=True)
        ranks = order.argsort() + 1
        pairs = ordered_pairs(labels, mask)
        if self.k is not None:
            first = ranks <= self.k
            pairs = pairs & (first[:, :, None] | first[:, None, :])
        # Weights are constants of the present order: `ranks` come from argsort, which has no gradient.
        ranks = ranks.to(scores.dtype)
        rho = differences(1 / torch.log2(1 + ranks)).abs()
        apart = differences(ranks).abs().clamp(min=1)  # the diagonal is not a pair, but must not divide by log2(1)
        delta = 1 / torch.log2(1 + apart) - 1 / torch.log2(2 + apart)
        # Gains over the group's ideal DCG at k, in which the factor 2^highest cancels out.
        gains = labels
        if self.gain == "exponential":
            highest = labels.amax(-1, keepdim=True)
            gains = torch.exp2(labels - highest) - torch.exp2(-highest)
        ideal = gains.sort(-1, descending=True).values[:, : self.k]
        discounts = torch.log2(torch.arange(2, 2 + ideal.shape[1], dtype=gains.dtype, device=gains.device))
        best_dcg = (ideal / discounts).sum(-1, keepdim=True)
        tiny = torch.finfo(gains.dtype).tiny  # a group without gains, as padding is, has no pairs; but 0 / 0 is NaN
        gains = gains / best_dcg.clamp(min=tiny)
        weights = {"lambdarank": rho, "ndcg2": delta, "ndcg2pp": rho + self.mu * delta}[self.weighting]
        weights = weights * differences(gains).abs()
        losses = -weights * log_sigmoid(self.sigma * differences(scores)) / self.unit
        return mean_where(pairs, losses)
