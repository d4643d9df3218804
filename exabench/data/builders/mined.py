"""Contrastive groups from human judgements: a relevant passage, and hard negatives from first stages.

No language model is asked. Negatives are sampled from the top of the first stage whose results the model will
rerank, as LCE does it (Gao et al. 2021, arXiv 2101.08751). A reranker may leave out those that are likely to be
relevant and were not judged (NV-Retriever, arXiv 2407.15831).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Reply
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._positive_aware import PositiveAware
from exabench.data.builders._sources import (
    all_rankings,
    best_stages,
    group,
    origin,
    query_fields,
    scorer,
)
from exabench.data.judgements import judgements_with_texts
from exabench.data.sampling import draw
from exabench.parts.rerankers import Job, Reranker
from exabench.parts.retrievers import FirstStages
from exabench.tasks.collections import Collection, queries_of, texts_of


@dataclass
class Mined:
    """One group for each passage that people judged relevant (a grade of `threshold` or more) to a query of `split`.

    `count` is the number of queries (0: all of them), `per_query` that of the relevant passages of each (0: all of
    them): those of the highest grades, and among equals the seed and the ids decide. Up to `negatives` passages are
    drawn, separately for every group, from what each first stage ranks behind its first `skip_top` and within its best
    `depth`; a passage judged relevant is never one, nor is one with exactly the words of such a passage. A group
    with fewer than `least` negatives is rejected (0: than `negatives`). A relevant passage whose text the collection
    lacks (a pool is not a whole collection) is left out.

    With a `reranker` and one of `relative_margin`, `absolute_margin` and `max_score`, candidates whose score exceeds
    this bound are left out and counted (positive-aware negatives). A share needs a score above 0, as a probability or
    a cosine is, and a group whose positive has none is rejected: for logits give an absolute margin.
    """

    family = "contrastive"
    prompt = ""

    collection: Collection
    retrievers: FirstStages
    _: KW_ONLY
    split: str = "train"
    threshold: int = 1
    count: int = 0
    per_query: int = 0
    negatives: int = 7
    least: int = 0
    depth: int = 100
    skip_top: int = 0
    seed: int = 0
    reranker: Reranker | None = None
    relative_margin: float | None = None
    absolute_margin: float | None = None
    max_score: float | None = None

    def __post_init__(self) -> None:
        self._positive_aware = PositiveAware(self.reranker, self.relative_margin, self.absolute_margin, self.max_score)
        if not self.retrievers:
            raise BadInput("mined needs retrievers, whose top passages become negatives, as in [options.retrievers]")
        too_low = min(self.negatives, self.threshold) < 1 or min(self.count, self.per_query) < 0
        if too_low or not 0 <= self.least <= self.negatives:
            raise BadInput(
                "mined needs negatives and a threshold of at least 1, no least beyond negatives, and no count or "
                "per_query below 0"
            )
        if not 0 <= self.skip_top < self.depth:
            raise BadInput(f"mined needs depth > skip_top, not depth {self.depth} and skip_top {self.skip_top}")

    def items(self) -> Iterator[Item]:
        """One Item for each relevant passage, the queries in the order of the seed."""
        relevant: dict[str, dict[str, int]] = {}
        grades = judgements_with_texts(self.collection, self.split, self.threshold)
        for (query_id, passage_id), grade in grades.items():
            if grade >= self.threshold:
                relevant.setdefault(query_id, {})[passage_id] = grade
        if len(relevant) < self.count:
            have = plural(len(relevant), "judged query", "judged queries")
            raise BadInput(f"mined: {self.collection.source} has {have}, not {self.count}")
        drawn = self._draw(relevant, self.count or None)
        query_of = queries_of(self.collection, drawn)

        stages_of = {}
        wanted = set[str]()
        for query, lists in all_rankings(self.retrievers, [query_of[id] for id in drawn], self.depth):
            stages_of[query.id] = best_stages({stage: ids[self.skip_top :] for stage, ids in lists.items()})
            wanted.update(stages_of[query.id], relevant[query.id])
        texts = texts_of(self.collection, wanted)

        def jobs() -> Iterator[Job]:
            for query_id in drawn:
                ids = dict.fromkeys([*relevant[query_id], *stages_of[query_id]])
                yield query_of[query_id], list(map(texts.__getitem__, ids))

        about = origin(self.collection)
        for query_id, scores in zip(drawn, self._positive_aware.score(jobs()), strict=True):
            query_data = query_fields(query_of[query_id], "human")
            stage_of = stages_of[query_id]
            grade_of = relevant[query_id]
            # No relevant passage is a negative, nor one with the same words.
            said = [texts[id].text.split() for id in grade_of]
            pool = [id for id in stage_of if texts[id].text.split() not in said]
            positives = self._draw(grade_of, None, query_id)
            # Sorting keeps the seeded order among equal grades.
            positives.sort(key=grade_of.__getitem__, reverse=True)
            for positive in positives[: self.per_query or None]:
                allowed = self._positive_aware.allowed(scores, positive, pool)
                # The positive is part of the key, so that the groups of a query get different negatives.
                chosen = self._draw(allowed, self.negatives, query_id, positive)
                negatives = {texts[id]: stage_of[id] for id in chosen}
                data = {
                    **query_data,
                    **group(texts[positive], negatives),
                    **about,
                    "candidates": len(pool),
                    "left_out": len(pool) - len(allowed),
                    "fault": self._positive_aware.fault(scores, positive),
                }
                yield Item(f"{query_id}/{positive}", (), data)

    def _draw(self, ids: Iterable[str], count: int | None, *about: str) -> list[str]:
        """A sample of the ids, by the seed and the ids of what they are drawn for."""
        return draw(ids, count, lambda id: [self.seed, *about, id])

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The group of an Item. Raises Rejected where negatives are too few."""
        least = self.least or self.negatives
        row = {"id": item.id, **item.data}
        if row.pop("fault"):
            raise Rejected(item.data["fault"])
        if len(row["negative_ids"]) < least:
            raise Rejected(f"fewer than {least} negatives")
        del row["candidates"], row["left_out"]
        return [row]

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries, groups, and how many candidates a reranker left out."""
        groups = Counter[str]()
        candidates = 0
        left_out = 0
        for item in items:
            groups[item.data["query_id"]] += 1
            candidates += item.data["candidates"]
            left_out += item.data["left_out"]
        report: dict[str, Any] = {
            "queries": len(groups),
            "groups": groups.total(),
            "most_groups_of_a_query": max(groups.values(), default=0),
        }
        if self.reranker is not None:
            report |= {"candidates": candidates, "left_out": left_out, "left_out_by": scorer(self.reranker)}
        return report
