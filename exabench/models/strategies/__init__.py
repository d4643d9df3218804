"""Strategies: how a model's logits become one score for a passage.

A strategy is one file that holds one class of the file's name, called with logits and answers. To add one, add its
file. `rows` says which logits it must be given: those of the answers alone, or of the whole vocabulary.
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
        """Scores `[n]` of logits `[n, k]`, whose columns `answers` are (positive, negative), or the one answer."""


STRATEGIES = Shelf("strategy", __name__, __file__)
