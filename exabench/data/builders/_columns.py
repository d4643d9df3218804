"""Fields that rows of several builders have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exabench.core.nouns import Passage, Query
from exabench.core.rows import Row

if TYPE_CHECKING:
    from exabench.tasks.collections import Collection


def origin(collection: Collection) -> Row:
    """Where a row's texts were read. Reading the revision may take the digest of a file: once for a plan will do."""
    return {"source": collection.source, "source_revision": collection.revision}


def group(query: Query, query_source: str, positive: Passage, negatives: Sequence[tuple[Passage, str]]) -> Row:
    """A contrastive group; each negative with the first stage that brought it."""
    return {
        "query_id": query.id,
        "query": query.text,
        "query_source": query_source,
        "positive_id": positive.id,
        "positive_title": positive.title,
        "positive": positive.text,
        "negative_ids": [passage.id for passage, _ in negatives],
        "negative_titles": [passage.title for passage, _ in negatives],
        "negatives": [passage.text for passage, _ in negatives],
        "negative_sources": [stage for _, stage in negatives],
    }


def passage_list(passages: Sequence[Passage]) -> Row:
    """A list of passages, in its order."""
    return {
        "passage_ids": [passage.id for passage in passages],
        "titles": [passage.title for passage in passages],
        "passages": [passage.text for passage in passages],
    }
