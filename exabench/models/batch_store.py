"""Batch store: a batch that a model has computed is not computed again.

One SQLite file for each identity (model digest, template, strategy, precision, ...). In its last bits a score, or a
vector, depends on the batch that it was part of: so what is kept is a whole batch, under a key of everything in it. A
candidate list is always cut into the same batches. One that was stopped takes its finished batches from disk and ends
with exactly the bytes of an undisturbed one, and no number depends on what was computed before it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from exabench.core.files import digest_of
from exabench.core.sqlite_store import SqliteStore

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

    def look_up(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The outputs of the batches that are kept, by key: float32, flat."""
        kept = {}
        for key, outputs in self._base.rows("computed", keys):
            kept[key] = np.frombuffer(outputs, np.float32)
        self.found += len(kept)
        return kept

    def add(self, key: bytes, outputs: np.ndarray) -> None:
        """Keep the outputs (float32) of a batch, unless one of them is not finite."""
        if np.isfinite(outputs).all():  # what failed must be computed again
            with self._base.writing():
                self._base.insert("computed", [(key, outputs.tobytes())], instead="IGNORE")

    @cached_property
    def _base(self) -> SqliteStore:
        base = SqliteStore(self.file, _SCHEMA, what="score store")
        written = json.dumps(self._identity, sort_keys=True, ensure_ascii=False)
        base.insert("identity", [(written,)], instead="IGNORE")
        return base
