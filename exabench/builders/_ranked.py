"""Rankings of first stages, by query."""

from __future__ import annotations

from collections.abc import Sequence
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
