"""Ranges of a loss's options, so that a recipe with a wrong one fails before a model is loaded."""

from __future__ import annotations

from torch import Tensor

from exabench.core.errors import BadInput


def positive(name: str, value: float) -> float:
    """The value. Raises BadInput unless it is a finite number above 0."""
    if not 0 < value < float("inf"):
        raise BadInput(f"{name} of a loss must be a number above 0, not {value!r}")
    return value


def not_negative(labels: Tensor, loss: str) -> None:
    """Raises BadInput if a label is below 0: this loss reads labels as weights or gains, and would reward errors."""
    if bool((labels < 0).any()):
        raise BadInput(f"loss {loss} reads labels as gains, which are 0 or more; for scores below 0 use kl or listnet")
