"""Reciprocal rank fusion: several rankings of a query as one, by ranks only, so that unlike scores do not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def fuse(rankings: Iterable[Sequence[str]], k: int = 60) -> dict[str, float]:
    """The score of every id, best first: over the rankings that hold it, the sum of 1 / (k + rank), ranks from 1.

    Cormack, Clarke and Buettcher, SIGIR 2009, where k is 60.
    """
    sums: dict[str, float] = {}
    for ids in rankings:
        for rank, id in enumerate(ids, 1):
            sums[id] = sums.get(id, 0.0) + 1 / (k + rank)
    return best_first(sums)


def best_first(scores: dict[str, float]) -> dict[str, float]:
    """The scores in falling order; of equal ones the id that is greater as a string comes first."""
    ids = sorted(scores, key=lambda id: (scores[id], id), reverse=True)
    return {id: scores[id] for id in ids}
