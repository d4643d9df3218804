"""Lists in the order of a published run: what a first stage found, as a reranker ranked it elsewhere.

No model is asked. The prompts and answers behind the run are not known, so rows have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.files import file_below, file_digest
from exabench.core.nouns import Reply
from exabench.core.rows import Item, Rejected, Row, labels_of_order
from exabench.data.builders._sources import (
    count_values,
    origin,
    passage_list,
    rankings,
    read_queries,
    sources_by_name,
)
from exabench.data.sampling import draw
from exabench.measure.runs import read_run
from exabench.parts.permutation import KINDS
from exabench.parts.retrievers import FirstStages
from exabench.tasks.collections import Collection, texts_of

if TYPE_CHECKING:
    from exabench.data.queries import QuerySource


@dataclass
class Recorded:
    """One list a query: of the first stage's best `documents` those that the run ranks, in the order of the run.

    `run` is a TREC run (a path, or one below --data), `made_by` the model that ranked it, and `made_by_revision` its
    version where that is known. A query of which the run ranks fewer than two of these passages is rejected. What the
    run ranks and the first stage did not find is left out. The order of the lists is that of the seed.
    """

    family = "listwise"
    prompt = ""

    collection: Collection
    queries: QuerySource
    retrievers: FirstStages
    _: KW_ONLY
    run: str
    made_by: str
    made_by_revision: str = ""
    documents: int = 100
    seed: int = 0
    data: str | Path | None = None

    def __post_init__(self) -> None:
        if self.documents < 2:
            raise BadInput(f"recorded needs documents of at least 2, not {self.documents}")
        if len(self.retrievers) != 1 or isinstance(self.queries, Mapping):
            raise BadInput("recorded needs one source of queries, and the one first stage that the run reranked")

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The model that ranked, and the run by which its order is known."""
        file = self._file
        return {
            "model": self.made_by,
            "revision": self.made_by_revision,
            "run": file.name,
            "run_digest": file_digest(file),
        }

    @property
    def _file(self) -> Path:
        return file_below(self.data, self.run)

    def items(self) -> Iterator[Item]:
        """One item a query, with the passages of the first stage that the run ranks, in the run's order."""
        run = read_run(self._file)
        [(stage, retriever)] = self.retrievers.items()
        [queries] = read_queries(sources_by_name(self.queries)).values()
        asked = draw(queries, None, lambda one: [self.seed, one.query.id])
        found = rankings(retriever, [one.query for one in asked], self.documents)
        ranked = {}
        wanted = set[str]()
        for one in asked:
            ranks = {id: rank for rank, id in enumerate(found[one.query.id], 1)}
            ranked[one.query.id] = {id: ranks[id] for id in run.ranking(one.query.id) if id in ranks}
            wanted.update(ranked[one.query.id])

        texts = texts_of(self.collection, wanted)
        about = origin(self.collection)
        for one in asked:
            ranks = ranked[one.query.id]
            data = {
                **one.fields,
                "first_stage": stage,
                **about,
                **passage_list([texts[id] for id in ranks]),
                "first_stage_ranks": list(ranks.values()),
            }
            yield Item(one.query.id, (), data)

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The list in the run's order. Raises Rejected where the run ranks too few of its passages."""
        row = {"id": item.id, **item.data}
        del row["replies"]
        size = len(row["passage_ids"])
        if size < 2:
            raise Rejected("the run ranks fewer than two passages of the first stage")
        # What the answers behind the run needed is not known.
        repairs = dict.fromkeys(KINDS, -1)
        return [{**row, "labels": labels_of_order(size), "method": "recorded run", **repairs}]

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Lists, and their passages."""
        [passages] = count_values(items, "passage_ids")
        return {"passages": passages.total()}
