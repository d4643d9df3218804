"""Squared error of approximate ranks, against the ranks of a teacher's order (ADR-MSE of Rank-DistiLLM)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from exabench.parts.losses._masked import differences, mean_where, positive, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class AdrMse:
    """Mean over the passages of a group of (r_i - a_i)^2 / log2(1 + r_i), a_i = 1 + sum over j != i of
    sigmoid((s_j - s_i) / T).

    Schlatt et al. 2024 (arXiv 2405.07920), as lightning-ir computes it: r_i is the rank of passage i by the labels,
    a_i that by the scores, made smooth by Qin et al. 2010. `discount` "reciprocal" divides by r_i, "none" by nothing,
    which is lightning-ir's default where the paper has the logarithm. Equal labels share the mean of their ranks, as
    in sentence-transformers; lightning-ir ranks them as they come.
    """

    needs = "order"

    def __init__(self, *, temperature: float = 1.0, discount: Literal["log2", "reciprocal", "none"] = "log2") -> None:
        self.temperature = positive("temperature", temperature)
        self.discount = discount

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        others = mask[:, None, :]
        ahead = (-differences(scores) / self.temperature).sigmoid().where(others, 0.0)
        approximate = 0.5 + ahead.sum(-1)  # 1, less the half that each passage is ahead of itself
        above = (others & (differences(labels) < 0)).sum(-1)
        equal = (others & (differences(labels) == 0)).sum(-1)
        ranks = above + (equal + 1).to(scores.dtype) / 2
        errors = (ranks - approximate) ** 2
        if self.discount == "log2":
            errors = errors / (1 + ranks).log2()
        elif self.discount == "reciprocal":
            errors = errors / ranks
        return mean_where(mask, errors)
