"""Where the rows of several builders come from: queries and first stages, and the fields that rows have of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.core.rows import Item, Row
from exabench.data.sampling import interleave
from exabench.parts.own_rerankers import reranker_name
from exabench.parts.rerankers import Reranker
from exabench.parts.retrievers import FirstStages, Retriever
from exabench.tasks.collections import Collection

if TYPE_CHECKING:
    from exabench.data.queries import QuerySource

AT_ONCE = 1000
"""Queries that a first stage is asked together."""


# -- fields of rows and items ---------------------------------------------------------------------------------


def origin(collection: Collection) -> Row:
    """Where a row's texts were read. The revision may be the digest of a file, so call this once for a plan."""
    return {"source": collection.source, "source_revision": collection.revision}


def query_fields(query: Query, source: str) -> Row:
    """A query, and where it comes from."""
    return {"query_id": query.id, "query": query.text, "query_source": source}


def group(positive: Passage, negatives: Mapping[Passage, str]) -> Row:
    """The passages of a contrastive group; each negative with the first stage that brought it."""
    return {
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


def count_values(items: Iterable[Item], *fields: str) -> list[Counter[str]]:
    """Count the values of each field over a plan; the values in a list one by one."""
    counts = [Counter[str]() for _ in fields]
    for item in items:
        for field, count in zip(fields, counts, strict=True):
            value = item.data[field]
            if isinstance(value, str):
                count[value] += 1
            else:
                count.update(value)
    return counts


# -- queries and first stages ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourcedQuery:
    """A query, its origin (exabench.data.queries), and the name of its source."""

    query: Query
    origin: Mapping[str, Any]
    source: str

    @property
    def fields(self) -> Row:
        """The data of an Item about the query."""
        return {**query_fields(self.query, self.source), "replies": self.origin["replies"]}


def sources_by_name(queries: Mapping[str, QuerySource] | QuerySource) -> dict[str, QuerySource]:
    """The sources by name, sorted; a single one has the name of its class."""
    if isinstance(queries, Mapping):
        return dict(sorted(queries.items()))  # the order in a recipe decides nothing
    return {type(queries).__name__.lower(): queries}


def read_queries(sources: Mapping[str, QuerySource]) -> dict[str, list[SourcedQuery]]:
    """The queries of every source. Raises BadInput for an id that two queries have."""
    found: dict[str, list[SourcedQuery]] = {}
    seen = set()
    for name, source in sources.items():
        found[name] = []
        for query, origin in source:
            # The id of a query becomes the id of its row and of its prompts, whatever its source.
            if query.id in seen:
                raise BadInput(f"two queries have this id, one of them of {name}; keep one", id=query.id)
            seen.add(query.id)
            found[name].append(SourcedQuery(query, origin, name))
    return found


def rejected_queries(sources: Iterable[QuerySource]) -> Iterator[Item]:
    """An item for each answer of a teacher that was rejected as a query, so that the quarantine has it."""
    for source in sources:
        for rejection in getattr(source, "rejections", ()):
            said = []
            if rejection.reply is not None:
                reply = rejection.reply
                said.append({"id": reply.id, "text": reply.text, "finish": reply.finish})
            keys = list(filter(None, [rejection.key]))
            yield Item(rejection.id, (), {"replies": keys, "said": said}, rejected=f"query: {rejection.reason}")


def rankings(stage: Retriever, queries: Sequence[Query], depth: int) -> dict[str, list[str]]:
    """The passage ids that a first stage finds for each query, best first; none where it does not answer."""
    found = {}
    for start in range(0, len(queries), AT_ONCE):
        # A Run of all queries at once would be held in memory next to the lists made of it.
        block = queries[start : start + AT_ONCE]
        run = stage.search(block, depth)
        for query in block:
            found[query.id] = run.ranking(query.id)[:depth]
    return found


def all_rankings(
    stages: FirstStages, queries: Sequence[Query], depth: int
) -> Iterator[tuple[Query, dict[str, list[str]]]]:
    """Each query with the rankings of every first stage, as `{stage: passage ids}`, stages by name."""
    for start in range(0, len(queries), AT_ONCE):
        # Deep rankings of all queries would not fit in memory.
        block = queries[start : start + AT_ONCE]
        found: dict[str, dict[str, list[str]]] = {query.id: {} for query in block}
        for name, stage in sorted(stages.items()):
            for query_id, ids in rankings(stage, block, depth).items():
                found[query_id][name] = ids
        for query in block:
            yield query, found[query.id]


def scorer(reranker: Reranker) -> dict[str, Any]:
    """A reranker as a release names it: `model`, and what else it says of itself."""
    return {"model": reranker_name(reranker), **getattr(reranker, "identity", {})}


def best_stages(lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The passages of one query's lists, each with the stage that ranks it highest: of equals the first in `lists`."""
    tagged = []
    for stage, ids in lists.items():
        tagged.append([(id, stage) for id in ids])
    best: dict[str, str] = {}
    for id, stage in interleave(tagged):  # all first places, then all second places
        best.setdefault(id, stage)
    return best
