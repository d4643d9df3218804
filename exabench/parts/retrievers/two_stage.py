"""A first stage followed by a reranker: BM25's 100 under monoT5 are the fourth first stage of TWOLAR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.runs import select_queries, top
from exabench.parts.own_rerankers import reranker_name
from exabench.parts.reranking import rerank
from exabench.parts.retrievers import Retriever

if TYPE_CHECKING:
    from exabench.parts.rerankers import Reranker


class TwoStage:
    """The best `first_depth` passages of a first stage in the order of a reranker; passages below are dropped.

    Both parts come ready made. `passages` are those that the first stage searches; only the texts of found ones are
    kept while they are scored, and none are read for a reranker that reads only ids. Passages that can be read
    only once are put into a list.
    """

    whole = True
    composes = True

    def __init__(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...] = ("title", "text"),
        *,
        first_stage: Retriever,
        reranker: Reranker,
        first_depth: int = 100,
    ) -> None:
        if first_depth < 1:
            raise BadInput(f"first_depth must be at least 1, not {first_depth}")
        if reranker.reads == "judgements":
            raise BadInput("a first stage must not see the judgements: choose a reranker that reads texts or ids")
        if isinstance(passages, Iterator) and reranker.reads != "ids":
            passages = list(passages)  # each search reads them again
        self._passages = passages
        self._first_stage = first_stage
        self._reranker = reranker
        self._depth = first_depth
        self.deepest = first_depth
        self.parameters = {
            "first_depth": first_depth,
            "first_stage": {"part": type(first_stage).__name__.lower(), **first_stage.parameters},
            "reranker": {"part": reranker_name(reranker), **getattr(reranker, "identity", {})},
        }

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The reranked passages of every query that the first stage answers, cut at `depth`."""
        by_id = {query.id: query for query in queries}
        found = select_queries(top(self._first_stage.search(queries, self._depth), self._depth), set(by_id))
        passages = {}
        if self._reranker.reads != "ids":  # else a pass over the collection is saved
            wanted = set[str]()
            for query_id in found:
                wanted.update(found.ranking(query_id))
            passages = {passage.id: passage for passage in self._passages if passage.id in wanted}
            strange = wanted - passages.keys()
            if strange:
                raise BadInput("the first stage found a passage that is not in the collection", id=min(strange))
        reranked, _ = rerank(self._reranker, found, by_id, passages, "two-stage")
        return top(reranked, depth)
