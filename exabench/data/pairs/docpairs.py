"""Pairs from training triples by id: those that ir_datasets keeps of MS MARCO, with the texts of its collection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from exabench.core.errors import BadInput, plural
from exabench.core.rows import Pair
from exabench.data.pairs._orders import Ids, Walk
from exabench.tasks.collections import FromCollection, queries_of, texts_of, triples_of


@dataclass
class Docpairs(Walk, FromCollection):
    """A collection's triples (query, relevant, other passage), met on a walk: ir_datasets gives their ids.

    Its `msmarco-passage/train/triples-small` is triples.train.small.tsv with every text replaced by its id. A pair that
    is met again is left out, since ids tell it; `count` pairs are given. Raises BadInput where there are fewer, and for
    a collection without triples or with an id that it has no text of.
    """

    def __iter__(self) -> Iterator[Pair]:
        chosen = dict(islice(self._fresh(), self.count))
        if self.count is not None and len(chosen) < self.count:
            have = plural(len(chosen), "pair")
            raise BadInput(f"{self.source} ends after {have}, before the {self.count} that are wanted")
        queries = queries_of(self.collection, (query_id for query_id, _ in chosen))
        passages = texts_of(self.collection, (passage_id for _, passage_id in chosen))
        for (query_id, passage_id), relevant in chosen.items():
            yield Pair(queries[query_id], passages[passage_id], relevant)

    def _fresh(self) -> Iterator[tuple[Ids, bool]]:
        """The pairs that the walk gives, each at its first turn."""
        seen: set[Ids] = set()
        for (query_id, good, other), relevant in self.labelled(triples_of(self.collection)):
            pair = (query_id, good if relevant else other)
            if pair not in seen:
                seen.add(pair)
                yield pair, relevant
