"""Another first stage's best, reranked: BM25's 100 under monoT5 are the fourth first stage of TWOLAR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
        needed = reranker.reads != "ids"
        self._passages = list(passages) if needed and isinstance(passages, Iterator) else passages
        self._first_stage = first_stage
        self._reranker = reranker
        self._depth = first_depth
        self.parameters: dict[str, Any] = {
            "first_depth": first_depth,
            "first_stage": {"part": _name(first_stage), **first_stage.parameters},
            "reranker": {"part": _name(reranker), **getattr(reranker, "identity", {})},
        }

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The reranked passages of every query that the first stage answers, cut at `depth`."""
        found = top(self._first_stage.search(queries, self._depth), self._depth)
        rankings = {query_id: found.ranking(query_id) for query_id in found}
        passages = self._texts(rankings.values())
        by_id = {query.id: query for query in queries}
        jobs = ((by_id[query_id], [passages[id] for id in ids]) for query_id, ids in rankings.items())
        scores: dict[str, dict[str, float]] = {}
        for query_id, values in zip(rankings, _scored(self._reranker, jobs), strict=True):
            scores[query_id] = dict(zip(rankings[query_id], values, strict=True))
        return top(run_of("two-stage", scores), depth)

    def _texts(self, rankings: Iterable[list[str]]) -> Mapping[str, Passage]:
        """The passages of these rankings, by id. Raises BadInput for one that the collection does not hold."""
        wanted = {id for ids in rankings for id in ids}
        if self._reranker.reads == "ids":
            return {id: Passage(id, "") for id in wanted}
        texts = {passage.id: passage for passage in self._passages if passage.id in wanted}
        if len(texts) < len(wanted):
            raise BadInput("the first stage found a passage that is not in the collection", id=min(wanted - set(texts)))
        return texts


def _scored(reranker: Any, jobs: Iterable[tuple[Query, list[Passage]]]) -> Iterator[list[float]]:
    """The scores of every job in the order given."""
    if hasattr(reranker, "score_many"):
        return (values for values, _ in reranker.score_many(jobs))
    return (reranker.score(query, passages) for query, passages in jobs)


def _name(part: object) -> str:
    return type(part).__name__.lower()
