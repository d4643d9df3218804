"""Batches cut by a token budget over length-sorted items, so that hardly a token of padding is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

REAL = 0.85  # of a batch's tokens at least: in a short list a fuller batch would compute more padding than it saves

CPU_TOKENS = 2_048  # what the caches hold: more is slower, and pads more
GPU_TOKENS = 65_536


def budget_of(device: str) -> int:
    """The padded tokens of a batch on a device, unless somebody says otherwise."""
    return GPU_TOKENS if device.startswith("cuda") else CPU_TOKENS


def batches(lengths: Sequence[int] | np.ndarray, budget: int, most: int = 4096) -> list[np.ndarray]:
    """Positions of items, longest first, in batches of at most `budget` padded tokens and `most` items.

    An item longer than the budget is a batch of its own. Equal lengths keep the given order, so the same
    items always make the same batches.
    """
    lengths = np.asarray(lengths, np.int64)
    order = np.argsort(-lengths, kind="stable")
    cut: list[np.ndarray] = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        some = order[start : start + max(1, min(most, budget // longest))]
        real = np.cumsum(lengths[some]) / (longest * np.arange(1, len(some) + 1))  # falls as the batch grows
        cut.append(some[: max(1, int((real >= REAL).sum()))])
        start += len(cut[-1])
    return cut


def padded(rows: Sequence[np.ndarray], fill: int) -> np.ndarray:
    """Rows of different lengths as one `[n, longest]` int64 array, padded at the end with `fill`."""
    out = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out
