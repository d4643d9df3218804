"""Softmax cross-entropy of one positive among hard negatives (localized contrastive estimation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import best, log_softmax, mean_where, positive, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class Lce:
    """-log(exp(s_p / T) / sum over the group of exp(s_j / T)), p the positive.

    Gao, Dai and Callan 2021; T is 1 in the paper and an option of its code (luyug/Reranker), which expects the
    positive at place 0 where here it is the passage with the highest label. What makes it "localized", negatives
    from the top of the first stage that is reranked, is a matter of the data.
    """

    needs = "positive"

    def __init__(self, *, temperature: float = 1.0) -> None:
        self.temperature = positive("temperature", temperature)

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        return mean_where(best(labels, mask), -log_softmax(scores / self.temperature, mask))
