"""Fields that the rows of several builders share, and queries of several sources with theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.core.rows import Row
from exabench.tasks.collections import Collection

if TYPE_CHECKING:
    from exabench.data.queries import QuerySource


def origin(collection: Collection) -> Row:
    """Where a row's texts were read. The revision may be the digest of a file, so call this once for a plan."""
    return {"source": collection.source, "source_revision": collection.revision}


def group(query: Query, query_source: str, positive: Passage, negatives: Mapping[Passage, str]) -> Row:
    """A contrastive group; each negative with the first stage that brought it."""
    return {
        "query_id": query.id,
        "query": query.text,
        "query_source": query_source,
        "positive_id": positive.id,
        "positive_title": positive.title,
        "positive": positive.text,
        "negative_ids": [passage.id for passage in negatives],
        "negative_titles": [passage.title for passage in negatives],
        "negatives": [passage.text for passage in negatives],
        "negative_sources": list(negatives.values()),
    }


def passage_list(passages: Sequence[Passage]) -> Row:
    """A list of passages, in its order."""
    return {
        "passage_ids": [passage.id for passage in passages],
        "titles": [passage.title for passage in passages],
        "passages": [passage.text for passage in passages],
    }


@dataclass(frozen=True)
class SourcedQuery:
    """A query, its origin (exabench.data.queries), and the name of its source."""

    query: Query
    origin: Mapping[str, Any]
    source: str

    @property
    def fields(self) -> Row:
        """The data of an Item about the query."""
        return {
            "query_id": self.query.id,
            "query": self.query.text,
            "query_source": self.source,
            "replies": list(self.origin.get("replies", ())),
        }


def by_name(queries: Mapping[str, QuerySource] | QuerySource) -> dict[str, QuerySource]:
    """The sources by name, sorted; one alone has the name of its class."""
    if isinstance(queries, Mapping):
        return dict(sorted(queries.items()))
    return {type(queries).__name__.lower(): queries}


def read_queries(sources: Mapping[str, QuerySource]) -> dict[str, list[SourcedQuery]]:
    """The queries of every source. Raises BadInput for an id that two queries have."""
    found: dict[str, list[SourcedQuery]] = {}
    seen: set[str] = set()
    for name, source in sources.items():
        found[name] = []
        for query, origin in source:
            if query.id in seen:
                raise BadInput(f"two queries have this id, one of them of {name}; keep one", id=query.id)
            seen.add(query.id)
            found[name].append(SourcedQuery(query, origin, name))
    return found
