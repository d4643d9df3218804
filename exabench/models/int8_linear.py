"""Linear layers in int8: weights scaled by output channel, activations by token, products summed as whole numbers.

A token's activations are scaled by their own largest value, as torchao and oneDNN do it, so that what a layer makes of
a text does not depend on the other texts of its batch. (One scale for a whole batch, as in PyTorch's quantize_dynamic,
moves a score with the company that it keeps.) The product is FBGEMM's, in PyTorch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS = 63  # 7 bits: processors without VNNI add two products in 16 bits, and 2 x 127 x 127 is what these hold
WEIGHTS = 127
_SMALLEST = 1e-30  # a row of zeros is divided by it, and stays zero


class Int8Linear(nn.Module):  # type: ignore[misc]  # torch is not typed for mypy here
    """A linear layer of the same weights and bias as `layer`, in int8; its input and output are float32."""

    weight = None  # T5 looks whether it is a tensor whose precision its input must have

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.bias = layer.bias
        weight = layer.weight.detach()
        scales = weight.abs().amax(1).clamp(min=_SMALLEST).double() / WEIGHTS
        zeros = torch.zeros(len(weight), dtype=torch.long)
        rounded = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
        engine = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"  # the only one whose products give float32
        try:
            self._packed = torch.ops.quantized.linear_prepack(rounded, None)
        finally:
            torch.backends.quantized.engine = engine

    def forward(self, states: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        scales = states.abs().amax(-1, keepdim=True).clamp(min=_SMALLEST) / ACTIVATIONS
        # The zero point lets unsigned bytes, which FBGEMM takes, stand for -63 to 63.
        whole = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        product = whole(states / scales, 1.0, ACTIVATIONS + 1, self._packed) * scales
        if self.bias is not None:
            product = product + self.bias
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
