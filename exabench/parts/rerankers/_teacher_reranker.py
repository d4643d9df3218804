"""Rerankers that ask a language model: the conversations of many queries at once, every reply counted."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Query, Reply, Usage
from exabench.models.costs import usage_of
from exabench.models.flops import Shape, shape_of
from exabench.parts.conversations import Conversation, converse
from exabench.parts.prompting import PromptFile, truncate_passage
from exabench.parts.rerankers import Job, Outcome

if TYPE_CHECKING:
    from exabench.parts.teachers import Teacher


class Asking(ABC):
    """A reranker that asks a teacher. A part of the shelf says how it ranks one query, as a conversation."""

    reads = "texts"
    part = ""
    one_round = False
    """Is everything about a list asked at once, so that no question depends on an answer?"""

    def __init__(
        self, teacher: Teacher, prompt: PromptFile, strategy: str, *, words: int, fields: Sequence[str]
    ) -> None:
        self.teacher = teacher
        self._engine: Teacher = getattr(teacher, "engine", teacher)  # without the reply store, where there is one
        self._prompt = prompt
        self._words = words
        self._fields = tuple(fields)
        self._shape: Shape | None = None  # None where the model, or how to count its FLOPs, is not known
        if teacher.config:
            with contextlib.suppress(BadInput):
                self._shape = shape_of(teacher.config)
        self.precision = str(teacher.identity.get("precision", "unknown"))
        self.parameters: int | None = getattr(self._engine, "parameters", None)
        self.identity = {
            "reranker": self.part,
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
        [(scores, _)] = converse(self._engine, [self.conversation(query, passages)])
        return scores

    def score_many(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Scores and usage of each job, in order; what many queries have to ask next is asked together."""
        return converse(self.teacher, (self.conversation(query, passages) for query, passages in jobs))

    @abstractmethod
    def conversation(self, query: Query, passages: Sequence[Passage]) -> Conversation[Outcome]:
        """The conversation that ranks one query's passages."""

    def _show(self, passages: Sequence[Passage]) -> tuple[list[str], int]:
        """The passages as the prompt shows them, and how many of them are cut."""
        texts = []
        cut = 0
        for passage in passages:
            text, is_cut = truncate_passage(passage, self._fields, self._words)
            texts.append(text)
            cut += is_cut
        return texts, cut

    def _question(
        self, name: str, turns: tuple[tuple[str, str], ...], answer_tokens: int, labels: Sequence[str]
    ) -> Prompt:
        """A prompt for an answer of so many tokens; of 0, for how likely each of the labels comes next."""
        if answer_tokens:
            return Prompt(name, turns, answer_tokens, pattern=self._prompt.pattern)
        return Prompt.of_choices(name, turns, labels)

    def _usage(self, replies: Sequence[Reply], passages: int, cut: int, repairs: Mapping[str, int]) -> Usage:
        """The usage of one query: the replies to it, `cut` of its passages cut, and repairs of answers by kind."""
        if not replies:  # a list of one is not asked about, so nothing of it was read or cut
            passages = 0
            cut = 0
        read = [reply.prompt_tokens for reply in replies]
        written = [reply.output_tokens for reply in replies]
        rows = self._shape.vocabulary if self._shape else 0  # a token is drawn from the whole vocabulary
        counts = {"passages": passages, "cut_passages": cut, "repairs": dict(repairs)}
        return usage_of(self._shape, read, written, rows=rows, **counts)


def by_place(order: Sequence[int]) -> list[float]:
    """A score for each passage by its place in `order`, best first: n, n - 1, ..., 1."""
    scores = [0.0] * len(order)
    for rank, passage in enumerate(order):
        scores[passage] = float(len(order) - rank)
    return scores
