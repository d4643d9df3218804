"""What the neural first stages share: loading without surprises, and texts in batches that waste little."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers.utils import logging

from exabench.errors import BadInput, UnknownName
from exabench.nouns import ModelFolder

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BATCH_TOKENS = {"cpu": 4096}
_BATCH_TOKENS_ELSEWHERE = 32768
_TOKENIZERS = (
    *("tokenizer.json", "tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
    *("vocab.txt", "vocab.json"),
)
_SLICE = 256  # texts tokenised at once: a tokenizer keeps some hundred bytes for each token while it works
_LONGEST = 512  # where neither the tokenizer nor the model names a limit


def device_of(name: str) -> torch.device:
    """The device of that name; none means a GPU where there is one. Raises BadInput for one that is not there."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device {name!r} cannot be used here ({_first_line(error)})") from error
    return device


def dtype_of(precision: str) -> torch.dtype:
    """The dtype of that name. Raises UnknownName."""
    if precision not in PRECISIONS:
        raise UnknownName("precision", precision, PRECISIONS)
    return PRECISIONS[precision]


@contextlib.contextmanager
def loading(folder: ModelFolder, what: str) -> Iterator[None]:
    """Load in silence, and turn whatever a library says of a folder it cannot load into one BadInput line."""
    if not any((folder.path / name).is_file() for name in _TOKENIZERS):  # transformers would make an empty one up
        raise BadInput(f"holds no tokenizer (none of {', '.join(_TOKENIZERS)})", file=folder.path)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except BadInput:
        raise
    except Exception as error:  # what a strange folder makes a library raise is anybody's guess
        raise BadInput(f"cannot be loaded as {what} ({_first_line(error)})", file=folder.path) from error
    finally:
        if shown:
            logging.enable_progress_bar()


def token_limit(tokenizer: Any, model: Any, wanted: int) -> int:
    """How many tokens of a text are read: `wanted`, or where that is 0 what tokenizer and model allow.

    Raises BadInput where more are wanted than the model has positions for, or the tokenizer has words it has not.
    """
    held = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > held:
        raise BadInput(f"the tokenizer has {len(tokenizer)} words and the model {held}; they do not belong together")
    positions = getattr(model.config, "max_position_embeddings", None) or 10**9
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    if padding is not None:  # RoBERTa and its kin number positions from behind the padding's
        positions -= padding + 1
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
    budget = BATCH_TOKENS.get(device.type, _BATCH_TOKENS_ELSEWHERE)
    lengths = np.array([len(row) for row in rows], np.int64)
    order, start = np.argsort(-lengths, kind="stable"), 0
    while start < len(order):
        some = order[start : start + max(1, budget // int(lengths[order[start]]))]
        features = tokenizer.pad({"input_ids": [rows[i].tolist() for i in some]}, return_tensors="pt")
        yield some, {name: value.to(device) for name, value in features.items()}
        start += len(some)


def refuse_not_finite(values: np.ndarray, ids: Sequence[str], what: str) -> None:
    """Raise BadInput with the id of the first row that holds NaN or infinity."""
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise BadInput(f"the model's vector of this {what} is not finite; check model and precision", id=ids[wrong[0]])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0][:200]
