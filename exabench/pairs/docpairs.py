"""Pairs from training triples by id: those that ir_datasets keeps of MS MARCO, with the texts of its collection."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput, plural
from exabench.pairs._drawing import counted, passages_of
from exabench.pairs._walk import Walk
from exabench.rows import Pair

if TYPE_CHECKING:
    from exabench.collections import Collection

Ids = tuple[str, str]


class Docpairs:
    """A collection's triples (query, relevant, other passage), met on a walk (`Walk`): `triples()` gives their ids.

    ir_datasets' `msmarco-passage/train/triples-small` is triples.train.small.tsv with every text replaced by its id.
    A pair that is met again is left out, since ids tell it; `count` pairs are given. Raises BadInput where there are
    fewer, and for a collection without triples or with an id that it has no text of.
    """

    def __init__(
        self, collection: Collection, *, count: int | None = None, way: str = "paper", seed: int = 2, step: int = 10
    ) -> None:
        if not hasattr(collection, "triples"):
            raise BadInput(f"{collection.source} has no triples; give a task that ir_datasets keeps some for")
        self._collection, self._count, self._walk = collection, counted(count), Walk(way, seed, step)

    @property
    def source(self) -> str:
        """The collection's own name for itself."""
        return self._collection.source

    @property
    def source_revision(self) -> str:
        """The collection's."""
        return self._collection.revision

    def __iter__(self) -> Iterator[Pair]:
        chosen = dict(islice(self._fresh(), self._count))
        if self._count is not None and len(chosen) < self._count:
            raise BadInput(
                f"{self.source} ends after {plural(len(chosen), 'pair')}, before the {self._count} that are wanted"
            )
        asked = {query_id for query_id, _ in chosen}
        queries = {query.id: query for query in self._collection.queries() if query.id in asked}
        passages = passages_of(self._collection, {passage_id for _, passage_id in chosen})
        for (query_id, passage_id), relevant in chosen.items():
            if query_id not in queries or passage_id not in passages:
                raise BadInput(f"{self.source} has no text of it", id=f"{query_id}/{passage_id}")
            yield Pair(queries[query_id], passages[passage_id], relevant)

    def _fresh(self) -> Iterator[tuple[Ids, bool]]:
        """The pairs that the walk gives, each at its first turn."""
        seen: set[Ids] = set()
        collection: Any = self._collection  # that it has triples was checked
        for (query_id, good, other), relevant in self._walk.labelled(collection.triples()):
            pair = (query_id, good if relevant else other)
            if pair not in seen:
                seen.add(pair)
                yield pair, relevant
