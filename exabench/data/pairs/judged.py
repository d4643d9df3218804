"""Pairs that people judged: a task's judgements, alternating between the classes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from exabench.core.rows import Pair
from exabench.data.judgements import judgements_with_texts
from exabench.data.pairs._orders import SeededPairs, read_pairs
from exabench.data.sampling import draw


@dataclass(kw_only=True)
class Judged(SeededPairs):
    """The judged pairs of a split in a seeded order, alternating, a non-relevant one first.

    Relevant is a grade of `threshold` or more. The others are the passages judged below it or, where a collection
    judges relevant ones only, passages drawn from the unjudged ones: one for each relevant one.
    Of the larger class as many stay as the smaller has; `count` cuts further, and `classes` "relevant" leaves the
    others out. A judged pair whose text the collection lacks (a pool is not a whole collection) is dropped. The order
    is that of digests, so an added judgement moves no other pair.
    """

    threshold: int = 1
    classes: Literal["balanced", "relevant"] = "balanced"

    def __iter__(self) -> Iterator[Pair]:
        grades = judgements_with_texts(self.collection, self.split, self.threshold)
        order = self.seeded_order(grades)
        relevant = [pair for pair in order if grades[pair] >= self.threshold]
        others = [pair for pair in order if grades[pair] < self.threshold]
        chosen = dict.fromkeys(relevant, True)
        if self.classes == "balanced":
            if not others:
                # A query skips its judged passages alone, so that twice as many passages as pairs are enough.
                pool = deque(draw((passage.id for passage in self.collection.passages()), 2 * len(relevant), self.key))
                for query_id, _ in relevant:
                    passed_over = []
                    while pool and (query_id, pool[0]) in grades:
                        passed_over.append(pool.popleft())
                    if not pool:
                        break  # a collection with hardly more passages than relevant pairs
                    others.append((query_id, pool.popleft()))
                    pool.extendleft(reversed(passed_over))  # another query may take them
            chosen = {}
            for pair, other in zip(relevant, others, strict=False):  # as far as the smaller class goes
                chosen[other] = False
                chosen[pair] = True
        yield from read_pairs(self.collection, dict(islice(chosen.items(), self.count)))
