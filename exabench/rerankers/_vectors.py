"""Vectors of texts: each distinct text is embedded once, and its vector waits in a file, not in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from exabench.batches import batches
from exabench.errors import BadInput
from exabench.rerankers._heads import inputs_of
from exabench.rerankers._tokens import Tokens, text_key

if TYPE_CHECKING:
    from exabench.rerankers._models import Loaded
    from exabench.rerankers._templates import Item, Template

_NO_QUERY = ("",)


class Embedded(NamedTuple):
    """A text that was embedded: the row of its vector, its tokens, and whether it was cut."""

    row: int
    tokens: int
    cut: bool


class Vectors:
    """What a bi-encoder makes of the texts of one side (`field` 0 = queries, 1 = passages), in its template."""

    def __init__(self, loaded: Loaded, device: str, template: Template, field: int, *, limit: int, budget: int) -> None:
        self._loaded, self._device, self._template, self._field = loaded, device, template, field
        self._limit, self._budget, self._width = limit, budget, 0
        self._places: dict[bytes, Embedded] = {}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object

    def fresh(self) -> Vectors:
        """The same model and template, with nothing embedded yet."""
        return Vectors(self._loaded, self._device, self._template, self._field, limit=self._limit, budget=self._budget)

    def add(self, texts: Iterable[str]) -> None:
        """Embeds what is new among the texts. Raises BadInput where a vector is not finite."""
        keyed = {text_key(text): text for text in texts}
        new = {key: text for key, text in keyed.items() if key not in self._places}
        keys, items = list(new), self._items(new)
        for batch in batches([len(item.ids) for item in items], self._budget):
            some = [items[i] for i in batch]
            self._keep([keys[i] for i in batch], some, self._embedded(some))

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `[n, width]` of texts that were added."""
        size = 4 * self._width
        rows = [os.pread(self._file.fileno(), size, made.row * size) for made in self.inputs(texts)]
        return np.frombuffer(b"".join(rows), np.float32).reshape(len(texts), self._width)

    def inputs(self, texts: Sequence[str]) -> list[Embedded]:
        """What each of the texts, which were added, was as an input of the model."""
        return [self._places[text_key(text)] for text in texts]

    def _items(self, texts: dict[bytes, str]) -> list[Item]:
        tokens = Tokens(self._loaded.tokenizer)
        before = _NO_QUERY * self._field
        dressed = {key: self._template.dressed((*before, text))[self._field] for key, text in texts.items()}
        tokens.add(dressed, keep=self._limit if self._field else None)
        return [self._template.build([tokens[key]] * (self._field + 1), self._limit) for key in dressed]

    def _embedded(self, items: Sequence[Item]) -> np.ndarray:
        head = self._loaded.head
        with torch.inference_mode():
            vectors = head.logits(*inputs_of(items, head.pad, self._device))
        return np.asarray(vectors.cpu().numpy(), np.float32)

    def _keep(self, keys: Sequence[bytes], items: Sequence[Item], vectors: np.ndarray) -> None:
        if not np.isfinite(vectors).all():
            raise BadInput(f"model {self._loaded.folder.name} gave a vector that is not finite; try precision float32")
        self._width = vectors.shape[1]
        self._file.seek(0, os.SEEK_END)
        self._file.write(vectors.tobytes())
        self._file.flush()
        for key, item in zip(keys, items, strict=True):
            self._places[key] = Embedded(len(self._places), len(item.ids), item.cut_passage or item.cut_query)
