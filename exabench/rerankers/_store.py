"""The score store: a pair that was scored once is never scored again, whatever list it comes back in.

One SQLite file for each identity (model digest, template, strategy, precision, ...). A row remembers the job that
made it: a job that was killed and starts again plans the same batches as before, leaves out those that are whole on
disk, and so ends with the very bytes an undisturbed run would have written. (A score depends on its batch in the last
bit; batches planned from what is left would differ.)
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from exabench.errors import BadInput, CannotWrite
from exabench.files import digest_of

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (json TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS pairs (key BLOB PRIMARY KEY, score REAL, tokens INTEGER, cuts INTEGER, job BLOB)
WITHOUT ROWID;
"""


class Scored(NamedTuple):
    """One item's score, its tokens, and what was cut (1 passage, 2 query)."""

    score: float
    tokens: int
    cuts: int


class Store:
    """Scores on disk under `folder`, for one identity; without a folder, in a temporary file of this process."""

    def __init__(self, folder: str | Path | None, identity: Mapping[str, Any]) -> None:
        self.file: Path | None = None
        if folder is not None:
            self.file = Path(folder) / f"{digest_of(dict(identity)).removeprefix('sha256:')[:32]}.sqlite"
        with self._complaints():
            if self.file is not None:
                self.file.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.file or "", timeout=60, check_same_thread=False)
            # After kill -9 the log replays; only a power cut may lose the last commits, and then whole ones.
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.executescript(_SCHEMA)
            written = json.dumps(dict(identity), sort_keys=True, ensure_ascii=False)
            self._base.execute("INSERT OR IGNORE INTO identity VALUES (?)", (written,))
            self._base.commit()

    def __len__(self) -> int:
        with self._complaints():
            return int(self._base.execute("SELECT count(*) FROM pairs").fetchone()[0])

    def known(self, keys: Sequence[bytes], job: bytes) -> tuple[dict[bytes, Scored], dict[bytes, Scored]]:
        """Those of `keys` that are on disk: made by other jobs, and made by this one before it was stopped."""
        others: dict[bytes, Scored] = {}
        mine: dict[bytes, Scored] = {}
        with self._complaints():
            for start in range(0, len(keys), 500):
                some = keys[start : start + 500]
                marks = ",".join("?" * len(some))
                for key, *row, made_by in self._base.execute(f"SELECT * FROM pairs WHERE key IN ({marks})", some):
                    (mine if made_by == job else others)[key] = Scored(*row)
        return others, mine

    def add(self, rows: Iterable[tuple[bytes, Scored]], job: bytes) -> None:
        """Keep a batch, whole or not at all."""
        with self._complaints(), self._base:
            self._base.executemany(
                "INSERT OR IGNORE INTO pairs VALUES (?, ?, ?, ?, ?)", ((key, *row, job) for key, row in rows)
            )

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CannotWrite(f"{self.file}: cannot be written ({error.strerror})") from error
        except sqlite3.OperationalError as error:
            raise CannotWrite(f"{self.file}: the score store cannot be used ({error}); is the disk full?") from error
        except sqlite3.DatabaseError as error:
            raise BadInput(f"is not a score store ({error}); remove it and run again", file=self.file) from error
