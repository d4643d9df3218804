"""Likelihood of the labels' order, in which the first places weigh the most (position-aware ListMLE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import lowest, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class PListMle:
    """-sum over places i of w_i log(exp(s_i) / sum over k >= i of exp(s_k)), passages in the order of their labels.

    Lan et al. 2014: a place's part of the Plackett-Luce likelihood of an order, which ListMLE (Xia et al. 2008) weighs
    alike, has the weight 2^(n - i) - 1. Here and in sentence-transformers weights are divided by their sum, so that
    the lists of n passages do not weigh as 2^n. Passages with equal labels keep their order in the group.
    """

    needs = "order"

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`."""
        import torch

        scores, labels = zero_outside_mask(scores, labels, mask)
        places = lowest(labels, mask).argsort(descending=True, stable=True).argsort()  # from 0
        left = mask[:, None, :] & (places[:, None, :] >= places[:, :, None])  # passages that stand at i or behind it
        of_all_left = lowest(scores[:, None, :].expand(left.shape), left).logsumexp(-1)
        # 2^(n - i) - 1 over 2^(n - 1), which no list is too long for.
        last = mask.sum(-1, keepdim=True) - 1
        weights = (torch.exp2(-places.to(scores.dtype)) - torch.exp2(-last.to(scores.dtype))).where(mask, 0.0)
        total = weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)  # 0 of a single passage, and of padding
        return (weights * (of_all_left - scores)).sum(-1) / total
