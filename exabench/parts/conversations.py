"""Asking a teacher: every reply matched to the prompt it answers, and conversations held side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeAlias, TypeVar

from exabench.core.errors import BadInput, OutsideFailed, PromptsRefused, printable
from exabench.core.nouns import Prompt, Reply
from exabench.parts.replies import CachedTeacher, WithoutEngine
from exabench.parts.teachers import Teacher

T = TypeVar("T")
Conversation: TypeAlias = Generator[list[Prompt], list[Reply], T]
"""Yields the prompts to ask next, is sent their replies in the same order, and returns its result at the end."""

AT_ONCE = 1024
"""Prompts that are handed to the teacher together, and so what memory holds (one conversation's may be more)."""


def replies_of(
    teacher: Teacher,
    prompts: Sequence[Prompt],
    *,
    refused: dict[str, str] | None = None,
    watch: Callable[[Reply], None] | None = None,
) -> dict[str, Reply]:
    """The reply to each prompt, by prompt id.

    `refused`, where it is given, takes the reasons by id of the prompts that the teacher refuses. `watch` gets every
    reply as it comes, and stops the asking with whatever it raises. Raises OutsideFailed for a reply that is missing,
    that no one asked for, or that comes twice, and PromptsRefused.
    """
    missing = {prompt.id for prompt in prompts}
    replies = {}
    try:
        for reply in teacher.complete(prompts):
            if reply.id not in missing:
                wrong = "twice" if reply.id in replies else "which was not sent"
                raise OutsideFailed(f"the teacher answered prompt {printable(reply.id)} {wrong}; ask again")
            missing.remove(reply.id)
            replies[reply.id] = reply
            if watch is not None:
                watch(reply)
    except PromptsRefused as error:
        if refused is None:
            raise
        refused.update(error.reasons)
        missing -= refused.keys()
    for prompt in prompts:
        if prompt.id in missing:
            raise OutsideFailed(f"the teacher did not answer prompt {printable(prompt.id)}; ask again")
    return replies


def finish(conversation: Conversation[T], replies: Mapping[str, Reply]) -> T:
    """The result of a conversation that asks in one round, by the replies to its prompts, else BadInput."""
    prompts = next(conversation)
    try:
        conversation.send([replies[prompt.id] for prompt in prompts])
    except StopIteration as end:
        result: T = end.value
        return result
    raise BadInput("asks in several rounds, of which only the first was planned", id=prompts[0].id)


def hold(teacher: CachedTeacher | WithoutEngine, conversation: Conversation[T]) -> tuple[T, list[str]]:
    """The result of one conversation, in as many rounds as it takes, and the keys of the replies that it rests on."""
    keys: list[str] = []
    replies: Any = None  # begins it, as it does every generator
    while True:
        try:
            prompts = conversation.send(replies)
        except StopIteration as end:
            return end.value, keys
        keys += map(teacher.key, prompts)
        answered = replies_of(teacher, prompts)
        replies = [answered[prompt.id] for prompt in prompts]


class _Talk(Generic[T]):
    """A conversation in progress: the prompts whose replies it waits for, in order, or its result."""

    def __init__(self, number: int, conversation: Conversation[T]) -> None:
        self._number = number
        self._send: Any = conversation.send
        self.ended = False
        self.result: Any = None  # of type T once it has ended
        self.go_on(None)

    def go_on(self, replies: list[Reply] | None) -> None:
        """Give it the replies to its prompts; None begins it, as it does every generator."""
        try:
            prompts = self._send(replies)
        except StopIteration as end:
            self.ended = True
            self.result = end.value
            prompts = []
        # Under ids that no other conversation has, though it be about the same query.
        self.prompts = [replace(prompt, id=f"{prompt.id}#{self._number}") for prompt in prompts]


def converse(teacher: Teacher, conversations: Iterable[Conversation[T]]) -> Iterator[T]:
    """The result of each conversation, in order; what all open ones want to ask next is one batch to the teacher.

    Conversations are read as there is room for their prompts.
    """
    # In the order of their results: one that ended behind another that continues waits in memory, and counts too.
    talks = deque[_Talk[T]]()
    prompts = 0
    for number, conversation in enumerate(conversations):
        talks.append(_Talk(number, conversation))
        prompts += len(talks[-1].prompts)
        while max(prompts, len(talks)) >= AT_ONCE:
            yield from _ask(teacher, talks)
            prompts = sum(len(talk.prompts) for talk in talks)
    while talks:
        yield from _ask(teacher, talks)


def _ask(teacher: Teacher, talks: deque[_Talk[T]]) -> Iterator[T]:
    """Advance every conversation by one batch; gives the results of those at the head that ended, and drops them."""
    asked: list[Prompt] = []
    for talk in talks:
        asked += talk.prompts
    replies = {}
    if asked:
        replies = replies_of(teacher, asked)
    for talk in talks:
        if not talk.ended:
            talk.go_on([replies[prompt.id] for prompt in talk.prompts])
    while talks and talks[0].ended:
        yield talks.popleft().result
