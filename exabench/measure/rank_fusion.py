"""Rank fusion: several rankings of a query as one, by ranks alone, so that unlike scores do not matter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

METHODS = ("rrf", "isr", "log_isr")
"""Cormack, Clarke and Buettcher 2009 (k = 60 there); the other two Mourao, Martins and Magalhaes 2015."""


def fuse(rankings: Iterable[Sequence[str]], method: str = "rrf", k: int = 60) -> dict[str, float]:
    """The score of every id, best first; of equal scores the id that is greater as a string comes first.

    Over the n rankings that hold an id, at rank r each (from 1): "rrf" is the sum of 1 / (k + r), "isr" n times the sum
    of 1 / r^2, "log_isr" log(n) times that sum.
    """
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for ids in rankings:
        for rank, id in enumerate(ids, 1):
            points = 1 / (k + rank) if method == "rrf" else 1 / rank**2
            sums[id] = sums.get(id, 0.0) + points
            counts[id] = counts.get(id, 0) + 1
    if method == "isr":
        sums = {id: value * counts[id] for id, value in sums.items()}
    elif method == "log_isr":
        sums = {id: value * math.log(counts[id]) for id, value in sums.items()}
    return best_first(sums)


def best_first(scores: dict[str, float]) -> dict[str, float]:
    """The scores in falling order; of equal ones the id that is greater as a string comes first."""
    return {id: scores[id] for id in sorted(scores, key=lambda id: (scores[id], id), reverse=True)}
