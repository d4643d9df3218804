"""A store in one SQLite file: write-ahead log, whole transactions, look-ups by key, errors of one line."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from exabench.core.errors import BadInput, CannotWrite
from exabench.core.files import DISK_IS_FULL, check_file, writing

AT_ONCE = 500
"""Keys that one statement looks up; older builds of SQLite take 999 parameters at most."""

_T = TypeVar("_T")


class SqliteStore:
    """An SQLite file that the threads of this process share; other processes may open it too.

    Without a `file` it is a temporary one. `schema` creates what is not there yet. `what` names the store in messages,
    and `advice` says what to do with a file that is damaged. After kill -9 every committed transaction is there;
    `power_safe` holds that for a power cut too, at one fsync a transaction. Where `mark` is given, it is written as the
    file's application_id, and a file of another program is refused.

    Methods raise CannotWrite where the disk is full or the file cannot be opened, BadInput where it is no such store.
    """

    def __init__(
        self,
        file: Path | None,
        schema: str,
        *,
        what: str,
        advice: str = "remove it and run again",
        mark: int = 0,
        power_safe: bool = False,
    ) -> None:
        self.file = file
        self._what = what
        self._advice = advice
        self._lock = threading.RLock()
        with self.complaints():
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                if file.exists():
                    check_file(file)
            # 60 seconds: another process holds the file only while it writes one batch.
            # isolation_level None: transactions begin and end in `writing` alone.
            self._base = sqlite3.connect(file or "", timeout=60, isolation_level=None, check_same_thread=False)
            # Bytes that are not UTF-8 must not stop the reading of a row whose checksum the caller will look at.
            self._base.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            is_known = False
            if mark:
                has_tables = self.value("SELECT count(*) FROM sqlite_master") > 0
                # Asked second: another process may create the store between the two questions.
                is_known = self.value("PRAGMA application_id") == mark
                if has_tables and not is_known:
                    raise BadInput(f"is an SQLite file of another program; give the {what} another path", file=file)
            self._base.execute("PRAGMA journal_mode=WAL")  # readers continue while another process writes
            self._base.execute(f"PRAGMA synchronous={'FULL' if power_safe else 'NORMAL'}")
            if not is_known:
                with self.writing():
                    for statement in schema.split(";"):
                        self._base.execute(statement)
                    if mark:
                        self._base.execute(f"PRAGMA application_id={mark}")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

    def value(self, statement: str) -> Any:
        """The one value that a statement answers with, as in `SELECT count(*) FROM pairs`."""
        with self._lock, self.complaints():
            return self._base.execute(statement).fetchone()[0]

    def rows(self, table: str, keys: Sequence[Any]) -> list[tuple[Any, ...]]:
        """The whole rows of a table whose column `key` is one of `keys`, in any order."""
        found = []
        with self._lock, self.complaints():
            for some in chunks(keys):
                statement = f"SELECT * FROM {table} WHERE key IN ({marks(len(some))})"
                found.extend(self._base.execute(statement, some).fetchall())
        return found

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; returns how many rows it changed."""
        with self._lock, self.complaints():
            return self._base.execute(statement, values).rowcount

    def insert(self, table: str, rows: Iterable[Sequence[Any]], *, instead: str = "ABORT") -> None:
        """Insert rows; `instead` says what to do about a key that exists (SQLite's ABORT, IGNORE, REPLACE)."""
        rows = list(rows)
        if not rows:
            return
        with self._lock, self.complaints():
            self._base.executemany(f"INSERT OR {instead} INTO {table} VALUES ({marks(len(rows[0]))})", rows)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, whole or not at all; it waits its turn, since other processes write too."""
        with self._lock, self.complaints():
            # IMMEDIATE takes the lock now. A plain BEGIN that reads first cannot wait for it later: where another
            # process has written in between, SQLite refuses at once (SQLITE_BUSY_SNAPSHOT).
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                self._base.rollback()
                raise

    @contextmanager
    def complaints(self) -> Iterator[None]:
        """Errors of SQLite and of the file system become errors of exabench."""
        try:
            with writing(self.file or "the temporary folder"):
                yield
        except sqlite3.OperationalError as error:
            question = "is the disk full, or is another process using it?"
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                question = DISK_IS_FULL
            raise CannotWrite(f"{self.file}: the {self._what} cannot be used ({error}); {question}") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: a column's name is damaged
            raise BadInput(
                f"is not a {self._what}, or a damaged one ({error}); {self._advice}", file=self.file
            ) from error


def marks(count: int) -> str:
    """So many placeholders of a statement: `?,?,?`."""
    return ",".join("?" * count)


def chunks(values: Iterable[_T], size: int = AT_ONCE) -> Iterator[list[_T]]:
    """Lists of at most `size` values, in order."""
    source = iter(values)
    while some := list(islice(source, size)):
        yield some
