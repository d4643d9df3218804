"""Vector store: a batch of texts that was encoded is not encoded again when the same work begins again.

One SQLite file for each encoder (model digest, prompt, pooling, precision). A key is the digest of a padded batch, the
whole input of the model: so a run that was killed takes its finished batches from disk and ends with exactly the bytes
of an undisturbed one, and no vector depends on what was encoded before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from exabench.core.sqlite_store import SqliteStore
from exabench.models.score_store import store_file

_SCHEMA = "CREATE TABLE IF NOT EXISTS batches (key BLOB PRIMARY KEY, vectors BLOB) WITHOUT ROWID"


class VectorStore:
    """Vectors on disk under `folder`, for one identity; without a folder, in a temporary file of this process.

    `found` counts the batches that were taken from it.
    """

    def __init__(self, folder: str | Path | None, identity: dict[str, Any]) -> None:
        self.found = 0
        self._folder = folder
        self._identity = identity

    def look_up(self, key: bytes, texts: int) -> np.ndarray | None:
        """The vectors float32 `[texts, width]` of a batch, or None where it was never encoded."""
        rows = self._base.rows("batches", [key])
        if not rows:
            return None
        self.found += 1
        [(_, vectors)] = rows
        return np.frombuffer(vectors, np.float32).reshape(texts, -1)

    def add(self, key: bytes, vectors: np.ndarray) -> None:
        """Keep the vectors of a batch, unless one is not finite."""
        if np.isfinite(vectors).all():
            with self._base.writing():
                self._base.insert("batches", [(key, vectors.tobytes())], instead="IGNORE")

    @cached_property
    def _base(self) -> SqliteStore:
        return SqliteStore(store_file(self._folder, self._identity), _SCHEMA, what="vector store")


def key_of_batch(features: Mapping[str, Any]) -> bytes:
    """The key of a padded batch: the digest of its tensors, by name."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(features):
        values = features[name].numpy()
        digest.update(f" {name} {values.dtype} {values.shape} ".encode())
        digest.update(values.tobytes())
    return digest.digest()
