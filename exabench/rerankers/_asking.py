"""How a reranker asks a language model: many queries' conversations at once, every reply matched and counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from exabench.errors import BadInput, OutsideFailed, printable
from exabench.flops import Shape, exact, paper, shape_of
from exabench.nouns import Passage, Prompt, Query, Reply, Usage
from exabench.prompting import PromptFile, shown

if TYPE_CHECKING:
    from exabench.teachers import Teacher

AT_ONCE = 1024
"""Prompts that are handed to the teacher together, and so what memory holds (one query's may be more)."""


Outcome: TypeAlias = tuple[list[float], Usage]
Conversation: TypeAlias = Generator[list[Prompt], list[Reply], Outcome]
"""The ranking of one query: yields the prompts to ask next, is sent their replies in that order, ends in an Outcome."""


class Asking(ABC):
    """A reranker that asks a teacher: what it is made of, and its two verbs. A part holds one query's conversation."""

    reads = "texts"
    asks = "teacher"
    name = ""

    def __init__(
        self, teacher: Teacher, prompt: PromptFile, strategy: str, *, words: int, fields: Sequence[str]
    ) -> None:
        self._teacher, self._prompt, self._shape = teacher, prompt, _shape_of(teacher)
        self._words, self._fields = words, tuple(fields)
        self.precision = str(teacher.identity.get("precision", "unknown"))
        self._engine: Teacher = getattr(teacher, "engine", teacher)  # of one that remembers: what really answers
        self.parameters: int | None = getattr(self._engine, "parameters", None)
        self.identity: dict[str, Any] = {
            "reranker": self.name,
            "model": teacher.identity.get("model", ""),
            "revision": teacher.identity.get("revision", ""),
            "prompt": prompt.label,
            "strategy": strategy,
            "precision": self.precision,
            "words": words,
            "fields": list(self._fields),
            "teacher": dict(teacher.identity),
        }

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given; the engine is asked afresh, so that it can be timed."""
        return next(_outcomes(self._engine, [self._ranking(query, passages)]))[0]

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order; what many queries have to ask next is asked together."""
        return _outcomes(self._teacher, (self._ranking(query, passages) for query, passages in jobs))

    @abstractmethod
    def _ranking(self, query: Query, passages: Sequence[Passage]) -> Conversation:
        """The conversation that ranks one query's passages."""

    def _shown(self, passages: Sequence[Passage]) -> tuple[list[str], int]:
        """The passages as the prompt shows them, and how many of them are cut."""
        texts = [shown(passage, self._fields, self._words) for passage in passages]
        return [text for text, _ in texts], sum(cut for _, cut in texts)

    def _usage(self, replies: Sequence[Reply], cut: int, repairs: Iterable[Mapping[str, int]]) -> Usage:
        """What the replies to one query took, `cut` of its passages shown in part, its answers repaired so often."""
        counts: Counter[str] = Counter()
        for one in repairs:
            counts.update(one)
        shape = self._shape
        read = np.array([reply.prompt_tokens for reply in replies], np.int64)
        written = np.array([reply.output_tokens for reply in replies], np.int64)
        return Usage(
            prompts=len(replies),
            input_tokens=int(read.sum()),
            output_tokens=int(written.sum()),
            flops_paper=float(np.sum(paper(shape, read, written))) if shape else None,
            flops_exact=float(np.sum(exact(shape, read, written, rows=shape.vocabulary))) if shape else None,
            cut_passages=cut,
            repairs=dict(counts),
        )


def _outcomes(teacher: Teacher, conversations: Iterable[Conversation]) -> Iterator[Outcome]:
    """The outcome of each conversation, in order; what all open ones want to ask next is one batch to the teacher."""
    source = zip(count(), conversations)  # noqa: B905  (count has no end)
    open_: dict[int, tuple[Conversation, list[Prompt]]] = {}
    done: dict[int, Outcome] = {}
    told = 0
    while True:
        while told in done:
            yield done.pop(told)
            told += 1
        started = False
        while len(open_) + len(done) < AT_ONCE and sum(len(prompts) for _, prompts in open_.values()) < AT_ONCE:
            if (following := next(source, None)) is None:
                break
            started = True
            _go_on(*following, None, open_, done)
        if not open_ and not started:
            return
        if open_:
            replies = ask(teacher, [prompt for number in open_ for prompt in _numbered(number, open_[number][1])])
            for number, (conversation, prompts) in list(open_.items()):
                own = [replies[prompt.id] for prompt in _numbered(number, prompts)]
                _go_on(number, conversation, own, open_, done)


def _go_on(
    number: int,
    conversation: Conversation,
    replies: list[Reply] | None,
    open_: dict[int, tuple[Conversation, list[Prompt]]],
    done: dict[int, Outcome],
) -> None:
    try:
        prompts = next(conversation) if replies is None else conversation.send(replies)
        open_[number] = (conversation, prompts)
    except StopIteration as end:
        open_.pop(number, None)
        done[number] = end.value


def _numbered(number: int, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts under ids that no other conversation has, though it be about the same query."""
    return [replace(prompt, id=f"{prompt.id}#{number}") for prompt in prompts]


def ask(teacher: Teacher, prompts: Sequence[Prompt]) -> dict[str, Reply]:
    """The reply to each prompt, by id. Raises OutsideFailed for one that is missing, not asked for, or doubled."""
    wanted = {prompt.id for prompt in prompts}
    replies: dict[str, Reply] = {}
    for reply in teacher.complete(prompts):
        if reply.id not in wanted or reply.id in replies:
            wrong = "twice" if reply.id in replies else "though nobody asked it"
            raise OutsideFailed(f"the teacher answered prompt {printable(reply.id)} {wrong}; ask again")
        replies[reply.id] = reply
    for prompt in prompts:
        if prompt.id not in replies:
            raise OutsideFailed(f"the teacher gave no answer to prompt {printable(prompt.id)}; ask again")
    return replies


def _shape_of(teacher: Teacher) -> Shape | None:
    """The shape of the teacher's model for counting FLOPs; None where it, or how to count it, is not known."""
    try:
        return shape_of(teacher.config) if teacher.config else None
    except BadInput:
        return None
