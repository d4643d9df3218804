"""Lists with soft scores: the passages that first stages find for a query, scored by a reranker or by fusion.

The reranker may ask a language model: Yes or No about each passage, or which of two is better. These are the groups of
distillation from scores: MarginMSE (Hofstatter et al. 2020, arXiv 2010.02666), KL divergence and RankNet alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Passage, Query, Reply
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._sources import (
    all_rankings,
    count_values,
    origin,
    passage_list,
    read_queries,
    rejected_queries,
    scorer,
    sources_by_name,
)
from exabench.data.sampling import interleave
from exabench.measure.rank_fusion import best_first, fuse
from exabench.parts.conversations import finish, hold
from exabench.parts.replies import without_server
from exabench.parts.rerankers import AskingReranker, Outcome, Reranker
from exabench.parts.retrievers import FirstStages
from exabench.tasks.collections import Collection, texts_of

if TYPE_CHECKING:
    from exabench.data.queries import QuerySource
    from exabench.parts.teachers import Teacher


@dataclass
class ScoredBuilder:
    """One list for each query of every source: the `documents` best of the first stages' best `depth`, with scores.

    Which passages are best is said by reciprocal rank fusion of the first stages (`k`; with one stage it is its
    order). With a `reranker` the scores and the order of the list are that part's; without one they are those of the
    fusion, and the teacher of the rows is called `rrf(<first stages>)`. What a reranker asks a teacher about a list at
    once (relevance_generation; pairwise by "allpairs" or "thurstone") is planned; one that asks in several rounds asks
    when the rows are made. The replies are kept with the rows; a list of which more than `most_repairs` replies
    cannot be read is rejected. `keep_origin`: may the passage that a query was made of be in its list? (Twolar's lists
    keep it as well.) A list of fewer than `least` passages is rejected. Items take the sources in turn, so that the
    head of a plan is mixed as the whole is.
    """

    family = "scored"
    prompt = ""

    collection: Collection
    queries: Mapping[str, QuerySource] | QuerySource
    retrievers: FirstStages
    _: KW_ONLY
    reranker: Reranker | None = None
    documents: int = 30
    depth: int = 100
    k: int = 60
    least: int = 2
    keep_origin: bool = True
    most_repairs: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.least <= self.documents <= self.depth or self.k < 0:
            raise BadInput(
                "scored needs 2 <= least <= documents <= depth and k >= 0, not "
                f"least {self.least}, documents {self.documents}, depth {self.depth}, k {self.k}"
            )
        if not self.queries or not self.retrievers:
            raise BadInput("scored needs a source of queries and a first stage, as in [options.retrievers]")
        if self.reranker is not None and self.reranker.reads == "judgements":
            raise BadInput("a teacher must not see the judgements: choose a reranker that reads texts or ids")
        self._asking: AskingReranker | None = None
        if hasattr(self.reranker, "conversation"):
            self._asking = cast("AskingReranker", self.reranker)
            self.prompt = self._asking.identity["prompt"]

    @property
    def teacher(self) -> Teacher | None:
        """Who is asked about lists: the teacher of a reranker whose questions are planned."""
        if self._asking is None or not self._asking.one_round:
            return None
        return self._asking.teacher

    @property
    def identity(self) -> Mapping[str, Any]:
        """Who scores, as a release names its teacher: of a reranker that asks, the language model."""
        if self.reranker is None:
            # Sorted, since the fusion of the same stages in another order is the same.
            return {"model": f"rrf({','.join(sorted(self.retrievers))})", "k": self.k}
        if self._asking is not None:
            return without_server(self._asking.teacher.identity)
        return scorer(self.reranker)

    def items(self) -> Iterator[Item]:
        """One Item a query: its passages in the order of the fusion, each with its fused score and its first stages.

        Raises BadInput for an id that two queries have.
        """
        sources = sources_by_name(self.queries)
        queries = read_queries(sources)
        asked = interleave(queries.values())
        chosen = {}
        brought_by = {}
        wanted = set[str]()
        ranked = all_rankings(self.retrievers, [one.query for one in asked], self.depth)
        for one, (query, found) in zip(asked, ranked, strict=True):
            # No passage has an empty id, so "" leaves nothing out.
            left_out = "" if self.keep_origin else one.origin["passage_id"]
            lists = []
            for ids in found.values():
                lists.append([id for id in ids if id != left_out])
            scores = fuse(lists, k=self.k)
            chosen[query.id] = dict(islice(scores.items(), self.documents))
            wanted.update(chosen[query.id])
            stages = []
            for id in chosen[query.id]:
                stages.append(",".join([stage for stage, ids in found.items() if id in ids]))
            brought_by[query.id] = stages

        texts = texts_of(self.collection, wanted)
        about = origin(self.collection)
        for one in asked:
            scores = chosen[one.query.id]
            passages = [texts[id] for id in scores]
            data = {
                **one.fields,
                **passage_list(passages),
                "scores": list(scores.values()),
                "first_stages": brought_by[one.query.id],
                **about,
            }
            prompts = []
            if self._asking is not None and self._asking.one_round and len(passages) >= self.least:
                prompts = next(self._asking.conversation(one.query, passages))
            yield Item(one.query.id, tuple(prompts), data)
        yield from rejected_queries(sources.values())

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The list with its teacher's scores, best first. Raises Rejected where it is too short."""
        row = {"id": item.id, **item.data}
        replies_to_query = row.pop("replies")
        ids = row["passage_ids"]
        if len(ids) < self.least:
            raise Rejected(f"the first stages found fewer than {self.least} passages")
        if self.reranker is not None:
            query = Query(row["query_id"], row["query"])
            passages = list(map(Passage, ids, row["passages"], row["titles"]))
            if self._asking is None:
                values = self.reranker.score(query, passages)
            elif self._asking.one_round:
                answers = {reply.id: reply for reply in replies}
                values = self._read(finish(self._asking.conversation(query, passages), answers))
            else:
                outcome, keys = hold(self._asking.teacher, self._asking.conversation(query, passages))
                values = self._read(outcome)
                row |= {"prompt": self.prompt, "replies": [*replies_to_query, *keys]}
            scores = best_first(dict(zip(ids, map(float, values), strict=True)))
            # What is next to the ids goes into their new order.
            order = [ids.index(id) for id in scores]
            for name in ("passage_ids", "titles", "passages", "first_stages"):
                row[name] = [row[name][place] for place in order]
            row["scores"] = list(scores.values())
        return [row]

    def _read(self, outcome: Outcome) -> list[float]:
        """The scores of a list that was asked about. Raises Rejected where too many replies cannot be read."""
        scores, usage = outcome
        unread = sum(usage.repairs.values())
        if unread > self.most_repairs:
            raise Rejected(f"more than {plural(self.most_repairs, 'reply', 'replies')} cannot be read")
        return scores

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries by source, and passages."""
        queries, stages = count_values(items, "query_source", "first_stages")
        report: dict[str, Any] = {"queries": dict(queries), "passages": stages.total()}
        if self._asking is not None:
            report["scores"] = self._asking.identity["strategy"]
        return report
