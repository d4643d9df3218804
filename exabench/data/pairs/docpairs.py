"""Pairs from training triples by id: those that ir_datasets keeps of MS MARCO, with the texts of its collection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exabench.core.errors import BadInput, plural
from exabench.core.rows import Pair
from exabench.data.pairs._orders import Ids, Walk, read_pairs
from exabench.tasks.collections import FromCollection, triples_of


@dataclass
class Docpairs(Walk, FromCollection):
    """A collection's triples (query, relevant, other passage), met on a walk: ir_datasets gives their ids.

    Its `msmarco-passage/train/triples-small` is triples.train.small.tsv with every text replaced by its id. A pair that
    is met again is left out, since ids tell it; `count` pairs are given. Raises BadInput where there are fewer, and for
    a collection without triples or with an id that it has no text of.
    """

    def __iter__(self) -> Iterator[Pair]:
        chosen: dict[Ids, bool] = {}
        for (query_id, good, other), relevant in self.walk(triples_of(self.collection)):
            if len(chosen) == self.count:
                break
            # A pair that is met again keeps its place and the class it was met with first.
            chosen.setdefault((query_id, good if relevant else other), relevant)
        if self.count is not None and len(chosen) < self.count:
            raise BadInput(
                f"{self.source} ends after {plural(len(chosen), 'pair')}, before the {self.count} that are wanted"
            )
        yield from read_pairs(self.collection, chosen)
