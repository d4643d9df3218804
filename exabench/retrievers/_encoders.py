"""What the neural first stages share: how much of a text is read, and texts in batches that waste little."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from exabench.batches import GPU_TOKENS, batches
from exabench.errors import BadInput
from exabench.models import check_vocabulary, positions_of
from exabench.nouns import ModelFolder

CPU_TOKENS = 4096  # a shard's texts are many and of all lengths: larger batches than a reranker's pay here
_SLICE = 256  # texts tokenised at once: a tokenizer keeps some hundred bytes for each token while it works
_LONGEST = 512  # where neither the tokenizer nor the model names a limit


def token_limit(tokenizer: Any, model: Any, folder: ModelFolder, wanted: int) -> int:
    """How many tokens of a text are read: `wanted`, or where that is 0 what tokenizer and model allow.

    Raises BadInput where more are wanted than the model has positions for, or the tokenizer has words it has not.
    """
    check_vocabulary(tokenizer, model, folder)
    positions = positions_of(model) or 10**9
    if wanted < 0 or wanted > positions:
        raise BadInput(f"max_length {wanted} is not between 1 and {positions}, the positions that the model has")
    most = min(tokenizer.model_max_length, positions)
    return wanted or (most if most < 10**6 else _LONGEST)


def tokenised(tokenizer: Any, texts: Sequence[str], limit: int) -> list[np.ndarray]:
    """The ids of each text, special tokens and all, cut to `limit`; a text without any token becomes one unknown."""
    rows: list[np.ndarray] = []
    for start in range(0, len(texts), _SLICE):
        found = tokenizer(
            list(texts[start : start + _SLICE]),
            truncation=True,
            max_length=limit,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        rows += [np.array(ids or [tokenizer.unk_token_id or 0], np.int32) for ids in found]
    return rows


def in_batches(tokenizer: Any, rows: Sequence[np.ndarray], device: torch.device) -> Iterator[tuple[np.ndarray, Any]]:
    """Positions in `rows` and the padded features of each batch: longest first, cut by a budget of padded tokens.

    The same rows always make the same batches, so that an encoding that was interrupted gives the same bytes.
    """
    for some in batches([len(row) for row in rows], CPU_TOKENS if device.type == "cpu" else GPU_TOKENS):
        features = tokenizer.pad({"input_ids": [rows[i].tolist() for i in some]}, return_tensors="pt")
        yield some, {name: value.to(device) for name, value in features.items()}


def refuse_not_finite(values: np.ndarray, ids: Sequence[str], what: str) -> None:
    """Raise BadInput with the id of the first row that holds NaN or infinity."""
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise BadInput(f"the model's vector of this {what} is not finite; check model and precision", id=ids[wrong[0]])
