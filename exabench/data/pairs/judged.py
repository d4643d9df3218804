"""Pairs that people judged: a task's judgements, both classes by turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from exabench.core.errors import BadInput
from exabench.core.nouns import Qrels
from exabench.core.rows import Pair
from exabench.data.pairs._orders import Ids, SeededPairs
from exabench.data.sampling import by_turns, draw
from exabench.tasks.collections import queries_of, texts_of


@dataclass(kw_only=True)
class Judged(SeededPairs):
    """The judged pairs of a split in a seeded order, alternating, a non-relevant one first.

    Relevant is a grade of `threshold` or more. The others are the passages judged below it or, where a collection
    judges relevant ones only, passages drawn from those that nobody judged for the query: one for every relevant one.
    Of the larger class as many stay as the smaller has; `count` cuts further, and `classes` "relevant" leaves the
    others out. A judged pair whose text the collection lacks (a pool is no whole collection) is left out. The order is
    that of digests, so an added judgement moves no other pair.
    """

    threshold: int = 1
    classes: Literal["balanced", "relevant"] = "balanced"

    def __iter__(self) -> Iterator[Pair]:
        relevant, others = self._drawn(self.collection.qrels(self.split))
        if self.classes == "balanced":
            size = min(len(relevant), len(others))
            chosen = by_turns([[(pair, False) for pair in others[:size]], [(pair, True) for pair in relevant[:size]]])
        else:
            chosen = [(pair, True) for pair in relevant]
        chosen = chosen[: self.count]
        passages = texts_of(self.collection, (passage_id for (_, passage_id), _ in chosen))
        queries = queries_of(self.collection, (query_id for (query_id, _), _ in chosen))
        for (query_id, passage_id), label in chosen:
            yield Pair(queries[query_id], passages[passage_id], label)

    def _drawn(self, qrels: Qrels) -> tuple[list[Ids], list[Ids]]:
        """The ids of relevant pairs and of the others, each in the order of the seed."""
        grades: dict[Ids, int] = {}
        for query in self.collection.queries():
            for passage_id, grade in qrels.get(query.id, {}).items():
                grades[query.id, passage_id] = grade
        wanted = {passage_id for _, passage_id in grades}
        there = {passage.id for passage in self.collection.passages() if passage.id in wanted}
        known = self.in_order(pair for pair in grades if pair[1] in there)
        relevant = [pair for pair in known if grades[pair] >= self.threshold]
        others = [pair for pair in known if grades[pair] < self.threshold]
        if not relevant:
            raise BadInput(
                f"split {self.split} of {self.source} holds no text that was judged relevant "
                f"(a grade of {self.threshold} or more); give another split or threshold"
            )
        if not others and self.classes == "balanced":
            others = self._unjudged([query_id for query_id, _ in relevant], qrels)
        return relevant, others

    def _unjudged(self, query_ids: list[str], qrels: Qrels) -> list[Ids]:
        """For each query of the list in turn, one passage of the collection that it has no judgement of."""
        enough = len(query_ids) + max(len(qrels[query_id]) for query_id in query_ids)
        pool = deque(draw((passage.id for passage in self.collection.passages()), enough, self.key))
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
