"""Rerankers: given a query and its candidate passages, a score for each.

A reranker is one file that holds one class of the file's name with one verb, `score(query, passages)`. To add
one, add its file. Those that need no model are the scorer's self-test and the bounds on every task page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from exabench.core.nouns import Passage, Query, Run, Usage
from exabench.core.shelf import Shelf
from exabench.measure.runs import run_of

Job: TypeAlias = tuple[Query, Sequence[Passage]]
"""A query and the passages to score for it."""

Outcome: TypeAlias = tuple[list[float], Usage]
"""The scores of a job, in the order of its passages, and their usage."""


class Reranker(Protocol):
    """Anything that scores passages; `reads` says what it must be given: "ids", "texts" or "judgements"."""

    reads: str

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One finite score for each passage, in the order given; higher is better."""


RERANKERS = Shelf("reranker", __name__, __file__)


def rerank(
    reranker: Reranker, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage], name: str
) -> tuple[Run, dict[str, Usage]]:
    """The candidates in the order of a reranker's scores, and what each query took, where the reranker counts it.

    One with `score_many` is handed all queries, one after the other as it asks for them.
    """
    jobs = (job_of(query_id, candidates, queries, passages) for query_id in candidates.query_ids)
    if hasattr(reranker, "score_many"):
        answers: Iterator[tuple[Sequence[float], Usage | None]] = reranker.score_many(jobs)
    else:
        answers = ((reranker.score(*job), None) for job in jobs)
    scores = {}
    usages = {}
    for query_id, (values, usage) in zip(candidates.query_ids, answers, strict=True):
        scores[query_id] = dict(zip(candidates.ranking(query_id), values, strict=True))
        if usage is not None:
            usages[query_id] = usage
    return run_of(name, scores), usages


def job_of(query_id: str, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage]) -> Job:
    """A query and its candidates, best first; one whose text is not given has an empty text."""
    given = [passages.get(id) or Passage(id, "") for id in candidates.ranking(query_id)]
    return queries.get(query_id) or Query(query_id, ""), given
