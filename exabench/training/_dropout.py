"""Dropout on a CPU at a fraction of its price: sixteen random bits for each element, four elements to a draw.

torch draws a whole Bernoulli number for each element there, which is a seventh of a small encoder's step. The masks
come from torch's own generator, so that what seeds it decides them; a probability is kept to 1/65,536.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_STEPS = 1 << 16


class CheapDropout(TorchFunctionMode):  # type: ignore[misc]  # torch says nothing of its type
    """Within this context, dropout (attention's too) draws its masks cheaply; nothing else changes.

    It does not reach what runs again on the way back: leave it out where gradient checkpointing is on.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """A call of torch: its dropout and its attention are ours where they drop something."""
        given = dict(kwargs or {})
        if func is functional.dropout and given.get("training", True) and not given.get("inplace"):
            return dropped(*args, given.get("p", 0.5)) if len(args) == 1 else dropped(args[0], args[1])
        if func is functional.scaled_dot_product_attention and given.get("dropout_p"):
            return attention(*args, **given)
        return func(*args, **given)


def dropped(x: Tensor, p: float) -> Tensor:
    """`x` with each element 0 at probability `p`, and the others grown by 1 / (1 - p)."""
    cut = round(p * _STEPS)
    if cut in (0, _STEPS):
        return x if cut == 0 else x * 0
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    kept = drawn.view(torch.int16)[: x.numel()].view(x.shape) >= cut - _STEPS // 2
    return x * kept.to(x.dtype).mul_(_STEPS / (_STEPS - cut))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention, `[..., positions, width]`, as torch's reference has it, with `dropped` weights."""
    if enable_gqa:
        times = query.shape[-3] // key.shape[-3]
        key, value = (x.repeat_interleave(times, -3) for x in (key, value))
    scores = (query * (scale or 1 / math.sqrt(query.shape[-1]))) @ key.transpose(-2, -1)
    if is_causal:
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(ahead, -math.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return dropped(scores.softmax(-1), dropout_p) @ value
