"""A teacher behind the reply store: what was answered before is found, and all else is asked, once, and kept.

Everything that `complete` gives out is on disk and is what the store holds: rows made of it can be made again from the
store alone. Replies are kept by a thread of their own, all that came in meanwhile in one commit, so that neither the
engine nor the disk waits for the other: a killed process loses what was in flight, and what came in since the last
commit began (milliseconds).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput, ExabenchError, OutsideFailed, Refused, printable
from exabench.nouns import Prompt, Reply
from exabench.replies._store import AT_ONCE, Call, Replies, call_key, checked, filed

if TYPE_CHECKING:
    from exabench.teachers import Teacher

HELD = 4096
"""So many answers may wait to be given out while prompts are read for the engine; then it is let run dry."""


class Remembered:
    """A Teacher that looks into `replies` first. `engine` is a teacher, or what makes one.

    With `identity` an engine is made only when something must really be asked, and must then be the one that this
    identity describes. `budget` is a hard stop in tokens, prompts and answers together (0: none): once so many were
    spent nothing more is asked, so that only the calls then in flight go over it. `asked` counts calls of the engine,
    `found` prompts answered without one, `prompt_tokens` and `output_tokens` what the engine's replies took.
    """

    def __init__(
        self,
        engine: Teacher | Callable[[], Teacher],
        replies: Replies,
        *,
        identity: Mapping[str, Any] | None = None,
        budget: int = 0,
    ) -> None:
        self.replies, self._budget = replies, budget
        self._engine: Teacher | None = None
        self.config: Mapping[str, Any] | None = None
        self.identity: Mapping[str, Any] = identity or {}
        self.asked = self.found = self.prompt_tokens = self.output_tokens = 0
        self._lock = threading.Lock()
        self._make: Callable[[], Teacher] = engine if callable(engine) else lambda: engine
        if identity is None:
            self.identity = self._made().identity

    @property
    def engine(self) -> Teacher:
        """The engine itself, which remembers nothing."""
        return self._made()

    def key(self, prompt: Prompt) -> str:
        """What the store files this prompt's reply under."""
        return call_key(self.identity, prompt)

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        """A reply for each prompt: those known at once, the others as they come.

        Prompts of one call are answered by one reply. Raises Refused for prompts that the engine does not take, once
        all others are answered; BadInput when the budget is spent; OutsideFailed for a reply to no prompt and for
        prompts without a reply; and what else the engine raises. What came before that is kept and given out.
        """
        calls = _Calls(self, prompts)
        while calls.look_ahead():
            yield from calls.ready()
            if calls.to_ask and not self.spent:
                yield from self._answers(calls)
            if calls.to_ask:
                used = self.prompt_tokens + self.output_tokens
                how = "raise the budget and run again, nothing is asked twice"
                raise BadInput(f"the budget of {self._budget} tokens is spent ({used} in {self.asked} calls); {how}")
        if calls.refused:
            raise Refused(calls.refused)

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return 0 < self._budget <= self.prompt_tokens + self.output_tokens

    def count(self, *, asked: int = 0, found: int = 0, reply: Reply | None = None) -> None:
        """Add to the counters, which several threads may do."""
        with self._lock:
            self.asked, self.found = self.asked + asked, self.found + found
            if reply is not None:
                self.prompt_tokens += reply.prompt_tokens
                self.output_tokens += reply.output_tokens

    def _answers(self, calls: _Calls) -> Iterator[Reply]:
        """The engine's replies, until it was asked everything or answers wait in too great a number."""
        keeper = _Keeper(partial(self.replies.add, self._made().identity))
        calls.kept = keeper.kept
        answers, failed = self._made().complete(calls.questions()), None
        try:
            for reply in answers:
                keeper.put(calls.answered(reply))
                yield from calls.ready()
        except ExabenchError as error:
            failed = error
        finally:
            getattr(answers, "close", lambda: None)()
            keeper.close()
        yield from calls.ready()
        calls.ended(failed)

    def _made(self) -> Teacher:
        with self._lock:
            if self._engine is None:
                made = self._make()
                ours, theirs = filed(self.identity or made.identity), filed(made.identity)
                if odd := sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)):
                    known = ", ".join(f"{key} is {theirs.get(key)!r} and was {ours.get(key)!r}" for key in odd)
                    raise BadInput(f"the teacher is not the one that was asked before: {known}; start a new build")
                self._engine, self.config = made, made.config
            return self._engine


class _Calls:
    """The calls of one `complete`: answered and to be given out, to be asked, in flight. A bounded number is held."""

    def __init__(self, owner: Remembered, prompts: Iterable[Prompt]) -> None:
        self._owner, self._source = owner, iter(prompts)
        self._known: deque[Reply] = deque()
        self.kept: deque[tuple[str, Reply]] = deque()  # by the keeper's thread: on disk, not yet given out
        self.to_ask: deque[tuple[str, Prompt]] = deque()
        self._flying: dict[str, tuple[str, Prompt, float]] = {}  # by the id that the engine was given
        self._waiting: dict[str, list[str]] = {}  # by key: the ids of all prompts that this call will answer
        self._ids: set[str] = set()
        self.refused: dict[str, str] = {}
        self._dry = False

    def look_ahead(self) -> bool:
        """Read some prompts and look them up; False when there were none left."""
        some = [(self._owner.key(prompt), prompt) for prompt in islice(self._source, AT_ONCE)]
        known = self._owner.replies.known({key for key, _ in some} - self._waiting.keys())
        for key, prompt in some:
            if prompt.id in self._ids:
                raise BadInput("two prompts have one id", id=prompt.id)
            self._ids.add(prompt.id)
            if key in known:
                self._known.append(replace(known[key], id=prompt.id))
            elif key in self._waiting:
                self._waiting[key].append(prompt.id)
            else:
                self._waiting[key] = [prompt.id]
                self.to_ask.append((key, prompt))
        return bool(some)

    def ready(self) -> Iterator[Reply]:
        """What can be given out now."""
        while self._known:
            self._owner.count(found=1)
            yield self._out(self._known.popleft())
        while self.kept:
            key, reply = self.kept.popleft()
            ids = self._waiting.pop(key)
            self._owner.count(found=len(ids) - 1)
            for id in ids:
                yield self._out(replace(reply, id=id))

    def _out(self, reply: Reply) -> Reply:
        self._ids.discard(reply.id)
        return reply

    def questions(self) -> Iterator[Prompt]:
        """What the engine is asked; it ends early when the budget is spent or too many answers wait."""
        self._dry = False
        while True:
            while self.to_ask and not self._owner.spent:
                key, prompt = self.to_ask.popleft()
                self._flying[prompt.id] = (key, prompt, time.monotonic())
                self._owner.count(asked=1)
                yield prompt
            held = len(self._ids) - len(self._flying)
            if self.to_ask or held > HELD or not self.look_ahead():
                break
        self._dry = True

    def answered(self, reply: Reply) -> Call:
        """The call that the reply belongs to. Raises OutsideFailed for a reply to none, or of no proper shape."""
        if reply.id not in self._flying:
            raise OutsideFailed(f"the teacher answered {printable(reply.id)!r}, which it was not asked, or not twice")
        key, prompt, since = self._flying.pop(reply.id)
        try:
            reply = checked(reply)
        except BadInput as error:
            raise OutsideFailed(f"the teacher's reply cannot be kept: {error}") from error
        self._owner.count(reply=reply)
        return key, prompt, reply, time.monotonic() - since

    def ended(self, failed: ExabenchError | None) -> None:
        """The engine has stopped, with this error or none. Raises it, unless all it says is which prompts it refused.

        Raises OutsideFailed when prompts are left without a reply.
        """
        if isinstance(failed, Refused):
            for id, reason in failed.reasons.items():
                if id in self._flying:
                    self.refused.update(dict.fromkeys(self._waiting.pop(self._flying.pop(id)[0]), reason))
            if not self._dry or self._flying:  # it did not go on to the others
                raise Refused(self.refused or failed.reasons) from failed
        elif failed is not None:
            raise failed
        elif self._flying or not self._dry:
            first = next(iter(self._flying), self.to_ask[0][1].id if self.to_ask else "")
            left = len(self._flying) + len(self.to_ask)
            raise OutsideFailed(f"the teacher gave no answer to prompt {printable(first)!r} ({left} in all); run again")


class _Keeper:
    """A thread that keeps calls. What `put` was given is in `kept` once it is on disk, as the store holds it."""

    def __init__(self, add: Callable[[list[Call]], Mapping[str, Reply]]) -> None:
        self.kept: deque[tuple[str, Reply]] = deque()
        self._add, self._came, self._error = add, SimpleQueue[Call | None](), list[Exception]()
        self._thread = threading.Thread(target=self._run, name="replies", daemon=True)
        self._thread.start()

    def put(self, call: Call) -> None:
        """Keep it soon. Raises what kept earlier ones from being kept."""
        if self._error:
            raise self._error[0]
        self._came.put(call)

    def close(self) -> None:
        """Keep what is left, and end. Raises as `put` does."""
        self._came.put(None)
        self._thread.join()
        if self._error:
            raise self._error[0]

    def _run(self) -> None:
        last: Call | None
        while (last := self._came.get()) is not None:
            calls = [last]
            while len(calls) < AT_ONCE and not self._came.empty() and (last := self._came.get()) is not None:
                calls.append(last)
            try:
                if not self._error:
                    self.kept.extend(self._add(calls).items())
            except Exception as error:
                self._error.append(error)
            if last is None:
                return
