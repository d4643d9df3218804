"""Texts as token ids, and batches of them cut by a token budget, so that hardly a token of padding is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

REAL = 0.85  # of a batch's tokens at least: in a short list a fuller batch would compute more padding than it saves

CPU_TOKENS = 2_048  # what the caches hold: more is slower, and pads more
CPU_SHARD_TOKENS = 4_096  # a first stage's texts are many and of all lengths: larger batches pay there
GPU_TOKENS = 65_536

_CHUNK = 256  # texts tokenised at once: a tokenizer keeps some hundred bytes for each token while it works


def budget_of(device: str, on_cpu: int = CPU_TOKENS) -> int:
    """The padded tokens of a batch on a device, where nothing else is asked for."""
    if device.startswith("cuda"):
        return GPU_TOKENS
    return on_cpu


def tokenise(tokenizer: Any, texts: Sequence[str], limit: int) -> list[np.ndarray]:
    """The ids int32 of each text, special tokens and all, cut at the end to `limit`.

    Halves of surrogate pairs are read as question marks; a text without any token becomes one unknown token.
    """
    unknown = [tokenizer.unk_token_id or 0]
    rows = []
    for start in range(0, len(texts), _CHUNK):
        some = list(map(encodable, texts[start : start + _CHUNK]))
        encoded = tokenizer(
            some, truncation=True, max_length=limit, return_attention_mask=False, return_token_type_ids=False
        )
        for ids in encoded["input_ids"]:
            rows.append(np.array(ids or unknown, np.int32))
    return rows


def encodable(text: str) -> str:
    """The text with question marks for halves of surrogate pairs, which UTF-8 cannot hold."""
    if text.isascii():  # as most are: there is nothing to replace
        return text
    return text.encode("utf-8", "replace").decode()


def padded_batches(
    tokenizer: Any, rows: Sequence[np.ndarray], budget: int
) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Positions in `rows` and the padded features of each batch, as tensors on the CPU.

    The same rows always make the same batches, so that an encoding that was interrupted gives the same bytes.
    """
    for some in batches(list(map(len, rows)), budget):
        yield some, dict(tokenizer.pad({"input_ids": [rows[i].tolist() for i in some]}, return_tensors="pt"))


def batches(lengths: Sequence[int] | np.ndarray, budget: int, most: int = 4096) -> list[np.ndarray]:
    """Positions of items, longest first, in batches of at most `budget` padded tokens and `most` items.

    An item longer than the budget is its own batch. Equal lengths keep the given order, so the same
    items always make the same batches.
    """
    lengths = np.asarray(lengths, np.int64)
    order = np.argsort(-lengths, kind="stable")
    cut = []
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        fitting = max(1, min(most, budget // longest))
        some = order[start : start + fitting]
        # the share of real tokens in the first item, the first two, ...: it falls as the batch grows
        real = np.cumsum(lengths[some]) / (longest * np.arange(1, len(some) + 1))
        full_enough = int((real >= REAL).sum())
        cut.append(some[: max(1, full_enough)])
        start += len(cut[-1])
    return cut


def pad_rows(rows: Sequence[np.ndarray], fill: int) -> np.ndarray:
    """Rows of different lengths as one `[n, longest]` int64 array, padded at the end with `fill`."""
    longest = max(map(len, rows))
    out = np.full((len(rows), longest), fill, np.int64)
    for line, row in zip(out, rows, strict=True):
        line[: len(row)] = row
    return out
