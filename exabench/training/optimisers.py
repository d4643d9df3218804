"""Optimisers, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from exabench.training.plan import Steps


def optimiser_of(steps: Steps, parameters: Iterable[Tensor]) -> Any:
    """AdamW (Loshchilov and Hutter 2019, torch's defaults) or Adafactor with the rate it is given (as for monoT5)."""
    if steps.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=steps.rate, weight_decay=steps.decay)
    from transformers.optimization import Adafactor

    return Adafactor(
        parameters,
        lr=steps.rate,
        weight_decay=steps.decay,
        scale_parameter=False,
        relative_step=False,
        warmup_init=False,
    )


def rate_at(steps: Steps, step: int, total: int) -> float:
    """The learning rate of optimiser step `step` (from 0) of `total`: a linear warm-up, then the schedule, to 0."""
    if step < steps.warmup:
        return steps.rate * (step + 1) / steps.warmup
    done = (step - steps.warmup) / max(1, total - steps.warmup)
    if steps.schedule == "linear":
        return steps.rate * (1 - done)
    if steps.schedule == "cosine":
        return steps.rate * 0.5 * (1 + math.cos(math.pi * done))
    return steps.rate
