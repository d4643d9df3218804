"""Each positive of a group against all of its negatives, never against other positives (InfoNCE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import best, log_sigmoid, lowest, mean_where, positive, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class ContrastiveLoss:
    """Mean over positives p of -log(exp(s_p / T) / (exp(s_p / T) + sum over negatives n of exp(s_n / T))).

    InfoNCE (van den Oord et al. 2018) for any number of positives, which are the passages with the highest label of
    their group. With one positive it is LCE. With more, LCE would be undefined, and a softmax over the whole list would
    push positives away from each other; the supervised contrastive loss of Khosla et al. 2020 (its outer sum) keeps
    the other positives in the denominator, this one leaves them out.
    """

    needs = "order"

    def __init__(self, *, temperature: float = 1.0) -> None:
        self.temperature = positive("temperature", temperature)

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        scores = scores / self.temperature
        positives = best(labels, mask)
        negatives = lowest(scores, mask & ~positives).logsumexp(-1, keepdim=True)
        return mean_where(positives, -log_sigmoid(scores - negatives))
