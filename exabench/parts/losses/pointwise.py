"""Binary cross-entropy of each passage independently (monoBERT, monoT5's two-way softmax, MiniLM cross-encoders)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import log_sigmoid, mean_where, zero_outside_mask

if TYPE_CHECKING:
    from torch import Tensor


class PointwiseLoss:
    """Mean over the passages of a group of -(y log sigmoid(s) + (1 - y) log(1 - sigmoid(s))).

    Nogueira and Cho 2019 write the sum, over positives and negatives. For scores of the strategy `difference`, which
    are the logit of "true" less that of "false", it is the cross-entropy of monoT5's two-way softmax; monoT5 itself
    was trained over the whole vocabulary, which is the loss `lm`.
    """

    needs = "binary"

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
        """Values `[groups]`; labels between 0 and 1 ask for that probability."""
        scores, labels = zero_outside_mask(scores, labels, mask)
        losses = -labels * log_sigmoid(scores) - (1 - labels) * log_sigmoid(-scores)
        return mean_where(mask, losses)
