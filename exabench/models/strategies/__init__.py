"""Strategies: how a model's logits become one score for a passage.

A strategy is one file that holds one class of the file's name, called with logits and answers. To add one, add its
file. `rows` says what it must be given: the logits of the answers alone, those of the whole vocabulary, or in their
place the log-probabilities of the targets, tokens that the model is to write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from exabench.core.shelf import Shelf

if TYPE_CHECKING:
    from torch import Tensor


class Strategy(Protocol):
    """Logits to scores; differentiable, because training uses exactly the same."""

    rows: str

    def __call__(self, logits: Tensor, answers: tuple[int, ...]) -> Tensor:
        """Scores `[n]` of logits `[n, k]`, whose columns `answers` are (positive, negative), or the one answer.

        Of log-probabilities `[n, t]` every one counts, and `answers` are none.
        """


STRATEGIES = Shelf("strategy", __name__, __file__)
