"""Score store: a pair that was scored once is never scored again, whatever list it comes back in.

One SQLite file for each identity (model digest, template, strategy, precision, ...). A row names the job that made
it: a job that was killed and starts again plans the same batches as before, leaves out those that are whole on
disk, and so ends with exactly the bytes that an undisturbed run would write. (A score depends on its batch in the last
bit; batches planned from what is left would differ.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from exabench.core.files import digest_of
from exabench.core.sqlite_store import SqliteStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (json TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, score REAL, tokens INTEGER, cuts INTEGER, job BLOB)
WITHOUT ROWID
"""


class StoredScore(NamedTuple):
    """One item's score, its tokens, and what was cut (1 passage, 2 query)."""

    score: float
    tokens: int
    cuts: int


class Store:
    """Scores on disk under `folder`, for one identity; without a folder, in a temporary file of this process."""

    def __init__(self, folder: str | Path | None, identity: dict[str, Any]) -> None:
        self.file = store_file(folder, identity)
        self._base = SqliteStore(self.file, _SCHEMA, what="score store")
        written = json.dumps(identity, sort_keys=True, ensure_ascii=False)
        self._base.insert("identity", [(written,)], instead="IGNORE")

    def __len__(self) -> int:
        return int(self._base.value("SELECT count(*) FROM pairs"))

    def look_up(self, keys: Sequence[bytes], job: bytes) -> tuple[dict[bytes, StoredScore], dict[bytes, StoredScore]]:
        """Those of `keys` that are on disk: made by other jobs, and made by this one before it was stopped."""
        others: dict[bytes, StoredScore] = {}
        mine: dict[bytes, StoredScore] = {}
        for key, score, tokens, cuts, made_by in self._base.rows("pairs", keys):
            found = mine if made_by == job else others
            found[key] = StoredScore(score, tokens, cuts)
        return others, mine

    def add(self, rows: Iterable[tuple[bytes, StoredScore]], job: bytes) -> None:
        """Keep a batch, whole or not at all; a pair that exists keeps its first score."""
        with self._base.writing():
            self._base.insert("pairs", [(key, *scored, job) for key, scored in rows], instead="IGNORE")


def store_file(folder: str | Path | None, identity: dict[str, Any]) -> Path | None:
    """The SQLite file of an identity in `folder`; None without a folder."""
    if folder is None:
        return None
    digest = digest_of(identity).removeprefix("sha256:")
    return Path(folder) / f"{digest[:32]}.sqlite"
