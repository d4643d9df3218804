"""Lists with soft scores: the passages that first stages find for a query, scored by a reranker or by fusion.

No language model is asked. These are the groups of distillation from scores: MarginMSE (Hofstatter et al. 2020, arXiv
2010.02666), KL divergence and RankNet alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from exabench.builders._parts import texts_of
from exabench.builders._ranked import rankings
from exabench.builders._sources import in_turn
from exabench.errors import BadInput
from exabench.nouns import Passage, Query, Reply
from exabench.rank_fusion import best_first, fuse
from exabench.rows import Item, Rejected, Row

if TYPE_CHECKING:
    from exabench.collections import Collection
    from exabench.queries import QuerySource
    from exabench.rerankers import Reranker
    from exabench.retrievers import Retriever

_Asked: TypeAlias = tuple[Query, Mapping[str, Any], str]
"""A query, its origin and its source."""


class Scored:
    """One list for each query of every source: the `documents` best of the first stages' best `depth`, with scores.

    Which passages are best is said by reciprocal rank fusion of the first stages (`k`; of one stage alone it is its
    order). With a `reranker` the scores and the order of the list are that part's; without one they are those of the
    fusion, and the teacher of the rows is called `rrf(<first stages>)`. `keep_origin`: may the passage that a query was
    made of be in its list? (Twolar's lists keep it as well.) A list of fewer than `least` passages is rejected. Items
    take the sources in turn, so that the head of a plan is mixed as the whole is.
    """

    family = "scored"
    prompt = ""

    def __init__(
        self,
        collection: Collection,
        queries: Mapping[str, QuerySource] | QuerySource,
        retrievers: Mapping[str, Retriever],
        *,
        reranker: Reranker | None = None,
        documents: int = 30,
        depth: int = 100,
        k: int = 60,
        least: int = 2,
        keep_origin: bool = True,
    ) -> None:
        if not 2 <= least <= documents <= depth or k < 0:
            raise BadInput(
                "scored needs 2 <= least <= documents <= depth and no k below 0, not "
                f"least {least}, documents {documents}, depth {depth}, k {k}"
            )
        sources = queries if isinstance(queries, Mapping) else {type(queries).__name__.lower(): queries}
        if not sources or not retrievers:
            raise BadInput("scored needs a source of queries and a first stage, as in [options.retrievers]")
        if reranker is not None and reranker.reads == "judgements":
            raise BadInput("a teacher may not see the judgements: choose a reranker that reads texts or ids")
        self._collection, self._queries, self._stages = collection, dict(sorted(sources.items())), retrievers
        self._reranker, self._documents, self._depth, self._k = reranker, documents, depth, k
        self._least, self._keep_origin = least, keep_origin
        self.identity: Mapping[str, Any] = _identity(reranker, sorted(retrievers), k)

    def items(self) -> Iterator[Item]:
        """One Item a query: its passages in the order of the fusion, each with its fused score and its first stages.

        Raises BadInput for an id that two queries have.
        """
        asked = self._asked()
        lists = self._lists([query for query, *_ in asked])
        chosen = {query.id: self._chosen(lists[query.id], origin) for query, origin, _ in asked}
        texts = texts_of(self._collection, (id for own in chosen.values() for id in own))
        about = {"source": self._collection.source, "source_revision": self._collection.revision}
        for query, origin, source in asked:
            own = chosen[query.id]
            data = {
                **{"query_id": query.id, "query": query.text, "query_source": source},
                **_columns([texts[id] for id in own], list(own.values())),
                "first_stages": [_bringers(id, lists[query.id]) for id in own],
            }
            yield Item(query.id, (), data | about | {"replies": list(origin.get("replies", ()))})

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The list with its teacher's scores, best first. Raises Rejected where it is too short."""
        row = {"id": item.id, **{name: value for name, value in item.data.items() if name != "replies"}}
        if len(row["passage_ids"]) < self._least:
            raise Rejected(f"the first stages found fewer than {self._least} passages")
        return row if self._reranker is None else row | self._rescored(self._reranker, row)

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries by source, passages, and how many of these which first stages brought."""
        sizes, stages = Counter[str](), Counter[str]()
        for item in items:
            sizes[item.data["query_source"]] += 1
            stages.update(item.data["first_stages"])
        return {
            "queries": dict(sorted(sizes.items())),
            "passages": stages.total(),
            "passages_by_first_stages": dict(sorted(stages.items())),
        }

    def _asked(self) -> list[_Asked]:
        seen: set[str] = set()
        lists: list[list[_Asked]] = []
        for name, source in self._queries.items():
            own = [(query, origin, name) for query, origin in source]
            ids = [query.id for query, *_ in own]
            if twins := sorted(id for id, often in Counter(ids).items() if often > 1 or id in seen):
                raise BadInput("two queries have this id; keep one of them", id=twins[0])
            seen.update(ids)
            lists.append(own)
        return in_turn(lists)

    def _lists(self, queries: Sequence[Query]) -> dict[str, dict[str, list[str]]]:
        """What each first stage ranks for each query, as `{query id: {stage: passage ids}}`."""
        found = {stage: rankings(self._stages[stage], queries, self._depth) for stage in sorted(self._stages)}
        return {query.id: {stage: found[stage][query.id] for stage in found} for query in queries}

    def _chosen(self, lists: Mapping[str, Sequence[str]], origin: Mapping[str, Any]) -> dict[str, float]:
        """The passages of a list with their fused scores."""
        out = "" if self._keep_origin else origin.get("passage_id", "")
        scores = fuse([[id for id in ids if id != out] for ids in lists.values()], k=self._k)
        return {id: scores[id] for id in list(scores)[: self._documents]}

    def _rescored(self, reranker: Reranker, row: Row) -> Row:
        texts = {
            id: Passage(id, text, title)
            for id, text, title in zip(row["passage_ids"], row["passages"], row["titles"], strict=True)
        }
        stages = dict(zip(row["passage_ids"], row["first_stages"], strict=True))
        values = reranker.score(Query(row["query_id"], row["query"]), list(texts.values()))
        scores = best_first({id: float(value) for id, value in zip(texts, values, strict=True)})
        passages = _columns([texts[id] for id in scores], list(scores.values()))
        return {**passages, "first_stages": [stages[id] for id in scores]}


def _identity(reranker: Reranker | None, stages: Sequence[str], k: int) -> Mapping[str, Any]:
    """Who scores, as a release names its teacher."""
    if reranker is None:
        return {"model": f"rrf({','.join(stages)})", "k": k}
    return {"model": type(reranker).__name__.lower(), **getattr(reranker, "identity", {})}


def _columns(passages: Sequence[Passage], scores: Sequence[float]) -> Row:
    return {
        "passage_ids": [passage.id for passage in passages],
        "titles": [passage.title for passage in passages],
        "passages": [passage.text for passage in passages],
        "scores": list(scores),
    }


def _bringers(passage_id: str, lists: Mapping[str, Sequence[str]]) -> str:
    return ",".join(stage for stage, ids in lists.items() if passage_id in ids)
