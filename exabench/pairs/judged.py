"""Pairs that people judged: a task's judgements, both classes by turns."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from exabench.errors import BadInput
from exabench.nouns import Qrels
from exabench.pairs._drawing import by_turns, counted, passages_of, place
from exabench.rows import Pair

if TYPE_CHECKING:
    from exabench.collections import Collection

CLASSES = ("balanced", "relevant")
Ids = tuple[str, str]


class Judged:
    """The judged pairs of a split in a seeded order, alternating, a non-relevant one first.

    Relevant is a grade of `threshold` or more. The others are the passages judged below it or, where a collection
    judges relevant ones only, passages drawn from those that nobody judged for the query: one for every relevant one.
    Of the larger class as many stay as the smaller has; `count` cuts further, and `classes` "relevant" leaves the
    others out. A judged pair whose text the collection lacks (a pool is no whole collection) is left out. The order is
    that of digests, so an added judgement moves no other pair.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        split: str = "train",
        count: int | None = None,
        seed: int = 0,
        threshold: int = 1,
        classes: str = "balanced",
    ) -> None:
        if classes not in CLASSES:
            raise BadInput(f"classes is {classes!r}; choose {' or '.join(CLASSES)}")
        self._collection, self._split, self._classes = collection, split, classes
        self._count, self._seed, self._threshold = counted(count), seed, threshold

    @property
    def source(self) -> str:
        """The collection's own name for itself."""
        return self._collection.source

    @property
    def source_revision(self) -> str:
        """The collection's."""
        return self._collection.revision

    def __iter__(self) -> Iterator[Pair]:
        relevant, others = self._drawn(self._collection.qrels(self._split))
        if self._classes == "relevant":
            chosen = [(True, pair) for pair in relevant[: self._count]]
        else:
            chosen = list(
                by_turns([(False, pair) for pair in others], [(True, pair) for pair in relevant], self._count)
            )
        passages = passages_of(self._collection, {passage_id for _, (_, passage_id) in chosen})
        queries = {query.id: query for query in self._collection.queries()}
        for label, (query_id, passage_id) in chosen:
            yield Pair(queries[query_id], passages[passage_id], label)

    def _drawn(self, qrels: Qrels) -> tuple[list[Ids], list[Ids]]:
        """The ids of relevant pairs and of the others, each in the order of the seed."""
        queries = {query.id for query in self._collection.queries()}
        judged = {(q, p): grade for q, row in qrels.items() if q in queries for p, grade in row.items()}
        wanted = {passage_id for _, passage_id in judged}
        there = {passage.id for passage in self._collection.passages() if passage.id in wanted}
        known = sorted((pair for pair in judged if pair[1] in there), key=lambda pair: place(self._seed, *pair))
        relevant = [pair for pair in known if judged[pair] >= self._threshold]
        others = [pair for pair in known if judged[pair] < self._threshold]
        if not relevant:
            raise BadInput(
                f"split {self._split} of {self._collection.source} holds no text that was judged relevant "
                f"(a grade of {self._threshold} or more); give another split or threshold"
            )
        if not others and self._classes == "balanced":
            others = self._unjudged([query_id for query_id, _ in relevant], qrels)
        return relevant, others

    def _unjudged(self, query_ids: list[str], qrels: Qrels) -> list[Ids]:
        """For each query of the list in turn, one passage of the collection that it has no judgement of."""
        ids = (passage.id for passage in self._collection.passages())
        enough = len(query_ids) + max(len(qrels[query_id]) for query_id in query_ids)
        pool = deque(heapq.nsmallest(enough, ids, key=lambda id: place(self._seed, id)))
        found: list[Ids] = []
        for query_id in query_ids:
            judged: list[str] = []
            while pool and pool[0] in qrels[query_id]:
                judged.append(pool.popleft())
            if not pool:
                break  # a collection with hardly more passages than relevant pairs
            found.append((query_id, pool.popleft()))
            pool.extendleft(reversed(judged))  # another query may take them
        return found
