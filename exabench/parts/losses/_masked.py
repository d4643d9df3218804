"""Shared by losses: arithmetic on groups of unlike sizes, and the ranges of options and labels.

Cells outside the mask are replaced before anything is computed from them, because a NaN times 0 is still NaN, in the
gradient too. Sums and means of nothing are 0. A wrong option fails before a model is loaded, and before torch is: a
loss imports it when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exabench.core.errors import BadInput, printable

if TYPE_CHECKING:
    from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32, or as they are in float64."""
    import torch

    return values.to(torch.promote_types(values.dtype, torch.float32))


def zero_outside_mask(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and labels in one precision, float32 at least, with 0 in every cell outside the mask."""
    scores = at_least_float32(scores)
    labels = labels.to(scores.dtype)
    return scores.where(mask, 0.0), labels.where(mask, 0.0)


def lowest(values: Tensor, mask: Tensor) -> Tensor:
    """The values, and outside the mask the least finite number: no maximum, no part of a softmax, and never a NaN."""
    import torch

    return values.masked_fill(~mask, torch.finfo(values.dtype).min)


def log_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Logarithm of the softmax over the cells within the mask; 0 in all others."""
    return lowest(scores, mask).log_softmax(-1).where(mask, 0.0)


def log_sigmoid(values: Tensor) -> Tensor:
    """Logarithm of the logistic function of each value."""
    from torch.nn.functional import logsigmoid

    return logsigmoid(values)


def best(labels: Tensor, mask: Tensor) -> Tensor:
    """Which cells hold the highest label of their group."""
    labels = lowest(labels, mask)
    return mask & (labels == labels.amax(-1, keepdim=True))


def differences(values: Tensor) -> Tensor:
    """`[groups, n, n]`: value i less value j."""
    return values[:, :, None] - values[:, None, :]


def ordered_pairs(labels: Tensor, mask: Tensor) -> Tensor:
    """`[groups, n, n]`: passages i and j are there, and i has the higher label."""
    return mask[:, :, None] & mask[:, None, :] & (differences(labels) > 0)


def mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    """`[groups]`: mean of the chosen values of each group, 0 where none is chosen."""
    counts = chosen.flatten(1).sum(-1)
    sums = values.where(chosen, 0.0).flatten(1).sum(-1)
    return sums / counts.clamp(min=1)


def positive(name: str, value: float) -> float:
    """The value. Raises BadInput unless it is a finite number above 0."""
    if not 0 < value < float("inf"):
        raise BadInput(f"{name} of a loss must be a number above 0, not {printable(repr(value))}")
    return value


def not_negative(labels: Tensor, loss: str) -> None:
    """Raises BadInput if a label is below 0: this loss reads labels as weights or gains, and would reward errors."""
    if (labels < 0).any():
        raise BadInput(
            f"loss {loss} uses labels as gains, which must be 0 or more; for negative scores use kl or listnet"
        )
