"""Checks of a loss's options, so that a recipe with a wrong one fails before a model is loaded."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from exabench.errors import BadInput, UnknownName


def positive(name: str, value: float) -> float:
    """The value. Raises BadInput unless it is a number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise BadInput(f"{name} of a loss must be a number above 0, not {value!r}")
    return value


def cutoff(k: int | None) -> int | None:
    """The rank to cut at, None for none. Raises BadInput unless it is a whole number from 1."""
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise BadInput(f"k of a loss must be a whole number from 1, not {k!r}")
    return k


def choice(name: str, value: str, choices: Collection[str]) -> str:
    """The value. Raises UnknownName unless it is one of the choices."""
    if value not in choices:
        raise UnknownName(f"{name} of a loss", str(value), choices)
    return value


def not_negative(labels: Tensor, loss: str) -> None:
    """Raises BadInput if a label is below 0: this loss reads labels as weights or gains, and would reward errors."""
    if bool((labels < 0).any()):
        raise BadInput(f"loss {loss} reads labels as gains, which are 0 or more; for scores below 0 use kl or listnet")
