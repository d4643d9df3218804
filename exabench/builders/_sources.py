"""First stages as sources of passages: who answers which queries, and how alike their answers are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TypeVar

from exabench.files import digest_of

T = TypeVar("T")
AT_ONCE = 1000
"""Queries that a first stage is asked together."""


def blocks(ids: Iterable[str], stages: Sequence[str], seed: int) -> dict[str, list[str]]:
    """The ids in as many blocks as there are stages: disjoint, all in one, sizes that differ by one at most.

    Seed and ids alone decide which block an id is in, and where.
    """
    order = sorted(ids, key=lambda id: digest_of([seed, id]))
    cuts = [place * len(order) // len(stages) for place in range(len(stages) + 1)]
    return {stage: order[cuts[place] : cuts[place + 1]] for place, stage in enumerate(stages)}


def in_turn(lists: Iterable[Sequence[T]]) -> list[T]:
    """The first of every list, then the second of every list, and so on: every list has its share of any head."""
    given = list(lists)
    longest = max(map(len, given), default=0)
    return [one[place] for place in range(longest) for one in given if place < len(one)]


def overlap(
    found: Mapping[str, Mapping[str, Sequence[str]]], queries: Sequence[str], documents: int
) -> dict[str, dict[str, float]]:
    """Table 1 of TWOLAR: for each two stages the mean over queries of |A & B| / documents, as `{stage: {later: rate}}`.

    `found[stage][query id]` lists passages; what a stage did not answer is an empty list. arXiv 2403.17759, eq. 3.
    """
    rates: dict[str, dict[str, float]] = {}
    for one, other in combinations(sorted(found), 2):
        shared = sum(len(set(found[one].get(id, ())) & set(found[other].get(id, ()))) for id in queries)
        rates.setdefault(one, {})[other] = shared / (documents * len(queries)) if queries else 0.0
    return rates
