"""Contrastive groups from human judgements: a relevant passage, and hard negatives from first stages.

No language model is asked. Negatives are sampled from the top of the first stage whose results the model will
rerank, as LCE does it (Gao et al. 2021, arXiv 2101.08751).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Reply
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._sources import (
    all_rankings,
    best_stages,
    count_values,
    group,
    origin,
    query_fields,
)
from exabench.data.judgements import judgements_with_texts
from exabench.data.sampling import draw
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

    def __post_init__(self) -> None:
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
        for query_id, lists in all_rankings(self.retrievers, [query_of[id] for id in drawn], self.depth).items():
            stages_of[query_id] = best_stages({stage: ids[self.skip_top :] for stage, ids in lists.items()})
            wanted.update(stages_of[query_id], relevant[query_id])
        texts = texts_of(self.collection, wanted)

        about = origin(self.collection)
        for query_id in drawn:
            query = query_fields(query_of[query_id], "human")
            stage_of = stages_of[query_id]
            grade_of = relevant[query_id]
            # No relevant passage is a negative, nor one with the same words.
            said = [texts[id].text.split() for id in grade_of]
            pool = [id for id in stage_of if texts[id].text.split() not in said]
            positives = self._draw(grade_of, None, query_id)
            # Sorting keeps the seeded order among equal grades.
            positives.sort(key=grade_of.__getitem__, reverse=True)
            for positive in positives[: self.per_query or None]:
                # The positive is part of the key, so that the groups of a query get different negatives.
                chosen = self._draw(pool, self.negatives, query_id, positive)
                negatives = {texts[id]: stage_of[id] for id in chosen}
                data = {**query, **group(texts[positive], negatives), **about}
                yield Item(f"{query_id}/{positive}", (), data)

    def _draw(self, ids: Iterable[str], count: int | None, *about: str) -> list[str]:
        """A sample of the ids, by the seed and the ids of what they are drawn for."""
        return draw(ids, count, lambda id: [self.seed, *about, id])

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The group of an Item. Raises Rejected where negatives are too few."""
        least = self.least or self.negatives
        if len(item.data["negative_ids"]) < least:
            raise Rejected(f"fewer than {least} negatives")
        return {"id": item.id, **item.data}

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries, groups, and which first stage brought how many negatives."""
        groups, negatives = count_values(items, "query_id", "negative_sources")
        return {
            "queries": len(groups),
            "groups": groups.total(),
            "most_groups_of_a_query": max(groups.values(), default=0),
            "negatives_by_source": dict(negatives),
        }
