"""Training triples as they are: a query, a passage that people judged relevant, and one that nobody did.

monoT5 was fitted to those of MS MARCO (Nogueira et al. 2020, arXiv 2003.06713), `triples.train.small`, which
ir_datasets keeps by id as the docpairs of `msmarco-passage/train/triples-small`. No language model is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput
from exabench.nouns import Query, Reply
from exabench.rows import Item, Row

if TYPE_CHECKING:
    from exabench.collections import Collection

_AT_ONCE = 500_000  # triples whose texts are in memory together, about a gigabyte, for one reading of the collection


class Triples:
    """A group of one positive and one negative for each of a collection's first `count` triples (0: for all).

    A passage may be the positive of one triple and the negative of another; what nobody judged may be relevant.
    Raises BadInput for a collection without triples, with fewer, or with an id that it has no text of.
    """

    family = "contrastive"
    prompt = ""

    def __init__(self, collection: Collection, *, count: int = 0) -> None:
        if not hasattr(collection, "triples"):
            raise BadInput(f"{collection.source} has no triples; give a task that ir_datasets keeps some for")
        if count < 0:
            raise BadInput(f"count is {count}; give a number of triples, or 0 for all of them")
        self._collection, self._count = collection, count

    def items(self) -> Iterator[Item]:
        """One for each triple, in the collection's order; the collection is read once for many of them."""
        collection: Any = self._collection  # that it has triples was checked
        triples, made = islice(collection.triples(), self._count or None), 0
        queries = {query.id: query for query in self._collection.queries()}
        while some := list(islice(triples, _AT_ONCE)):
            wanted = {id for _, *pair in some for id in pair}
            texts = {passage.id: passage for passage in self._collection.passages() if passage.id in wanted}
            for query_id, good, other in some:
                if query_id not in queries or not {good, other} <= texts.keys():
                    raise BadInput(f"{self._collection.source} has no text of it", id=f"{query_id}/{good}/{other}")
                yield self._item(made, queries[query_id], texts[good], texts[other])
                made += 1
        if made < self._count:
            raise BadInput(f"{self._collection.source} ends after {made} triples, before the {self._count} wanted")

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The group of an Item."""
        return {"id": item.id, **item.data}

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Triples, and the queries that they are about."""
        queries = [item.data["query_id"] for item in items]
        return {"triples": len(queries), "queries": len(set(queries))}

    def _item(self, number: int, query: Query, good: Any, other: Any) -> Item:
        data = {
            **{"query_id": query.id, "query": query.text, "query_source": "human"},
            **{"positive_id": good.id, "positive_title": good.title, "positive": good.text},
            **{"negative_ids": [other.id], "negative_titles": [other.title], "negatives": [other.text]},
            "negative_sources": [""],  # whoever drew it does not say from where
            **{"source": self._collection.source, "source_revision": self._revision},
        }
        return Item(f"triple-{number}", (), data)

    @cached_property
    def _revision(self) -> str:
        return self._collection.revision
