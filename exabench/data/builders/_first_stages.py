"""Rankings of first stages: asked in blocks, and traced back to the stage that brought a passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from exabench.core.nouns import Query
from exabench.data.sampling import by_turns
from exabench.parts.retrievers import Retriever

FirstStages: TypeAlias = "Mapping[str, Retriever]"
"""First stages by name. A text, so that no check of options looks into them, which would make their indexes."""

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
    if queries:  # no index is made for nothing
        for stage in sorted(stages):
            for query_id, ids in rankings(stages[stage], queries, depth).items():
                found[query_id][stage] = ids
    return found


def best_stages(lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The passages of one query's lists, each with the stage that ranks it highest: of equals the first in `lists`."""
    best: dict[str, str] = {}
    for id, stage in by_turns([(id, stage) for id in ids] for stage, ids in lists.items()):
        best.setdefault(id, stage)
    return best
