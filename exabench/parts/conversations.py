"""Asking a teacher: every reply matched to the prompt it answers, and conversations that go on side by side."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from exabench.core.errors import OutsideFailed, PromptsRefused, printable
from exabench.core.nouns import Prompt, Reply
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
    replies = {}
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


def converse(teacher: Teacher, conversations: Iterable[Conversation[T]]) -> Iterator[T]:
    """The result of each conversation, in order; what all open ones want to ask next is one batch to the teacher.

    Conversations are read as there is room for their prompts.
    """
    source = enumerate(conversations)
    # The open conversations and the prompts whose replies each waits for, in order.
    waiting: dict[int, tuple[Conversation[T], list[Prompt]]] = {}
    results = {}
    given_out = 0

    def go_on(number: int, conversation: Conversation[T], replies: list[Reply] | None) -> None:
        try:
            prompts = next(conversation) if replies is None else conversation.send(replies)
        except StopIteration as end:
            results[number] = end.value
            waiting.pop(number, None)
            return
        # Under ids that no other conversation has, though it be about the same query.
        waiting[number] = (conversation, [replace(prompt, id=f"{prompt.id}#{number}") for prompt in prompts])

    while True:
        asked = [prompt for _, prompts in waiting.values() for prompt in prompts]
        # Conversations that ended behind one that goes on count, too: their results wait in memory.
        if len(asked) < AT_ONCE and len(waiting) + len(results) < AT_ONCE:
            following = next(source, None)
            if following is not None:
                go_on(*following, None)
                continue
        if not waiting and not results:
            return
        replies = replies_of(teacher, asked) if asked else {}
        for number, (conversation, prompts) in list(waiting.items()):
            go_on(number, conversation, [replies[prompt.id] for prompt in prompts])
        while given_out in results:
            yield results.pop(given_out)
            given_out += 1
