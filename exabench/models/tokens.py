"""Token ids of texts: each distinct text is tokenised once, and the ids wait in a file, not in memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CHUNK = 1024  # texts that a tokenizer is given at once


def text_key(text: str) -> bytes:
    """16 bytes that stand for a text: equal texts are one, wherever they come from."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Tokens:
    """A tokenizer with a memory on disk: about 100 bytes of RAM for each distinct text, whatever its length.

    `keep` cuts what is stored of a text: no model reads further, and a passage of 100,000 words stays small.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object
        self._places: dict[bytes, int] = {}
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: bytes) -> np.ndarray:
        place = self._places[key]
        start, end = self._ends[place], self._ends[place + 1]
        return np.frombuffer(os.pread(self._file.fileno(), 4 * (end - start), 4 * start), np.int32)

    def add(self, texts: Mapping[bytes, str], keep: int | None = None) -> None:
        """Tokenise those of `texts` (by their keys) that are new, in chunks."""
        new = [(key, text) for key, text in texts.items() if key not in self._places]
        for start in range(0, len(new), CHUNK):
            self._add(new[start : start + CHUNK], keep)

    def _add(self, texts: Sequence[tuple[bytes, str]], keep: int | None) -> None:
        rows = [ids[:keep] for ids in bare_ids(self._tokenizer, [text for _, text in texts])]
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(row.tobytes() for row in rows))
        self._file.flush()
        for (key, _), row in zip(texts, rows, strict=True):
            self._places[key] = len(self._ends) - 1
            self._ends.append(self._ends[-1] + len(row))


_BARE = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False, "verbose": False}


def bare_ids(tokenizer: Any, texts: Sequence[str]) -> list[np.ndarray]:
    """The ids int32 of each text, without special tokens; halves of surrogate pairs are read as question marks."""
    plain = [text if text.isascii() else text.encode("utf-8", "replace").decode() for text in texts]
    return [np.array(ids, np.int32) for ids in tokenizer(plain, **_BARE)["input_ids"]]
