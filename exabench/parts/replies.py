"""Cache of teacher replies in SQLite, and teachers that ask only what is not in it: a call is paid for once.

One file holds the replies of all builds of a user, and several processes share it. A row holds the whole call, the raw
reply and a checksum over both: a row whose checksum does not fit is as good as not there, and the next reply to that
call takes its place. To refuse it would stop a build over a row that its user can only delete. A key is a digest of
only the question. Replies from another user's file are checked to be filed under the question they came with; that
the answer is the model's cannot be checked.

A reply is stored before it is given out, so rows made of it can be made again from the store. A thread writes
replies while the engine works on; whatever came in meanwhile goes into one commit. A killed process loses what was in
flight, and what came in since the last commit began (milliseconds).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.core.errors import REASON, BadInput, ExabenchError, OutsideFailed, PromptsRefused, printable
from exabench.core.files import cache_folder, canonical_json, check_file, digest_of, from_json, replacing
from exabench.core.nouns import MOST_TOKENS, Prompt, Reply
from exabench.core.sqlite_store import AT_ONCE, SqliteStore, chunks
from exabench.parts.teachers import Teacher

MOST_HELD = 4096
"""Replies that may wait to be given out while the engine asks for more prompts; then it gets none until they are."""

_FINISH = re.compile(r"[\w.-]{0,40}")
_MARK = 0x65786272  # says of an SQLite file that it is a reply store
_TABLE = (
    "CREATE TABLE IF NOT EXISTS replies ("
    "key TEXT PRIMARY KEY, engine TEXT, model TEXT, revision TEXT, identity TEXT, turns TEXT, max_tokens INTEGER, "
    "temperature REAL, sample INTEGER, pattern TEXT, text TEXT, finish TEXT, prompt_tokens INTEGER, "
    "output_tokens INTEGER, seconds REAL, asked TEXT, checksum BLOB, log_prob REAL)"
)
_COLUMNS_BEFORE = 17
"""Columns of a store that was made before replies had log-probabilities."""
SCHEMA = pa.schema(
    {
        "key": "string",
        "engine": "string",
        "model": "string",
        "revision": "string",
        "identity": "string",
        "turns": pa.list_(pa.struct({"role": "string", "content": "string"})),
        "max_tokens": "int64",
        "temperature": "float64",
        "sample": "int64",
        "pattern": "string",
        "text": "string",
        "finish": "string",
        "prompt_tokens": "int64",
        "output_tokens": "int64",
    }
)
"""Replies as a release carries them: no time and no duration, so that the same replies are the same bytes."""
LOG_PROB = pa.field("log_prob", "float64")
"""A further column of those among whose replies one has a log-probability."""


class Call(NamedTuple):
    """A key, what was asked under it, what was answered, and the seconds that took."""

    key: str
    prompt: Prompt
    reply: Reply
    seconds: float


class _Row(NamedTuple):
    """A row of the table but for its checksum; `identity` and `turns` are JSON."""

    key: str
    engine: str
    model: str
    revision: str
    identity: str
    turns: str
    max_tokens: int
    temperature: float
    sample: int
    pattern: str
    text: str
    finish: str
    prompt_tokens: int | None
    output_tokens: int | None
    seconds: float
    asked: str
    log_prob: float | None = None

    def checksum(self) -> bytes:
        """A digest of all values; a row without log-probability has that of older stores."""
        values = tuple(self)
        if self.log_prob is None:
            values = values[:-1]
        return hashlib.sha256(json.dumps(values, default=repr).encode()).digest()

    def reply(self) -> Reply:
        """The reply; its id is the key."""
        return Reply(self.key, self.text, self.finish, self.prompt_tokens, self.output_tokens, self.log_prob)

    def for_release(self) -> dict[str, Any]:
        """The values of SCHEMA, and the log-probability where there is one."""
        values = {name: getattr(self, name) for name in SCHEMA.names}
        if self.log_prob is not None:
            values["log_prob"] = self.log_prob
        values["turns"] = [{"role": role, "content": text} for role, text in json.loads(self.turns)]
        return values


def without_server(identity: Mapping[str, Any]) -> dict[str, Any]:
    """A teacher's identity without its server's address, which changes no answer and may be private."""
    return {key: value for key, value in identity.items() if key != "server"}


def call_key(identity: Mapping[str, Any], prompt: Prompt) -> str:
    """The digest that a call is known by, in hex: of who is asked, what, and how the answer is sampled.

    Neither the prompt's id nor the server counts. Raises BadInput for what JSON in UTF-8 cannot hold.
    """
    question = {
        "teacher": without_server(identity),
        "turns": prompt.turns,
        "max_tokens": prompt.max_tokens,
        "temperature": prompt.temperature + 0.0,  # 0, 0.0 and -0.0 are one temperature
        "sample": prompt.sample,
        "pattern": prompt.pattern,
    }
    if prompt.likelihood:  # other prompts have the keys that they had before there was this
        question["likelihood"] = True
    try:
        return digest_of(question).removeprefix("sha256:")
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise BadInput(f"a prompt that cannot be stored ({error}) cannot be sent", id=prompt.id) from error


class Replies(SqliteStore):
    """The store in `file` (default: in the user's cache folder). `len` is the number of calls.

    `disputed` counts the replies taken in that differ from what the store had: the first reply to a call stays. One
    object serves all threads of a process; another process makes its own, from the pickle of this one or from the file.
    Methods raise CannotWrite where the disk is full or the file cannot be written, BadInput if it is not a reply store
    or is damaged beyond single rows.
    """

    file: Path

    def __init__(self, file: str | Path | None = None) -> None:
        self.disputed = 0
        super().__init__(
            Path(file) if file is not None else cache_folder("replies") / "replies.sqlite",
            _TABLE,
            what="reply store",
            advice="move the file and run again; the replies of a release can be imported",
            mark=_MARK,
            power_safe=True,  # each reply was paid for
        )
        if self.value("SELECT count(*) FROM pragma_table_info('replies')") == _COLUMNS_BEFORE:
            self._add_column()
        # 32 MiB of log before it is copied into the file: replies are committed many times a second.
        self.execute("PRAGMA wal_autocheckpoint=8000")

    def _add_column(self) -> None:
        with self.writing():
            # Asked again: another process may have added it.
            if self.value("SELECT count(*) FROM pragma_table_info('replies')") == _COLUMNS_BEFORE:
                self.execute("ALTER TABLE replies ADD COLUMN log_prob REAL")

    def __reduce__(self) -> tuple[Any, ...]:
        return Replies, (self.file,)

    def __len__(self) -> int:
        return self.value("SELECT count(*) FROM replies")

    def look_up(self, keys: Iterable[str]) -> dict[str, Reply]:
        """The replies to those of the calls that are here and sound; a reply's id is its key."""
        return {key: row.reply() for key, row in self._sound_rows(keys).items()}

    def add(self, identity: Mapping[str, Any], calls: Iterable[Call]) -> dict[str, Reply]:
        """Keep calls to a teacher, all or none; the replies that the store now holds to them.

        That is the reply kept before, where there was one: two callers of the same prompt at once both get the first.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = {call.key: _row(identity, call, now) for call in calls}
        with self.writing():
            rows |= self._keep(rows)  # another process may have been first
        return {key: row.reply() for key, row in rows.items()}

    def tokens(self, keys: Iterable[str]) -> dict[str, int]:
        """How many of the calls are here, and the tokens that they read and wrote, each call counted once.

        `uncounted` is the number of replies that came without token counts; it is left out where there is none.
        """
        sums = {"replies": 0, "prompt_tokens": 0, "output_tokens": 0}
        uncounted = 0
        for some in chunks(set(keys)):
            for reply in self.look_up(some).values():
                sums["replies"] += 1
                sums["prompt_tokens"] += reply.prompt_tokens or 0
                sums["output_tokens"] += reply.output_tokens or 0
                uncounted += None in (reply.prompt_tokens, reply.output_tokens)
        if uncounted:
            sums["uncounted"] = uncounted
        return sums

    def export(self, keys: Iterable[str], parquet_file: str | Path) -> int:
        """Write these calls to a Parquet file, sorted by key: the same calls, the same bytes. Returns how many.

        No calls, no file. Raises BadInput for a call that is not here or is damaged; the file is then as it was.
        """
        wanted = sorted(set(keys))
        if not wanted:
            return 0
        schema = SCHEMA
        if self._has_log_probs(wanted):
            schema = SCHEMA.append(LOG_PROB)
        with replacing(parquet_file) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for some in chunks(wanted):
                rows = self._sound_rows(some)
                lines = []
                for key in some:
                    if key not in rows:
                        advice = "run the build again to ask for it again"
                        raise BadInput(f"a reply is damaged or missing; {advice}", file=self.file, id=key)
                    lines.append(rows[key].for_release())
                writer.write_table(pa.Table.from_pylist(lines, schema=schema))
        return len(wanted)

    def _has_log_probs(self, keys: list[str]) -> bool:
        """Has one of these replies a log-probability?"""
        if not self.value("SELECT count(*) FROM replies WHERE log_prob IS NOT NULL"):
            return False
        for some in chunks(keys):
            replies = self.look_up(some).values()
            if any(reply.log_prob is not None for reply in replies):
                return True
        return False

    def take_in(self, parquet_file: str | Path) -> int:
        """Keep the calls of a file that `export` wrote, all or none; returns how many were new.

        Every key is computed again. Raises BadInput with the row (from 1) for one that is not the key of its call, and
        for whatever else does not belong there.
        """
        number = 0
        added = 0
        last = ""
        with self.writing():  # one transaction: a file with a wrong row at its end leaves nothing behind
            for batch in _batches(parquet_file):
                rows: dict[str, _Row] = {}
                for values in batch:
                    number += 1
                    row = _row_of_export(values, parquet_file, number)
                    if row.key <= last:  # exports are in the order of keys; a million equal rows pack into a small file
                        raise BadInput(f"row {number} has no higher key than the row before it", file=parquet_file)
                    last = row.key
                    rows[row.key] = row
                held = self._keep(rows)
                for key, row in held.items():
                    self.disputed += row.reply() != rows[key].reply()
                added += len(rows) - len(held)
        return added

    def _sound_rows(self, keys: Iterable[str]) -> dict[str, _Row]:
        """The rows of these calls whose checksum fits."""
        sound = {}
        for *values, checksum, log_prob in self.rows("replies", list(keys)):
            row = _Row(*values)._replace(log_prob=log_prob)
            if row.checksum() == checksum:
                sound[row.key] = row
        return sound

    def _keep(self, rows: Mapping[str, _Row]) -> dict[str, _Row]:
        """Put rows in the place of damaged ones and of none; returns the sound ones that were there and stay."""
        held = self._sound_rows(rows)
        new = [(*row[:-1], row.checksum(), row.log_prob) for key, row in rows.items() if key not in held]
        self.insert("replies", new, instead="REPLACE")
        return held


def _row(identity: Mapping[str, Any], call: Call, asked: str) -> _Row:
    who = without_server(identity)
    prompt = call.prompt
    reply = call.reply
    return _Row(
        key=call.key,
        engine=str(who.get("engine", "")),
        model=str(who.get("model", "")),
        revision=str(who.get("revision", "")),
        identity=canonical_json(who),
        turns=canonical_json(prompt.turns),
        max_tokens=prompt.max_tokens,
        temperature=prompt.temperature + 0.0,  # as in the key
        sample=prompt.sample,
        pattern=prompt.pattern,
        text=reply.text,
        finish=reply.finish,
        prompt_tokens=reply.prompt_tokens,
        output_tokens=reply.output_tokens,
        seconds=max(0.0, call.seconds),
        asked=asked,
        log_prob=reply.log_prob,
    )


def check_export(parquet_file: str | Path) -> None:
    """Raise BadInput for a file that does not begin as `Replies.export` writes it."""
    next(_batches(parquet_file), None)


def _batches(file: str | Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a Parquet file of replies, some at a time. Raises BadInput."""
    check_file(file)
    try:
        with pq.ParquetFile(file) as parquet:
            schema = SCHEMA
            if LOG_PROB.name in parquet.schema_arrow.names:
                schema = SCHEMA.append(LOG_PROB)
            names = parquet.schema_arrow.names
            if sorted(names) != sorted(schema.names):
                odd = set(schema.names) ^ set(names) or {name for name in names if names.count(name) > 1}
                listed = printable(", ".join(sorted(odd)), REASON)
                raise BadInput(f"is not a file of replies: {listed} missing, unknown or there twice", file=file)
            for batch in parquet.iter_batches(AT_ONCE):
                yield pa.Table.from_batches([batch]).select(schema.names).cast(schema).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadInput(f"is not a Parquet file of replies ({printable(str(error), REASON)})", file=file) from error


def _row_of_export(values: dict[str, Any], file: str | Path, number: int) -> _Row:
    """A row of an exported file as a row of the table. Raises BadInput unless `export` would write the same."""
    log_prob = values.pop(LOG_PROB.name, None)
    if log_prob is not None:
        values[LOG_PROB.name] = log_prob
    try:
        who = from_json(values["identity"])
        turns = tuple((turn["role"], turn["content"]) for turn in values["turns"])
        sampling = (values["max_tokens"], values["temperature"], values["sample"], values["pattern"])
        prompt = Prompt("", turns, *sampling, likelihood=log_prob is not None)
        tokens = (values["prompt_tokens"], values["output_tokens"])
        reply = Reply(values["key"], values["text"], values["finish"], *tokens, log_prob)
        row = _row(who, Call(call_key(who, prompt), prompt, storable(reply), 0.0), "")
        if row.for_release() == values:
            return row
    except (AttributeError, TypeError, ValueError, RecursionError, ExabenchError):
        pass
    raise BadInput(f"row {number} has a key that does not match its call; nothing was imported", file=file)


def storable(reply: Reply) -> Reply:
    """The reply as UTF-8 and a table can hold it: halves of surrogate pairs become U+FFFD.

    Raises OutsideFailed for a finish reason that is not a word, for counts that are none, and for a log-probability
    that is not finite.
    """
    counts = (reply.prompt_tokens, reply.output_tokens)
    # True is not a count.
    good_counts = all(count is None or (type(count) is int and 0 <= count < MOST_TOKENS) for count in counts)
    if not good_counts or not isinstance(reply.finish, str) or not _FINISH.fullmatch(reply.finish):
        wrong = f"finish={reply.finish!r}, tokens {counts} are not a valid end and counts (id {printable(reply.id)!r})"
        raise OutsideFailed(f"the teacher's reply cannot be kept: {wrong}")
    if reply.log_prob is not None and not math.isfinite(reply.log_prob):
        raise OutsideFailed(f"the teacher's reply has no finite log-probability (id {printable(reply.id)!r})")
    try:
        reply.text.encode()
    except UnicodeEncodeError:
        return replace(reply, text=reply.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return reply


class CachedTeacher:
    """A Teacher that looks into `replies` first. `engine` is a teacher, or a function that makes one.

    With `identity` an engine is made only when something must really be asked, and must then be the one that this
    identity describes. `budget` is a hard stop in tokens, prompts and answers together (0: none): once so many were
    spent nothing more is asked, so that only the calls then in flight go over it; a teacher that counts no tokens is
    refused then. `asked` counts calls of the engine,
    `found` prompts answered without one, `prompt_tokens` and `output_tokens` are those of the engine's replies.
    """

    def __init__(
        self,
        engine: Teacher | Callable[[], Teacher],
        replies: Replies,
        *,
        identity: Mapping[str, Any] | None = None,
        budget: int = 0,
    ) -> None:
        self.replies = replies
        self.config: Mapping[str, Any] | None = None  # known once the engine is made
        self.asked = 0
        self.found = 0
        self.prompt_tokens = 0
        self.output_tokens = 0
        self._budget = budget
        self._lock = threading.Lock()  # of the engine and the counters: several threads may ask
        self._engine: Teacher | None = None
        self._make: Callable[[], Teacher] = engine if callable(engine) else lambda: engine
        self.identity: Mapping[str, Any] = identity or {}
        if identity is None:
            self.identity = self.engine.identity

    @property
    def engine(self) -> Teacher:
        """The engine itself, made when it is first asked for. Raises BadInput where it is not the one agreed on."""
        with self._lock:
            if self._engine is None:
                engine = self._make()
                agreed = without_server(self.identity or engine.identity)
                actual = without_server(engine.identity)
                odd = sorted(key for key in agreed.keys() | actual.keys() if agreed.get(key) != actual.get(key))
                if odd:
                    known = ", ".join(
                        f"{key} is {printable(repr(actual.get(key)))} and was {printable(repr(agreed.get(key)))}"
                        for key in odd
                    )
                    raise BadInput(f"the teacher differs from the one asked before: {known}; start a new build")
                self._engine = engine
                self.config = engine.config
            return self._engine

    @property
    def is_spent(self) -> bool:
        """Is the budget used up?"""
        return 0 < self._budget <= self.prompt_tokens + self.output_tokens

    def key(self, prompt: Prompt) -> str:
        """The key of this prompt's reply in the store."""
        return call_key(self.identity, prompt)

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """A reply for each prompt: those known at once, the others as they come.

        Prompts of one call are answered by one reply. Raises PromptsRefused for prompts that the engine does not
        take, once all others are answered; BadInput when the budget is spent; OutsideFailed for a reply to no prompt
        and for prompts without a reply; and what else the engine raises. What came before that is kept and given out.
        """
        calls = _Calls(self, prompts)
        while calls.look_up_next():
            yield from calls.take_ready()
            if calls.missing and not self.is_spent:
                yield from self._ask(calls)
            if calls.missing:
                used = self.prompt_tokens + self.output_tokens
                how = "raise the budget and run again: no prompt is sent twice"
                raise BadInput(f"the budget of {self._budget} tokens is spent ({used} in {self.asked} calls); {how}")
        if calls.refused:
            raise PromptsRefused(calls.refused)

    def count(self, *, asked: int = 0, found: int = 0, prompt_tokens: int = 0, output_tokens: int = 0) -> None:
        """Add to the counters."""
        with self._lock:
            self.asked += asked
            self.found += found
            self.prompt_tokens += prompt_tokens
            self.output_tokens += output_tokens

    def _ask(self, calls: _Calls) -> Iterator[Reply]:
        """The engine's replies, each stored first, until it was asked everything or too many replies are held."""
        # Two threads. The writer's takes calls from `arrived` and commits them, one future of `writes` for each commit.
        # All else is the caller's alone: an engine asks `questions` for more between two of its replies, so that
        # prompts are looked up, and known replies made ready, in the middle of its `complete`.
        identity = self.engine.identity
        arrived = SimpleQueue[Call]()
        writes = deque[Future[dict[str, Reply]]]()

        def write() -> dict[str, Reply]:
            came = [arrived.get() for _ in range(arrived.qsize())]
            return self.replies.add(identity, came)

        def take_stored(*, wait: bool) -> Iterator[Reply]:
            while writes and (wait or writes[0].done()):
                stored = writes.popleft().result()
                for key, reply in stored.items():
                    ids = calls.ids_of_key.pop(key)
                    self.count(found=len(ids) - 1)  # one reply answers every prompt of its call
                    for id in ids:
                        calls.ready.append(replace(reply, id=id))
            yield from calls.take_ready()

        failure = None
        with ThreadPoolExecutor(1, "replies") as writer:  # one thread: SQLite lets one write at a time
            replies = self.engine.complete(calls.questions())
            try:
                for reply in replies:
                    if reply.id not in calls.in_flight:
                        wrong = (
                            f"the teacher answered {printable(reply.id)!r}, which was not sent, or was answered twice"
                        )
                        raise OutsideFailed(wrong)
                    key, prompt, since = calls.in_flight.pop(reply.id)
                    kept = storable(reply)
                    if not prompt.likelihood:
                        kept = replace(kept, log_prob=None)
                    elif kept.log_prob is None:
                        raise BadInput(
                            "the teacher does not say how likely its answers are (logprobs): use another teacher, or "
                            "another filter"
                        )
                    self.count(prompt_tokens=kept.prompt_tokens or 0, output_tokens=kept.output_tokens or 0)
                    arrived.put(Call(key, prompt, kept, time.monotonic() - since))
                    if not writes or writes[-1].running() or writes[-1].done():
                        writes.append(writer.submit(write))  # one that has not begun takes this reply along
                    if self._budget and None in (kept.prompt_tokens, kept.output_tokens):
                        raise BadInput(
                            "the teacher gives no token counts, so that no budget can be kept; remove budget"
                        )
                    yield from take_stored(wait=False)
            except ExabenchError as error:
                failure = error
            finally:  # an engine that is left half-way stops asking here, not when Python collects it
                close = getattr(replies, "close", None)
                if close is not None:
                    close()
            yield from take_stored(wait=True)

        # An engine that answers all others may say at the end which prompts it refused; any other failure is one.
        if isinstance(failure, PromptsRefused):
            for id, reason in failure.reasons.items():
                if id in calls.in_flight:
                    key, _, _ = calls.in_flight.pop(id)
                    for asking in calls.ids_of_key.pop(key):  # all that ask the same
                        calls.refused[asking] = reason
            if not calls.questions_ended or calls.in_flight:
                raise PromptsRefused(calls.refused or failure.reasons) from failure
        elif failure is not None:
            raise failure
        elif calls.in_flight or not calls.questions_ended:
            left = [*calls.in_flight, *(prompt.id for _, prompt in calls.missing)]
            first = printable(left[0]) if left else ""
            raise OutsideFailed(f"the teacher did not answer prompt {first!r} ({len(left)} in all); run again")


class WithoutEngine:
    """A CachedTeacher that shows nothing of its engine: who asks it loads no model for what was answered before."""

    config: Mapping[str, Any] | None = None

    def __init__(self, cached: CachedTeacher) -> None:
        self.identity = cached.identity
        self.key = cached.key
        self.complete = cached.complete


class _Calls:
    """The prompts of one `complete` on their way: missing, in flight, answered. A bounded number is held."""

    def __init__(self, teacher: CachedTeacher, prompts: Iterable[Prompt]) -> None:
        self._teacher = teacher
        self._source = iter(prompts)
        self._held_ids: set[str] = set()  # of prompts that were read and whose reply is not given out yet
        self.ready: deque[Reply] = deque()  # replies to be given out
        self.ids_of_key: dict[str, list[str]] = {}  # of calls without a reply yet: all prompts that it will answer
        self.missing: deque[tuple[str, Prompt]] = deque()
        self.in_flight: dict[str, tuple[str, Prompt, float]] = {}  # by prompt id: key, prompt, time of asking
        self.questions_ended = False  # the engine took all that `questions` gave
        self.refused: dict[str, str] = {}

    def look_up_next(self) -> bool:
        """Read some prompts and look them up in the store; False when there were none left."""
        block = [(self._teacher.key(prompt), prompt) for prompt in islice(self._source, AT_ONCE)]
        keys = {key for key, _ in block}
        stored = self._teacher.replies.look_up(keys - self.ids_of_key.keys())  # those on their way need no look
        for key, prompt in block:
            if prompt.id in self._held_ids:
                raise BadInput("two prompts have one id", id=prompt.id)
            self._held_ids.add(prompt.id)
            if key in stored:
                self.ready.append(replace(stored[key], id=prompt.id))
                self._teacher.count(found=1)
            elif key in self.ids_of_key:
                self.ids_of_key[key].append(prompt.id)
            else:
                self.ids_of_key[key] = [prompt.id]
                self.missing.append((key, prompt))
        return bool(block)

    def questions(self) -> Iterator[Prompt]:
        """Prompts for the engine, looked up as it takes them, until the budget is spent or too much is held.

        The engine draws them while it works, so that a slow answer does not keep it from the next block.
        """
        # It ends early where known replies pile up: no one takes those while the engine waits for its next prompt.
        # `complete` then gives them out and asks the engine again.
        self.questions_ended = False
        while True:
            while self.missing and not self._teacher.is_spent:
                key, prompt = self.missing.popleft()
                self.in_flight[prompt.id] = (key, prompt, time.monotonic())
                self._teacher.count(asked=1)
                yield prompt
            waiting = len(self._held_ids) - len(self.in_flight)
            if self.missing or waiting > MOST_HELD or not self.look_up_next():
                break
        self.questions_ended = True

    def take_ready(self) -> Iterator[Reply]:
        """The replies to be given out now."""
        while self.ready:
            reply = self.ready.popleft()
            self._held_ids.discard(reply.id)
            yield reply
