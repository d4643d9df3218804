"""Asking a teacher: every reply matched to the prompt it answers, and conversations that go on side by side."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from exabench.core.errors import OutsideFailed, PromptsRefused, printable
from exabench.core.nouns import Prompt, Reply

if TYPE_CHECKING:
    from exabench.parts.teachers import Teacher

T = TypeVar("T")
Conversation: TypeAlias = Generator[list[Prompt], list[Reply], T]
"""Yields the prompts to ask next, is sent their replies in the same order, and returns its result at the end."""

AT_ONCE = 1024
"""Prompts that are handed to the teacher together, and so what memory holds (one conversation's may be more)."""


def replies_of(teacher: Teacher, prompts: Sequence[Prompt], *, skip_refused: bool = False) -> dict[str, Reply]:
    """The reply to each prompt, by prompt id; with `skip_refused` a prompt that the teacher refuses has none.

    Raises OutsideFailed for a reply that is missing, that nobody asked for, or that comes twice, and PromptsRefused.
    """
    missing = {prompt.id for prompt in prompts}
    replies: dict[str, Reply] = {}
    try:
        for reply in teacher.complete(prompts):
            if reply.id not in missing:
                wrong = "twice" if reply.id in replies else "though nobody asked it"
                raise OutsideFailed(f"the teacher answered prompt {printable(reply.id)} {wrong}; ask again")
            missing.remove(reply.id)
            replies[reply.id] = reply
    except PromptsRefused as error:
        if not skip_refused:
            raise
        missing -= set(error.reasons)
    for prompt in prompts:
        if prompt.id in missing:
            raise OutsideFailed(f"the teacher gave no answer to prompt {printable(prompt.id)}; ask again")
    return replies


@dataclass
class _Open(Generic[T]):
    """A conversation that waits for the replies to its prompts."""

    conversation: Conversation[T]
    prompts: list[Prompt]


def converse(teacher: Teacher, conversations: Iterable[Conversation[T]]) -> Iterator[T]:
    """The result of each conversation, in order; what all open ones want to ask next is one batch to the teacher.

    Conversations are read as there is room for their prompts.
    """
    source = enumerate(conversations)
    open_: dict[int, _Open[T]] = {}
    results: dict[int, T] = {}
    given_out = 0

    def go_on(number: int, conversation: Conversation[T], replies: list[Reply] | None) -> None:
        open_.pop(number, None)
        try:
            prompts = next(conversation) if replies is None else conversation.send(replies)
        except StopIteration as end:
            results[number] = end.value
            return
        # Under ids that no other conversation has, though it be about the same query.
        numbered = [replace(prompt, id=f"{prompt.id}#{number}") for prompt in prompts]
        open_[number] = _Open(conversation, numbered)

    def has_room() -> bool:
        prompts = sum(len(one.prompts) for one in open_.values())
        return len(open_) + len(results) < AT_ONCE and prompts < AT_ONCE

    more = True
    while more or open_:
        while more and has_room():
            following = next(source, None)
            if following is None:
                more = False
            else:
                go_on(*following, None)
        waiting = dict(sorted(open_.items()))
        replies = {}
        if waiting:
            replies = replies_of(teacher, [prompt for one in waiting.values() for prompt in one.prompts])
        for number, one in waiting.items():
            go_on(number, one.conversation, [replies[prompt.id] for prompt in one.prompts])
        while given_out in results:
            yield results.pop(given_out)
            given_out += 1
