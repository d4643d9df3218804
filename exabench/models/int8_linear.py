"""Linear layers in int8: weights scaled by output channel, activations by token, products summed as whole numbers.

A token's activations are scaled by their own smallest and largest value, as torchao and oneDNN do it, so that what a
layer makes of a text does not depend on the other texts of its batch. (One scale for a whole batch, as in PyTorch's
quantize_dynamic, moves a score with the company that it keeps.) The product is FBGEMM's, in PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LEVELS = 127  # 7 bits each: processors without VNNI add two products in 16 bits, which 2 x 127 x 127 just fits
_SMALLEST = 1e-30  # the step of a token whose activations are all the same


class Int8Linear(nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """A linear layer of the same weights and bias as `layer`, in int8; its input and output are float32."""

    weight = None  # T5 looks whether it is a tensor whose precision its input must have

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.bias = layer.bias
        weight = layer.weight.detach()
        scales = weight.abs().amax(1).clamp(min=_SMALLEST).double() / LEVELS
        zeros = torch.zeros(len(weight), dtype=torch.long)
        rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        self._sums = rounded.dequantize().sum(1)  # what a product gains where all activations of a token grow by 1
        engine = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"  # the only one whose products give float32
        try:
            self._packed = torch.ops.quantized.linear_prepack(rounded, None)
        finally:
            torch.backends.quantized.engine = engine

    def forward(self, states: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        low, high = torch.aminmax(states, dim=-1, keepdim=True)
        steps = ((high - low) / LEVELS).clamp(min=_SMALLEST)
        whole = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        product = whole((states - low).div_(steps), 1.0, 0, self._packed)
        product.mul_(steps).addcmul_(low, self._sums)
        if self.bias is not None:
            product.add_(self.bias)
        return product


def can_quantise() -> bool:
    """Has this machine's PyTorch the product that Int8Linear needs?"""
    known = hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32")
    return known and "fbgemm" in torch.backends.quantized.supported_engines


def to_int8(model: Any) -> None:
    """Put an Int8Linear in the place of each linear layer inside of a model."""
    for module in list(model.modules()):
        for name, inner in list(module.named_children()):
            if type(inner) is nn.Linear:
                setattr(module, name, Int8Linear(inner))
