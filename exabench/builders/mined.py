"""Contrastive groups out of people's judgements: a relevant passage, and hard negatives that first stages bring.

No language model is asked. Negatives are sampled from the top of the very first stage that is to be reranked, as LCE
does it (Gao et al. 2021, arXiv 2101.08751).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exabench.builders._ranked import rankings
from exabench.errors import BadInput, plural
from exabench.files import digest_of
from exabench.nouns import Passage, Query, Reply
from exabench.rows import Item, Rejected, Row

if TYPE_CHECKING:
    from exabench.collections import Collection
    from exabench.retrievers import Retriever


class Mined:
    """One group for each passage that people judged relevant (a grade of `threshold` or more) to a query of `split`.

    `count` takes so many queries (0: all there are), `per_query` so many of the relevant passages of each (0: all of
    them): those of the highest grades, and among equals the seed and the ids decide. Up to `negatives` passages are
    drawn, anew for every group, from what each first stage ranks behind its first `skip_top` and within its best
    `depth`; a passage judged relevant is never one, and neither is one with the very words of such a passage. A group
    with fewer than `least` negatives is rejected (0: than `negatives`). A relevant passage whose text the collection
    lacks (a pool is no whole collection) is left out.
    """

    family = "contrastive"
    prompt = ""

    def __init__(
        self,
        collection: Collection,
        retrievers: Mapping[str, Retriever],
        *,
        split: str = "train",
        threshold: int = 1,
        count: int = 0,
        per_query: int = 0,
        negatives: int = 7,
        least: int = 0,
        depth: int = 100,
        skip_top: int = 0,
        seed: int = 0,
    ) -> None:
        if not retrievers:
            raise BadInput("mined needs retrievers, whose best passages are its negatives, as in [options.retrievers]")
        if not 0 <= least <= negatives or min(negatives, threshold) < 1 or min(count, per_query) < 0:
            raise BadInput(
                "mined needs negatives and a threshold of at least 1, no least beyond negatives, and no count or "
                "per_query below 0"
            )
        if not 0 <= skip_top < depth:
            raise BadInput(f"mined needs a depth beyond skip_top, not depth {depth} and skip_top {skip_top}")
        self._collection, self._stages, self._split = collection, retrievers, split
        self._threshold, self._count, self._per_query, self._seed = threshold, count, per_query, seed
        self._negatives, self._least, self._depth, self._skip_top = negatives, least or negatives, depth, skip_top

    def items(self) -> Iterator[Item]:
        """One Item for each relevant passage, the queries in the order of the seed."""
        relevant = self._relevant()
        asked = {query.id: query for query in self._collection.queries() if query.id in relevant}
        order = sorted(asked, key=lambda id: digest_of([self._seed, id]))
        if len(order) < self._count:
            have = plural(len(order), "judged query", "judged queries")
            raise BadInput(f"mined: {self._collection.source} has {have}, not {self._count}")
        queries = [asked[id] for id in order[: self._count or None]]
        pools = self._pools(queries, relevant)
        positives = {query.id: self._positives(query.id, relevant[query.id]) for query in queries}
        wanted = {id for query in queries for id in (*pools[query.id], *relevant[query.id])}
        texts = {passage.id: passage for passage in self._collection.passages() if passage.id in wanted}
        for query in queries:
            said = {_words(texts[id]) for id in relevant[query.id]}
            pool = {id: stage for id, stage in pools[query.id].items() if _words(texts[id]) not in said}
            for positive in positives[query.id]:
                yield self._item(query, texts[positive], pool, texts)

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The group of an Item. Raises Rejected where negatives are too few."""
        data = item.data
        if len(data["negative_ids"]) < self._least:
            raise Rejected(f"fewer than {self._least} negatives")
        return {"id": item.id, **data}

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries, groups, and which first stage brought how many negatives."""
        counted: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        for item in items:
            groups[item.data["query_id"]] += 1
            counted.update(item.data["negative_sources"])
        return {
            "queries": len(groups),
            "groups": groups.total(),
            "most_groups_of_a_query": max(groups.values(), default=0),
            "negatives_by_source": dict(sorted(counted.items())),
        }

    def _relevant(self) -> dict[str, dict[str, int]]:
        """The relevant passages of each query with their grades, those alone whose text is there."""
        qrels = self._collection.qrels(self._split)
        relevant = {q: {p: grade for p, grade in row.items() if grade >= self._threshold} for q, row in qrels.items()}
        wanted = {id for row in relevant.values() for id in row}
        there = {passage.id for passage in self._collection.passages() if passage.id in wanted}
        kept = {q: {p: grade for p, grade in row.items() if p in there} for q, row in relevant.items()}
        if not any(kept.values()):
            raise BadInput(
                f"split {self._split} of {self._collection.source} holds no text that was judged relevant "
                f"(a grade of {self._threshold} or more); give another split or threshold"
            )
        return {q: row for q, row in kept.items() if row}

    def _positives(self, query_id: str, grades: Mapping[str, int]) -> list[str]:
        ranked = sorted(grades, key=lambda id: (-grades[id], digest_of([self._seed, query_id, id])))
        return ranked[: self._per_query or None]

    def _pools(self, queries: Sequence[Query], relevant: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, str]]:
        """For each query what may be a negative, with its first stage: of several that which ranks it highest."""
        best: dict[str, dict[str, tuple[int, str]]] = {query.id: {} for query in queries}
        for stage in sorted(self._stages):
            for query_id, ids in rankings(self._stages[stage], queries, self._depth).items():
                own = best[query_id]
                for rank, id in enumerate(ids[self._skip_top :]):
                    if id not in relevant[query_id]:
                        own[id] = min(own.get(id, (rank, stage)), (rank, stage))
        return {query_id: {id: stage for id, (_, stage) in own.items()} for query_id, own in best.items()}

    def _item(self, query: Query, positive: Passage, pool: Mapping[str, str], texts: Mapping[str, Passage]) -> Item:
        drawn = sorted(pool, key=lambda id: digest_of([self._seed, query.id, positive.id, id]))[: self._negatives]
        data = {
            **{"query_id": query.id, "query": query.text, "query_source": "human"},
            **{"positive_id": positive.id, "positive_title": positive.title, "positive": positive.text},
            "negative_ids": drawn,
            "negative_titles": [texts[id].title for id in drawn],
            "negatives": [texts[id].text for id in drawn],
            "negative_sources": [pool[id] for id in drawn],
            **{"source": self._collection.source, "source_revision": self._revision},
        }
        return Item(f"{query.id}/{positive.id}", (), data)

    @cached_property
    def _revision(self) -> str:
        return self._collection.revision


def _words(passage: Passage) -> tuple[str, ...]:
    """What a passage says, whatever its blanks."""
    return tuple(passage.text.split())
