"""Softmax cross-entropy over a list, each passage weighed by its label (RankT5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import log_softmax, not_negative, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class SoftmaxCe:
    """-sum over j of y_j log(exp(s_j) / sum over k of exp(s_k)).

    The listwise softmax loss of RankT5 (Zhuang et al. 2023), with the labels as they are: a group with two positives
    weighs twice as much as one with one. `normalised=True` divides by the sum of the labels, so that they are a
    distribution. With one label 1 among zeros, as in the paper's lists of 36, both are the same, and equal to LCE.
    """

    needs = "order"

    def __init__(self, *, normalised: bool = False) -> None:
        self.normalised = normalised

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`. Raises BadInput for a label below 0."""
        import torch

        scores, labels = zero_outside_mask(scores, labels, mask)
        not_negative(labels, "softmax_ce")
        if self.normalised:
            tiny = torch.finfo(labels.dtype).tiny  # a group of padding sums to 0, and 0 / 0 is NaN
            labels = labels / labels.sum(-1, keepdim=True).clamp(min=tiny)
        return -(labels * log_softmax(scores, mask)).sum(-1)
