"""Cache of teacher replies in SQLite, and teachers that ask only what is not in it: a call is paid for once.

A reply is stored before it is given out, so rows made of it can be made again from the store alone. A thread writes
replies while the engine works on; whatever came in meanwhile goes into one commit. A killed process loses what was in
flight, and what came in since the last commit began (milliseconds).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from queue import SimpleQueue
from typing import Any

from exabench.core.errors import BadInput, ExabenchError, OutsideFailed, PromptsRefused, printable
from exabench.core.nouns import Prompt, Reply
from exabench.core.sqlite_store import AT_ONCE
from exabench.parts.replies._store import SCHEMA, Call, Replies, call_key, storable, without_server
from exabench.parts.teachers import Teacher

__all__ = ["MOST_HELD", "SCHEMA", "CachedTeacher", "Call", "Replies", "call_key", "without_server"]

MOST_HELD = 4096
"""Replies that may wait to be given out while the engine asks for more prompts; then it gets none until they are."""


class CachedTeacher:
    """A Teacher that looks into `replies` first. `engine` is a teacher, or a function that makes one.

    With `identity` an engine is made only when something must really be asked, and must then be the one that this
    identity describes. `budget` is a hard stop in tokens, prompts and answers together (0: none): once so many were
    spent nothing more is asked, so that only the calls then in flight go over it. `asked` counts calls of the engine,
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
                    known = ", ".join(f"{key} is {actual.get(key)!r} and was {agreed.get(key)!r}" for key in odd)
                    raise BadInput(f"the teacher is not the one that was asked before: {known}; start a new build")
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
                how = "raise the budget and run again, nothing is asked twice"
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
        identity = self.engine.identity
        arrived: SimpleQueue[Call] = SimpleQueue()
        writes: deque[Future[dict[str, Reply]]] = deque()

        def write() -> dict[str, Reply]:
            return self.replies.add(identity, [arrived.get() for _ in range(arrived.qsize())])

        def take_stored(*, wait: bool) -> Iterator[Reply]:
            while writes and (wait or writes[0].done()):
                for key, reply in writes.popleft().result().items():
                    calls.answer(key, reply)
            yield from calls.take_ready()

        failure: ExabenchError | None = None
        with ThreadPoolExecutor(1, "replies") as writer:  # one thread: SQLite lets one write at a time
            replies = self.engine.complete(calls.questions())
            try:
                for reply in replies:
                    arrived.put(calls.match(reply))
                    if not writes or writes[-1].running() or writes[-1].done():
                        writes.append(writer.submit(write))  # one that has not begun takes this reply along
                    yield from take_stored(wait=False)
            except ExabenchError as error:
                failure = error
            finally:  # an engine that is left half-way stops asking here, not when Python collects it
                close = getattr(replies, "close", None)
                if close is not None:
                    close()
            yield from take_stored(wait=True)

        # An engine that goes on to all others may say at the end which prompts it refused; any other failure is one.
        if isinstance(failure, PromptsRefused):
            for id, reason in failure.reasons.items():
                if id in calls.in_flight:
                    key, _, _ = calls.in_flight.pop(id)
                    calls.refused.update(dict.fromkeys(calls.ids_of_key.pop(key), reason))
            if not calls.engine_has_all or calls.in_flight:
                raise PromptsRefused(calls.refused or failure.reasons) from failure
        elif failure is not None:
            raise failure
        elif calls.in_flight or not calls.engine_has_all:
            left = [*calls.in_flight, *(prompt.id for _, prompt in calls.missing)]
            first = printable(left[0] if left else "")
            raise OutsideFailed(f"the teacher gave no answer to prompt {first!r} ({len(left)} in all); run again")


class _Calls:
    """The prompts of one `complete` on their way: missing, in flight, answered. A bounded number is held."""

    def __init__(self, teacher: CachedTeacher, prompts: Iterable[Prompt]) -> None:
        self._teacher = teacher
        self._source = iter(prompts)
        self._held_ids: set[str] = set()  # of prompts that were read and whose reply is not given out yet
        self._ready: deque[Reply] = deque()  # replies to be given out
        self.ids_of_key: dict[str, list[str]] = {}  # of calls without a reply yet: all prompts that it will answer
        self.missing: deque[tuple[str, Prompt]] = deque()
        self.in_flight: dict[str, tuple[str, Prompt, float]] = {}  # by prompt id: key, prompt, time of asking
        self.engine_has_all = False  # the engine took questions until there were no more
        self.refused: dict[str, str] = {}

    def look_up_next(self) -> bool:
        """Read some prompts and look them up in the store; False when there were none left."""
        block = [(self._teacher.key(prompt), prompt) for prompt in islice(self._source, AT_ONCE)]
        stored = self._teacher.replies.known({key for key, _ in block} - self.ids_of_key.keys())
        for key, prompt in block:
            if prompt.id in self._held_ids:
                raise BadInput("two prompts have one id", id=prompt.id)
            self._held_ids.add(prompt.id)
            if key in stored:
                self._ready.append(replace(stored[key], id=prompt.id))
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
        self.engine_has_all = False
        while True:
            while self.missing and not self._teacher.is_spent:
                key, prompt = self.missing.popleft()
                self.in_flight[prompt.id] = (key, prompt, time.monotonic())
                self._teacher.count(asked=1)
                yield prompt
            waiting = len(self._held_ids) - len(self.in_flight)
            if self.missing or waiting > MOST_HELD or not self.look_up_next():
                break
        self.engine_has_all = True

    def match(self, reply: Reply) -> Call:
        """The call that the reply belongs to. Raises OutsideFailed for a reply to none, or of no proper shape."""
        if reply.id not in self.in_flight:
            raise OutsideFailed(f"the teacher answered {printable(reply.id)!r}, which it was not asked, or not twice")
        key, prompt, since = self.in_flight.pop(reply.id)
        try:
            reply = storable(reply)
        except BadInput as error:
            raise OutsideFailed(f"the teacher's reply cannot be kept: {error}") from error
        self._teacher.count(prompt_tokens=reply.prompt_tokens, output_tokens=reply.output_tokens)
        return Call(key, prompt, reply, time.monotonic() - since)

    def answer(self, key: str, reply: Reply) -> None:
        """Make a stored reply ready for every prompt of its call."""
        ids = self.ids_of_key.pop(key)
        self._teacher.count(found=len(ids) - 1)
        for id in ids:
            self._ready.append(replace(reply, id=id))

    def take_ready(self) -> Iterator[Reply]:
        """The replies to be given out now."""
        while self._ready:
            reply = self._ready.popleft()
            self._held_ids.discard(reply.id)
            yield reply
