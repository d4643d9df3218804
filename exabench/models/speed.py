"""Speed of a device: matrix products of a model's size, timed."""

from __future__ import annotations

import time

import torch

from exabench.models.loading import DTYPES, device_of

ROWS = 1_024  # about as many tokens as a batch on a CPU holds
TIMED = 0.3  # seconds: the first products of a process are slow, and longer tells no more


def matrix_speed(width: int, ffn: int, device: str, precision: str) -> float:
    """FLOPs a second of products `[ROWS, width] x [width, ffn]`, most of what a Transformer computes.

    int8 is timed as float32. Raises BadInput for a device that is not there.
    """
    place = device_of(device)
    dtype = DTYPES.get(precision, torch.float32)
    left = torch.ones(ROWS, width, device=place, dtype=dtype)
    right = torch.ones(width, ffn, device=place, dtype=dtype)
    product = left @ right  # the first one also loads what later ones find there
    done = 0
    started = time.perf_counter()
    while time.perf_counter() - started < TIMED:
        product = left @ right
        done += 1
    product[0, 0].item()  # a GPU works on after its products were asked for
    return done * 2.0 * ROWS * width * ffn / (time.perf_counter() - started)
