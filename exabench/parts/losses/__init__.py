"""Losses: how far the scores of a group of passages are from what its labels ask, one differentiable number a group.

A loss is one file that holds one class of the file's name, made with its options and called with tensors. To add
one, add its file; the contract test finds it. `needs` says which groups it is defined for: "targets" (a text to write
for each passage), "binary" (labels 1 and 0), "positive" (one label above all others), "order" (two passages or more,
whose labels differ) or "scores" (two or more with real-valued scores of a teacher). A group that does not offer this
must be refused before it comes here: a loss cannot tell it from padding, and gives 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from exabench.core.shelf import Shelf

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Protocol):
    """A value for each group, in float32 (float64 where scores are): precision below is raised first.

    A group with nothing in it (padding, so that all ranks step alike) has the value 0 and a gradient of 0.
    """

    needs: str

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor, /) -> Tensor:
        """Values `[groups]` of scores, labels (higher is better) and mask, all `[groups, n]`; False is not a passage.

        Cells outside the mask influence neither value nor gradient, whatever they hold. `lm` alone differs: it takes
        logits `[n, tokens, vocabulary]`, targets and weights `[n, tokens]`, and sums each item's tokens.
        """


LOSSES = Shelf("loss", __name__, __file__)
