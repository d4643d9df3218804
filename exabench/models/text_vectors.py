"""Texts as vectors: each distinct text of a side is encoded once, and batches that are kept are not computed again.

What is true of every model that encodes query and passage apart, whether it gives a text one vector or many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from exabench.core.errors import BadInput
from exabench.core.files import TemporaryRows
from exabench.core.nouns import ModelFolder, Progress, silent
from exabench.models.batch_store import BatchStore
from exabench.models.devices import DevicePool
from exabench.models.tokens import text_key

PROMPT_NAMES = {"query": ("query",), "passage": ("document", "passage", "corpus")}
"""Sides of such a model, and the names of their prompts in a folder, the first that exists counts."""

Batch = tuple[np.ndarray, dict[str, Any]]
"""Positions of texts, and their padded features as tensors."""


class TextEncoder(Protocol):
    """A model that encodes texts of one side ("query", "passage") at a time.

    `limits` are the tokens that are read of a text of each side, `shortest` those to which a shorter text is filled up.
    """

    folder: ModelFolder
    limits: dict[str, int]
    shortest: dict[str, int]

    def tokenise(self, texts: Sequence[str], side: str, more: int = 0) -> list[np.ndarray]:
        """The token ids int32 of each text, cut at the end to the limit of its side + `more`."""

    def encode_tokens(
        self, rows: Sequence[np.ndarray], side: str, progress: Progress = silent, store: BatchStore | None = None
    ) -> Collection[np.ndarray]:
        """What the model makes of each tokenised text, float32, in the order given."""

    def similarities(self, query: np.ndarray, passages: Sequence[np.ndarray]) -> np.ndarray:
        """float64 `[n]`: the similarity of a query and each of n passages (of at least one), all as they were encoded.

        Arrays may be flat.
        """


class EncodedText(NamedTuple):
    """A text that was encoded: the row of its vectors, the tokens that were read, and whether it was cut."""

    row: int
    tokens: int
    cut: bool


class TextVectors:
    """The vectors of the distinct texts of a side ("query" or "passage"): each is encoded once, and waits on disk.

    About 100 bytes of memory for each. `store` is where batches are kept for the next process.
    """

    def __init__(self, encoder: TextEncoder, side: str, store: BatchStore | None = None) -> None:
        self._encoder = encoder
        self._side = side
        self._store = store
        self._texts: dict[bytes, EncodedText] = {}
        self._vectors = TemporaryRows()

    def add(self, texts: Iterable[str], progress: Progress = silent) -> None:
        """Encode what is new among the texts. Raises BadInput where a vector is not finite."""
        new = {}
        for text in texts:
            key = text_key(text)
            if key not in self._texts:
                new[key] = text
        if not new:
            return
        encoder = self._encoder
        limit = encoder.limits[self._side]
        rows = encoder.tokenise(list(new.values()), self._side)
        vectors = encoder.encode_tokens(rows, self._side, progress, self._store)
        for vector in vectors:
            if not np.isfinite(vector).all():
                raise BadInput(f"model {encoder.folder.name} gave a vector that is not finite; try precision float32")
        self._vectors.extend(vector.tobytes() for vector in vectors)
        # only a text that fills the whole input may have lost something: of those one token more is read
        full = []
        for text, row in zip(new.values(), rows, strict=True):
            if len(row) == limit:
                full.append(text)
        cut = set()
        for text, row in zip(full, encoder.tokenise(full, self._side, more=1), strict=True):
            if len(row) > limit:
                cut.add(text)
        for (key, text), row in zip(new.items(), rows, strict=True):
            tokens = max(len(row), encoder.shortest[self._side])
            self._texts[key] = EncodedText(len(self._texts), tokens, text in cut)

    def inputs(self, texts: Sequence[str]) -> list[EncodedText]:
        """Each of the texts, which were added, as an input of the model."""
        return [self._texts[text_key(text)] for text in texts]

    def vectors(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The vectors of each of the texts, which were added: float32, flat."""
        found = []
        for encoded in self.inputs(texts):
            found.append(np.frombuffer(self._vectors[encoded.row], np.float32))
        return found


def prompts_of(settings: Mapping[str, Any], query_prompt: str | None, passage_prompt: str | None) -> dict[str, str]:
    """The prompt of each side: the given one, else that of a folder's `settings`, else none."""
    own = settings.get("prompts") or {}
    prompts: dict[str, str] = {}
    for side, prompt in (("query", query_prompt), ("passage", passage_prompt)):
        prompts[side] = prompt or ""
        if prompt is None:
            for name in reversed(PROMPT_NAMES[side]):  # the first that exists counts
                if isinstance(own.get(name), str):
                    prompts[side] = own[name]
    return prompts


def encoded_batches(
    devices: DevicePool[Any],
    batches: Iterable[Batch],
    encode: Callable[[Any, Mapping[str, Any]], torch.Tensor],
    store: BatchStore | None,
    total: int,
    progress: Progress,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The positions of each batch's texts, and what `encode(modules, features)` makes of it: float32, flat.

    Batches that are in `store` are not computed, and those that are computed are kept there. A batch is the same
    whatever device takes it, and so are its bits on devices of one kind. `total` counts the texts of all batches.
    """

    def encode_batch(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        some, features = batch
        key = b""
        if store is not None:
            key = _key_of(features)
            kept = store.look_up([key])
            if key in kept:
                return some, kept[key]
        with devices.free() as (device, modules), torch.inference_mode():
            on_device = {name: value.to(device) for name, value in features.items()}
            found = encode(modules, on_device).float().cpu().numpy().reshape(-1)
        if store is not None:
            store.add(key, found)
        return some, found

    done = 0
    for some, found in devices.map(encode_batch, batches):
        yield some, found
        done += len(some)
        progress(done, total, "texts encoded")


def _key_of(features: Mapping[str, Any]) -> bytes:
    """The key of a padded batch: the digest of its tensors, by name."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(features):
        values = features[name].numpy()
        digest.update(f" {name} {values.dtype} {values.shape} ".encode())
        digest.update(values.tobytes())
    return digest.digest()
