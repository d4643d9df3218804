"""Cross-entropy between the softmax of the labels and the softmax of the scores (ListNet, top one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import log_softmax, positive, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class ListNet:
    """-sum over j of softmax(y / T)_j log softmax(s)_j.

    Cao et al. 2007 with top-one probabilities, where T is 1. T divides only the labels: it says how sharply they
    prefer the best. allRank's and TWOLAR's code adds 1e-10 inside the logarithm; sentence-transformers does not.
    """

    needs = "order"

    def __init__(self, *, temperature: float = 1.0) -> None:
        self.temperature = positive("temperature", temperature)

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`; the least possible is the entropy of the labels' softmax, not 0."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        wanted = log_softmax(labels / self.temperature, mask).exp()  # 1 outside the mask, where the next factor is 0
        return -(wanted * log_softmax(scores, mask)).sum(-1)
