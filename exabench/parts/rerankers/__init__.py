"""Rerankers: given a query and its candidate passages, a score for each.

A reranker is one file that holds one class of the file's name with one verb, `score(query, passages)`. To add
one, add its file. Those that need no model are the scorer's self-test and the bounds on every task page. A file says
by constants the TYPE of its reranker, and of one that can be trained what it LEARNS to score: "pairs" or "texts".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from exabench.core.nouns import Passage, Query, Usage
from exabench.core.shelf import Shelf

if TYPE_CHECKING:
    from exabench.parts.conversations import Conversation
    from exabench.parts.replies import CachedTeacher, WithoutEngine

Job: TypeAlias = tuple[Query, Sequence[Passage]]
"""A query and the passages to score for it."""

Outcome: TypeAlias = tuple[list[float], Usage]
"""The scores of a job, in the order of its passages, and their usage."""


class Reranker(Protocol):
    """Anything that scores passages; `reads` says what it must be given: "ids", "texts" or "judgements"."""

    reads: str

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One finite score for each passage, in the order given; higher is better."""


class AskingReranker(Reranker, Protocol):
    """A reranker that asks its teacher; a build can plan what is asked all about a list in one round (`one_round`)."""

    one_round: bool
    teacher: CachedTeacher | WithoutEngine  # in a build every teacher is behind the reply store
    identity: Mapping[str, Any]

    def conversation(self, query: Query, passages: Sequence[Passage]) -> Conversation[Outcome]:
        """The prompts about a list, and its scores once they are answered."""


def score_jobs(reranker: Reranker, jobs: Iterator[Job]) -> Iterator[tuple[Sequence[float], Usage | None]]:
    """Scores and usage of each job; a reranker with `score_many` reads the jobs itself, as it has room for them."""
    if hasattr(reranker, "score_many"):
        return reranker.score_many(jobs)
    return ((reranker.score(*job), None) for job in jobs)


RERANKERS = Shelf("reranker", __name__, __file__)
