"""Training triples unchanged: a query, a passage judged relevant, and an unjudged one.

monoT5 was fitted to those of MS MARCO (Nogueira et al. 2020, arXiv 2003.06713), `triples.train.small`, which
ir_datasets keeps by id as the docpairs of `msmarco-passage/train/triples-small`. No language model is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Reply
from exabench.core.rows import Item, Row
from exabench.data.builders._sources import count_values, group, origin, query_fields
from exabench.tasks.collections import Collection, queries_of, texts_of, triples_of

AT_ONCE = 500_000
"""Triples whose texts are held together: the collection is read once for so many."""


@dataclass
class TriplesBuilder:
    """A group of one positive and one negative for each of a collection's first `count` triples (0: for all).

    A passage may be the positive of one triple and the negative of another; what no one judged may be relevant.
    Raises BadInput for a collection without triples, with fewer, or with an id that it has no text of.
    """

    family = "contrastive"
    prompt = ""

    collection: Collection
    _: KW_ONLY
    count: int = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise BadInput(f"count is {self.count}; give a number of triples, or 0 for all of them")

    def items(self) -> Iterator[Item]:
        """One for each triple, in the collection's order; the collection is read once for many of them."""
        triples = islice(triples_of(self.collection), self.count or None)
        about = origin(self.collection)
        made = 0
        while block := list(islice(triples, AT_ONCE)):
            query_ids, good_ids, other_ids = zip(*block, strict=True)
            queries = queries_of(self.collection, query_ids)
            texts = texts_of(self.collection, good_ids + other_ids)
            for query_id, good, other in block:
                negatives = {texts[other]: ""}  # the triples do not say where it was drawn from
                data = {**query_fields(queries[query_id], "human"), **group(texts[good], negatives), **about}
                yield Item(f"triple-{made}", (), data)
                made += 1
        if made < self.count:
            raise BadInput(f"{self.collection.source} ends after {made} triples, before the {self.count} requested")

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The group of an Item."""
        return [{"id": item.id, **item.data}]

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Triples, and the queries that they are about."""
        [triples] = count_values(items, "query_id")
        return {"triples": triples.total(), "queries": len(triples)}
