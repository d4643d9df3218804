"""What first stages answer: rankings by query, reciprocal rank fusion of them, and who brought which passage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from exabench.builders._sources import AT_ONCE

if TYPE_CHECKING:
    from exabench.nouns import Query
    from exabench.retrievers import Retriever


def rankings(stage: Retriever, queries: Sequence[Query], depth: int) -> dict[str, list[str]]:
    """The passage ids that a first stage finds for each query, best first; none where it does not answer."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(queries), AT_ONCE):
        some = queries[start : start + AT_ONCE]
        run = stage.search(some, depth)
        found |= {query.id: run.ranking(query.id)[:depth] for query in some}
    return found


def fused(lists: Iterable[Sequence[str]], k: int = 60) -> dict[str, float]:
    """Reciprocal rank fusion: each passage's sum over the lists of 1 / (k + rank), ranks from 1, best first.

    Of equal sums the id that is greater as a string comes first, which is the ranking rule of every run here.
    Cormack, Clarke and Buettcher 2009 (SIGIR), who took k = 60.
    """
    scores: dict[str, float] = {}
    for ids in lists:
        for rank, id in enumerate(ids, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (k + rank)
    return best_first(scores)


def best_first(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores in falling order; of equal ones the id that is greater as a string comes first."""
    return {id: scores[id] for id in sorted(scores, key=lambda id: (scores[id], id), reverse=True)}
