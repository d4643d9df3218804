"""Another first stage's best, reranked: BM25's 100 under monoT5 are the fourth first stage of TWOLAR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.runs import run_of, top
from exabench.parts.retrievers import Retriever

if TYPE_CHECKING:
    from exabench.parts.rerankers import Reranker


class TwoStage:
    """The best `first_depth` passages of a first stage in the order of a reranker; passages below are dropped.

    Both parts come ready made. `passages` are those that the first stage searches; only the texts of found ones are
    kept while they are scored, and none are read for a reranker that looks at ids alone. Passages that can be read
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
            raise BadInput("a first stage may not see the judgements: choose a reranker that reads texts or ids")
        if isinstance(passages, Iterator) and reranker.reads != "ids":
            passages = list(passages)  # each search reads them again
        self._passages = passages
        self._first_stage = first_stage
        self._reranker: Any = reranker
        self._depth = first_depth
        self.parameters = {
            "first_depth": first_depth,
            "first_stage": {"part": type(first_stage).__name__.lower(), **first_stage.parameters},
            "reranker": {"part": type(reranker).__name__.lower(), **getattr(reranker, "identity", {})},
        }

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The reranked passages of every query that the first stage answers, cut at `depth`."""
        found = top(self._first_stage.search(queries, self._depth), self._depth)
        rankings = {query_id: found.ranking(query_id) for query_id in found}
        wanted = {id for ids in rankings.values() for id in ids}
        if self._reranker.reads == "ids":  # saves a pass over the collection
            passages = {id: Passage(id, "") for id in wanted}
        else:
            passages = {passage.id: passage for passage in self._passages if passage.id in wanted}
        strange = wanted - passages.keys()
        if strange:
            raise BadInput("the first stage found a passage that is not in the collection", id=min(strange))

        by_id = {query.id: query for query in queries}
        jobs = [(by_id[query_id], [passages[id] for id in ids]) for query_id, ids in rankings.items()]
        if hasattr(self._reranker, "score_many"):
            values = [scores for scores, _ in self._reranker.score_many(jobs)]
        else:
            values = [self._reranker.score(query, some) for query, some in jobs]
        scores = {}
        for (query_id, ids), row in zip(rankings.items(), values, strict=True):
            scores[query_id] = dict(zip(ids, row, strict=True))
        return top(run_of("two-stage", scores), depth)
