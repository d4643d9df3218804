"""Batches cut by a token budget over length-sorted items, so that hardly a token of padding is computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
        size = max(1, min(most, budget // max(1, int(lengths[order[start]]))))
        cut.append(order[start : start + size])
        start += size
    return cut


def padded(rows: Sequence[np.ndarray], fill: int) -> np.ndarray:
    """Rows of different lengths as one `[n, longest]` int64 array, padded at the end with `fill`."""
    out = np.full((len(rows), max(map(len, rows))), fill, np.int64)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out
