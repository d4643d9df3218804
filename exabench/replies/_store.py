"""The reply store: every call to a teacher is kept under a digest of what was asked, and is paid for once.

One SQLite file for all builds of a user, which several processes share. A row holds the whole call, the raw reply and
a checksum over both: a row whose checksum does not fit is as good as not there, and the next reply to that call takes
its place (`repaired` counts them). To refuse it would stop a build over a row that its user can only delete.

A key is a digest of the question alone. Replies taken in from somebody else's file are checked to be filed under the
question they came with; that the answer is the model's own is that somebody's word.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.errors import BadInput, CannotWrite, ExabenchError, printable
from exabench.files import cache_folder, digest_of, from_json, replacing
from exabench.nouns import Prompt, Reply

Call: TypeAlias = tuple[str, Prompt, Reply, float]
"""A key, what was asked under it, what was answered, and the seconds that took."""

_Row: TypeAlias = tuple[Any, ...]
_T = TypeVar("_T")

_ENDS = ("stop", "length")
_MARK = 0x65786272  # says of an SQLite file that it is a reply store
_COLUMNS = (
    "key TEXT PRIMARY KEY, engine TEXT, model TEXT, revision TEXT, identity TEXT, turns TEXT, max_tokens INTEGER, "
    "temperature REAL, sample INTEGER, pattern TEXT, text TEXT, finish TEXT, prompt_tokens INTEGER, "
    "output_tokens INTEGER, seconds REAL, asked TEXT, checksum BLOB"
)
_PLACES = {column.split()[0]: place for place, column in enumerate(_COLUMNS.split(", "))}
_ANSWER = [_PLACES[name] for name in ("key", "text", "finish", "prompt_tokens", "output_tokens")]
AT_ONCE = 500
"""Calls that are looked up, kept and written together: what memory holds."""

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "engine", "model", "revision", "identity")),
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        *(("max_tokens", pa.int64()), ("temperature", pa.float64()), ("sample", pa.int64())),
        ("pattern", pa.string()),
        *(("text", pa.string()), ("finish", pa.string())),
        *(("prompt_tokens", pa.int64()), ("output_tokens", pa.int64())),
    ]
)
"""Replies as a release carries them: no time and no duration, so that the same replies are the same bytes."""


def filed(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What a teacher's replies are filed under: its identity without the server, whose address changes no answer.

    (And which may hold what nobody else should read.)
    """
    return {key: value for key, value in identity.items() if key != "server"}


def call_key(identity: Mapping[str, Any], prompt: Prompt) -> str:
    """The digest that a call is known by, in hex: of who is asked, what, and how the answer is sampled.

    Neither the prompt's id nor the server counts. Raises BadInput for what JSON in UTF-8 cannot hold.
    """
    question = {
        "teacher": filed(identity),
        "turns": prompt.turns,
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature + 0.0,  # 0, 0.0 and -0.0 are one temperature
        "sample": prompt.sample,
        "pattern": prompt.pattern,
    }
    try:
        return digest_of(question).removeprefix("sha256:")
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise BadInput(f"a prompt that cannot be written down ({error}) cannot be asked", id=prompt.id) from error


class Replies:
    """The store in `file` (default: in the user's cache folder). `len` is the number of calls.

    `repaired` counts damaged rows that a new reply took the place of, `disputed` the replies taken in that differ from
    what the store had: the first reply to a call stays. One object serves all threads of a process; another process
    makes its own, from the pickle of this one or from the file. Methods raise CannotWrite where the disk is full or
    the file cannot be written, BadInput where it is no reply store or is damaged beyond single rows.
    """

    def __init__(self, file: str | Path | None = None) -> None:
        self.file = Path(file) if file is not None else cache_folder("replies") / "replies.sqlite"
        self.repaired = self.disputed = 0
        self._lock = threading.RLock()
        with self._complaints():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # WAL: after kill -9 every commit is there. FULL: after a power cut too; each reply was paid for.
            self._base = sqlite3.connect(self.file, timeout=60, isolation_level=None, check_same_thread=False)
            self._base.text_factory = _lenient
            if self._value("PRAGMA application_id") != _MARK:
                self._create()
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute("PRAGMA wal_autocheckpoint=8000")  # pages of 4 KiB

    def _create(self) -> None:
        if self._value("SELECT count(*) FROM sqlite_master") and self._value("PRAGMA application_id") != _MARK:
            raise BadInput("is an SQLite file of something else; give the reply store another path", file=self.file)
        self._base.execute("PRAGMA journal_mode=WAL")
        with self._writing():
            self._base.execute(f"CREATE TABLE IF NOT EXISTS replies ({_COLUMNS})")
            self._base.execute(f"PRAGMA application_id={_MARK}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Replies, (self.file,)

    def __len__(self) -> int:
        with self._lock, self._complaints():
            return int(self._value("SELECT count(*) FROM replies"))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

    def known(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The replies to those of the calls that are here and sound; a reply's id is its key."""
        return {key: _reply(row) for some in _chunks(keys) for key, row in self._sound(some).items()}

    def add(self, identity: Mapping[str, Any], calls: Iterable[Call]) -> dict[str, Reply]:
        """Keep calls to a teacher, all or none; what comes back is what the store now holds of them.

        That is the reply kept before, where there was one: of two who asked the same at once both go on with the first.
        """
        who, now = filed(identity), datetime.now(UTC).isoformat(timespec="seconds")
        rows = {key: _row(key, who, prompt, reply, (max(0.0, took), now)) for key, prompt, reply, took in calls}
        with self._writing():
            held = self._keep(rows)
        return {key: _reply(held.get(key, row)) for key, row in rows.items()}

    def tokens(self, keys: Iterable[str]) -> dict[str, int]:
        """How many of the calls are here, and the tokens that they read and wrote, each call counted once."""
        sums = {"replies": 0, "prompt_tokens": 0, "output_tokens": 0}
        for some in _chunks(set(keys)):
            for reply in self.known(some).values():
                sums["replies"] += 1
                sums["prompt_tokens"] += reply.prompt_tokens
                sums["output_tokens"] += reply.output_tokens
        return sums

    def export(self, keys: Iterable[str], parquet_file: str | Path) -> int:
        """Write these calls to a Parquet file, sorted by key: the same calls, the same bytes. Returns how many.

        No calls, no file. Raises BadInput for a call that is not here or is damaged; the file is then as it was.
        """
        wanted = sorted(set(keys))
        if not wanted:
            return 0
        with replacing(parquet_file) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
            for some in _chunks(wanted):
                rows = self._sound(some)
                if lost := [key for key in some if key not in rows]:
                    advice = "run the build again, which asks it anew"
                    raise BadInput(f"a reply is damaged or not here; {advice}", file=self.file, id=lost[0])
                writer.write_table(pa.Table.from_pylist([_exported(rows[key]) for key in some], schema=SCHEMA))
        return len(wanted)

    def take_in(self, parquet_file: str | Path) -> int:
        """Keep the calls of a file that `export` wrote, all or none; returns how many were new.

        Every key is computed again. Raises BadInput with the row (from 1) for one that is not the key of its call, and
        for whatever else does not belong there.
        """
        number = added = 0
        with self._writing():
            for batch in _batches(parquet_file):
                rows: dict[str, _Row] = {}
                for values in batch:
                    number += 1
                    row = _taken(values, parquet_file, number)
                    self.disputed += _reply(rows.setdefault(row[0], row)) != _reply(row)
                held = self._keep(rows)
                self.disputed += sum(_reply(row) != _reply(rows[key]) for key, row in held.items())
                added += len(rows) - len(held)
        return added

    # -- SQL -----------------------------------------------------------------------------------------------

    def _sound(self, keys: Sequence[str]) -> dict[str, _Row]:
        """The rows of these calls (at most AT_ONCE) whose checksum fits."""
        with self._lock, self._complaints():
            rows = self._base.execute(f"SELECT * FROM replies WHERE key IN ({_marks(keys)})", keys).fetchall()
        return {row[0]: row for row in rows if row[-1] == _checksum(row[:-1])}

    def _keep(self, rows: Mapping[str, _Row]) -> dict[str, _Row]:
        """Put rows in the place of damaged ones and of none; returns the sound ones that were there and stay."""
        stay: dict[str, _Row] = {}
        for some in _chunks(rows):
            stay |= (held := self._sound(some))
            new = [rows[key] for key in some if key not in held]
            places = [row[0] for row in new]
            self.repaired += self._base.execute(f"DELETE FROM replies WHERE key IN ({_marks(places)})", places).rowcount
            self._base.executemany(f"INSERT INTO replies VALUES ({_marks(_PLACES)})", new)
        return stay

    def _value(self, statement: str) -> Any:
        return self._base.execute(statement).fetchone()[0]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, which waits its turn: other processes write too."""
        with self._lock, self._complaints():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                self._base.rollback()
                raise

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CannotWrite(f"{self.file}: cannot be written ({error.strerror})") from error
        except sqlite3.OperationalError as error:
            advice = "is the disk full, or does another process hold it?"
            raise CannotWrite(f"{self.file}: the reply store cannot be used ({error}); {advice}") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter: of a column's name
            advice = "move it away and run again; the replies of a release can be taken in"
            raise BadInput(f"is no reply store, or a damaged one ({error}); {advice}", file=self.file) from error


# -- rows ------------------------------------------------------------------------------------------------------


def _row(key: str, who: Mapping[str, Any], prompt: Prompt, reply: Reply, came: tuple[float, str]) -> _Row:
    row = (
        *(key, *(str(who.get(name, "")) for name in ("engine", "model", "revision")), _written(who)),
        *(_written(prompt.turns), prompt.max_tokens, prompt.temperature + 0.0, prompt.sample, prompt.pattern),
        *(reply.text, reply.finish, reply.prompt_tokens, reply.output_tokens, *came),
    )
    return (*row, _checksum(row))


def _checksum(row: _Row) -> bytes:
    return hashlib.sha256(json.dumps(row, default=repr).encode()).digest()


def _reply(row: _Row) -> Reply:
    return Reply(*(row[place] for place in _ANSWER))


def _written(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _lenient(data: bytes) -> str:
    """Text of the file; bytes that are none make it a text that no checksum fits, not an error."""
    return data.decode("utf-8", "surrogateescape")


def _marks(values: Sized) -> str:
    return ",".join("?" * len(values))


def _chunks(values: Iterable[_T]) -> Iterator[list[_T]]:
    source = iter(values)
    while some := list(islice(source, AT_ONCE)):
        yield some


def _exported(row: _Row) -> dict[str, Any]:
    values = {name: row[_PLACES[name]] for name in SCHEMA.names}
    return values | {"turns": [{"role": role, "content": text} for role, text in json.loads(values["turns"])]}


def _batches(file: str | Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a Parquet file of replies, some at a time. Raises BadInput."""
    try:
        with pq.ParquetFile(file) as parquet:
            if odd := set(SCHEMA.names) ^ set(parquet.schema_arrow.names):
                raise BadInput(f"is no file of replies: {', '.join(sorted(odd))} missing or not known", file=file)
            for batch in parquet.iter_batches(AT_ONCE):
                yield pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadInput(f"is no Parquet file of replies ({printable(str(error))})", file=file) from error


def _taken(values: Mapping[str, Any], file: str | Path, number: int) -> _Row:
    """A row of somebody's file as a row of ours. Raises BadInput unless it is exactly what `export` would write."""
    try:
        who = from_json(values["identity"])
        turns = tuple((turn["role"], turn["content"]) for turn in values["turns"])
        prompt = Prompt("", turns, values["max_tokens"], values["temperature"], values["sample"], values["pattern"])
        reply = checked(Reply(*(values[name] for name in ("key", *SCHEMA.names[-4:]))))
        row = _row(call_key(who, prompt), filed(who), prompt, reply, (0.0, ""))
        good = _exported(row) == values
    except (AttributeError, TypeError, ValueError, RecursionError, ExabenchError):
        good = False
    if not good:
        raise BadInput(f"row {number} is not filed under the key of its call; nothing was taken in", file=file)
    return row


def checked(reply: Reply) -> Reply:
    """The reply as UTF-8 and a table can hold it: halves of surrogate pairs become U+FFFD. Raises BadInput."""
    counts = (reply.prompt_tokens, reply.output_tokens)
    if any(type(count) is not int or not 0 <= count < 2**53 for count in counts) or reply.finish not in _ENDS:
        raise BadInput(f"finish={reply.finish!r}, tokens {counts} are no end and no counts", id=reply.id)
    try:
        reply.text.encode()
    except UnicodeEncodeError:
        return replace(reply, text=reply.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return reply
