"""Rankings of first stages: asked in blocks, compared, and traced back to the stage that brought a passage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, TypeAlias

from exabench.core.nouns import Query
from exabench.data.sampling import draw

if TYPE_CHECKING:
    from exabench.parts.retrievers import Retriever

    FirstStages: TypeAlias = Mapping[str, Retriever]
    """First stages by name. For the type checker alone: options are not checked where that would make an index."""

AT_ONCE = 1000
"""Queries that a first stage is asked together."""


def rankings(stage: Retriever, queries: Sequence[Query], depth: int) -> dict[str, list[str]]:
    """The passage ids that a first stage finds for each query, best first; none where it does not answer."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(queries), AT_ONCE):
        block = queries[start : start + AT_ONCE]
        run = stage.search(block, depth)
        for query in block:
            found[query.id] = run.ranking(query.id)[:depth]
    return found


def all_rankings(stages: FirstStages, queries: Sequence[Query], depth: int) -> dict[str, dict[str, list[str]]]:
    """The rankings of every first stage, as `{query id: {stage: passage ids}}`, stages by name."""
    found: dict[str, dict[str, list[str]]] = {query.id: {} for query in queries}
    if queries:
        for stage in sorted(stages):
            for query_id, ids in rankings(stages[stage], queries, depth).items():
                found[query_id][stage] = ids
    return found


def best_stages(lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The passages of one query's lists, each with the stage that ranks it highest: of equals the first by name."""
    best: dict[str, tuple[int, str]] = {}
    for stage, ids in lists.items():
        for rank, id in enumerate(ids):
            best[id] = min(best.get(id, (rank, stage)), (rank, stage))
    return {id: stage for id, (_, stage) in best.items()}


def blocks(ids: Iterable[str], stages: Sequence[str], seed: int) -> dict[str, list[str]]:
    """The ids in as many blocks as there are stages: disjoint, all in one, sizes that differ by one at most.

    Seed and ids alone decide which block an id is in, and where.
    """
    order = draw(ids, None, lambda id: [seed, id])
    cuts = [place * len(order) // len(stages) for place in range(len(stages) + 1)]
    return {stage: order[cuts[place] : cuts[place + 1]] for place, stage in enumerate(stages)}


def overlap(
    found: Mapping[str, Mapping[str, Sequence[str]]], queries: Sequence[str], documents: int
) -> dict[str, dict[str, float]]:
    """Table 1 of TWOLAR: for each two stages the mean over queries of |A & B| / documents, as `{stage: {later: rate}}`.

    `found[stage][query id]` lists passages; what a stage did not answer is an empty list. arXiv 2403.17759, eq. 3.
    """
    rates: dict[str, dict[str, float]] = {}
    for one, other in combinations(sorted(found), 2):
        shared = 0
        for id in queries:
            shared += len(set(found[one].get(id, ())) & set(found[other].get(id, ())))
        rates.setdefault(one, {})[other] = shared / (documents * len(queries)) if queries else 0.0
    return rates
