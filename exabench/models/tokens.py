"""Token ids of texts: each distinct text is tokenised once, and the ids wait in a file, not in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from exabench.core.files import TemporaryRows
from exabench.models.batches import encodable

CHUNK = 1024  # texts that a tokenizer is given at once: it keeps some hundred bytes for each token while it works


def text_key(text: str) -> bytes:
    """16 bytes that stand for a text: equal texts are one, wherever they come from."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Tokens:
    """A tokenizer that keeps its ids on disk: about 100 bytes of RAM for each distinct text of any length.

    `keep` cuts what is stored of a text: no model reads further, and a passage of 100,000 words stays small.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._rows = TemporaryRows()
        self._places: dict[bytes, int] = {}

    def __getitem__(self, key: bytes) -> np.ndarray:
        return np.frombuffer(self._rows[self._places[key]], np.int32)

    def add(self, texts: Mapping[bytes, str], keep: int | None = None) -> None:
        """Tokenise those of `texts` (by their keys) that are new, in chunks."""
        new = [key for key in texts if key not in self._places]
        for start in range(0, len(new), CHUNK):
            keys = new[start : start + CHUNK]
            rows = bare_ids(self._tokenizer, [texts[key] for key in keys])
            self._rows.extend(ids[:keep].tobytes() for ids in rows)
            for key in keys:
                self._places[key] = len(self._places)  # rows are in the file in the order they were added


def bare_ids(tokenizer: Any, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids int32 of each text, without special tokens; halves of surrogate pairs are read as question marks."""
    encoded = tokenizer(
        list(map(encodable, texts)),
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return [np.array(ids, np.int32) for ids in encoded["input_ids"]]
