"""Vectors of the distinct texts of one side of a dual encoder: each is encoded once, and its vector waits in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from exabench.core.errors import BadInput
from exabench.models.row_file import RowFile
from exabench.models.tokens import text_key

if TYPE_CHECKING:
    from exabench.models.dual_encoder import DualEncoder


class EncodedText(NamedTuple):
    """A text that was encoded: the row of its vector, its tokens, and whether it was cut."""

    row: int
    tokens: int
    cut: bool


class TextVectors:
    """About 100 bytes of memory for each distinct text of a side ("query" or "passage"); the vectors are on disk."""

    def __init__(self, encoder: DualEncoder, side: str) -> None:
        self._encoder = encoder
        self._side = side
        self._texts: dict[bytes, EncodedText] = {}
        self._vectors = RowFile(np.float32)

    def add(self, texts: Iterable[str]) -> None:
        """Encode what is new among the texts. Raises BadInput where a vector is not finite."""
        new = {key: text for text in texts if (key := text_key(text)) not in self._texts}
        if not new:
            return
        rows = self._encoder.tokenise(list(new.values()), self._side)
        vectors = self._encoder.encode_tokens(rows, self._side)
        if not np.isfinite(vectors).all():
            name = self._encoder.folder.name
            raise BadInput(f"model {name} gave a vector that is not finite; try precision float32")
        self._vectors.extend(list(vectors))
        full = [text for text, row in zip(new.values(), rows, strict=True) if len(row) == self._encoder.max_length]
        cut = set(np.array(full, object)[self._encoder.is_cut(full, self._side)])
        for (key, text), row in zip(new.items(), rows, strict=True):
            self._texts[key] = EncodedText(len(self._texts), len(row), text in cut)

    def inputs(self, texts: Sequence[str]) -> list[EncodedText]:
        """Each of the texts, which were added, as an input of the model."""
        return [self._texts[text_key(text)] for text in texts]

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `[n, width]` of texts that were added, of at least one."""
        return np.stack([self._vectors[encoded.row] for encoded in self.inputs(texts)])
