"""Token cross-entropy over the text to write: the label, and the explanation after it (monoT5, ExaRanker)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.parts.losses._masked import at_least_float32, positive

if TYPE_CHECKING:
    from torch import Tensor


class Lm:
    """-sum over t of w_t log p(y_t | y_<t, input), p the softmax over the whole vocabulary.

    monoT5 (Nogueira et al. 2020) writes the one token "true" or "false"; ExaRanker (Ferraretto et al. 2023) continues
    with an explanation, so that the label is one token of about sixty. `label_weight` is what the loop writes into
    `weights` for the label's tokens; all other tokens of a target weigh 1 and padding 0.

    The batch's loss is the sum of these values over the batch's sum of weights. ExaRanker's code takes the mean
    inside each micro-batch of 4 and the mean of the 32 means of a step, so there a token among short texts counts for
    more than one among long texts; and a label's weight is always 1.
    """

    needs = "targets"

    def __init__(self, *, label_weight: float = 1.0) -> None:
        self.label_weight = positive("label_weight", label_weight)

    def __call__(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Weighted sums `[n]` of logits `[n, tokens, vocabulary]`, target ids and weights `[n, tokens]`.

        Where a weight is 0, logits and target are not looked at: any id is allowed there.
        """
        import torch
        from torch.nn.functional import cross_entropy

        used = weights > 0
        logits = at_least_float32(logits[used])
        losses = cross_entropy(logits, targets[used], reduction="none") * weights[used]
        placed = torch.zeros(used.shape, dtype=losses.dtype, device=losses.device).masked_scatter(used, losses)
        return placed.sum(-1)
