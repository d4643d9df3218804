"""Pairs that people judged: a task's judgements, both classes by turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from exabench.core.nouns import Qrels
from exabench.core.rows import Pair
from exabench.data.judgements import judgements_with_texts
from exabench.data.pairs._orders import Ids, SeededPairs, read_pairs
from exabench.data.sampling import by_turns, draw


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
        judged = judgements_with_texts(self.collection, self.split, self.threshold)
        pairs: dict[Ids, bool] = {}
        for query_id, grades in judged.items():
            for passage_id, grade in grades.items():
                pairs[query_id, passage_id] = grade >= self.threshold
        order = self.in_order(pairs)
        relevant = [pair for pair in order if pairs[pair]]
        others = [pair for pair in order if not pairs[pair]]

        chosen = [(pair, True) for pair in relevant]
        if self.classes == "balanced":
            if not others:
                others = self._draw_unjudged([query_id for query_id, _ in relevant], judged)
            size = min(len(relevant), len(others))
            chosen = by_turns([[(pair, False) for pair in others[:size]], chosen[:size]])
        yield from read_pairs(self.collection, dict(chosen[: self.count]))

    def _draw_unjudged(self, query_ids: list[str], judged: Qrels) -> list[Ids]:
        """For each query of the list in turn, one passage of the collection that it has no judgement of."""
        enough = len(query_ids) + max(len(judged[query_id]) for query_id in query_ids)
        pool = deque(draw((passage.id for passage in self.collection.passages()), enough, self.key))
        found: list[Ids] = []
        for query_id in query_ids:
            passed_over: list[str] = []
            while pool and pool[0] in judged[query_id]:
                passed_over.append(pool.popleft())
            if not pool:
                break  # a collection with hardly more passages than relevant pairs
            found.append((query_id, pool.popleft()))
            pool.extendleft(reversed(passed_over))  # another query may take them
        return found
