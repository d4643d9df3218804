"""Queries of several sources: each with its origin, none twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Query

if TYPE_CHECKING:
    from exabench.data.queries import QuerySource


@dataclass(frozen=True)
class SourcedQuery:
    """A query, its origin (exabench.data.queries), and the name of its source."""

    query: Query
    origin: Mapping[str, Any]
    source: str

    @property
    def data(self) -> dict[str, Any]:
        """What an Item says of it."""
        replies = list(self.origin.get("replies", ()))
        return {
            "query_id": self.query.id,
            "query": self.query.text,
            "query_source": self.source,
            "replies": replies,
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
