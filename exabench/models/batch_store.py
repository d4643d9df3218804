"""Batch store: a batch that a model has computed is not computed again.

One SQLite file for each identity (model digest, template, strategy, precision, ...). In its last bits a score, or a
vector, depends on the batch that it was part of: so what is kept is a whole batch, under a key of everything in it. A
candidate list is always cut into the same batches. One that was stopped takes its finished batches from disk and ends
with exactly the bytes of an undisturbed one, and no number depends on what was computed before it.

No work depends on it: where the disk is full, the folder read-only or the file damaged, every batch is computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import digest_of
from exabench.core.sqlite_store import SqliteStore

_CHECKSUM = 8  # bytes

# The tables of earlier versions, `pairs` and `batches`, may be in the same file; nothing is read from them.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (json TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS computed (key BLOB PRIMARY KEY, outputs BLOB) WITHOUT ROWID
"""


class BatchStore:
    """Outputs on disk under `folder`, for one identity; without a folder, in a temporary file of this process.

    Nothing is created before the first look. `found` counts the batches that were taken from it.
    """

    def __init__(self, folder: str | Path | None, identity: dict[str, Any]) -> None:
        self.found = 0
        self.file: Path | None = None
        if folder is not None:
            digest = digest_of(identity).removeprefix("sha256:")
            self.file = Path(folder) / f"{digest[:32]}.sqlite"  # 128 bits: no two identities share a file
        self._identity = identity
        self._is_usable = True

    def look_up(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The outputs of the batches that are kept, by key: float32, flat."""
        kept: dict[bytes, np.ndarray] = {}
        if self._is_usable:
            with self._optional():
                kept = self._sound(keys)
        self.found += len(kept)
        return kept

    def add(self, key: bytes, outputs: np.ndarray) -> None:
        """Keep the outputs (float32) of a batch, unless one of them is not finite."""
        if self._is_usable and np.isfinite(outputs).all():  # what failed must be computed again
            row = (key, _with_checksum(key, outputs.tobytes()))
            with self._optional(), self._base.writing():
                if not self._sound([key]):  # the first outputs stay
                    self._base.insert("computed", [row], instead="REPLACE")

    def _sound(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The outputs that are there and are what was kept."""
        sound = {}
        for key, kept in self._base.rows("computed", keys):
            if isinstance(kept, bytes) and kept == _with_checksum(key, kept[:-_CHECKSUM]):
                sound[key] = np.frombuffer(kept[:-_CHECKSUM], np.float32)
        return sound

    @contextmanager
    def _optional(self) -> Iterator[None]:
        """A store that could not be used once is not used any more."""
        try:
            yield
        except (CannotWrite, BadInput):
            self._is_usable = False

    @cached_property
    def _base(self) -> SqliteStore:
        base = SqliteStore(self.file, _SCHEMA, what="score store")
        written = json.dumps(self._identity, sort_keys=True, ensure_ascii=False)
        base.insert("identity", [(written,)], instead="IGNORE")
        return base


def _with_checksum(key: bytes, data: bytes) -> bytes:
    """Outputs as they are kept: a damaged file must not change a score."""
    return data + hashlib.blake2b(key + data, digest_size=_CHECKSUM).digest()
