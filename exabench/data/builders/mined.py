"""Contrastive groups out of people's judgements: a relevant passage, and hard negatives that first stages bring.

No language model is asked. Negatives are sampled from the top of the very first stage that is to be reranked, as LCE
does it (Gao et al. 2021, arXiv 2101.08751).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Passage, Query, Reply
from exabench.core.rows import Item, Rejected, Row
from exabench.data.builders._columns import group, origin
from exabench.data.builders._first_stages import all_rankings, best_stages
from exabench.data.sampling import draw
from exabench.tasks.collections import texts_of

if TYPE_CHECKING:
    from exabench.data.builders._first_stages import FirstStages
    from exabench.tasks.collections import Collection


@dataclass
class Mined:
    """One group for each passage that people judged relevant (a grade of `threshold` or more) to a query of `split`.

    `count` takes so many queries (0: all there are), `per_query` so many of the relevant passages of each (0: all of
    them): those of the highest grades, and among equals the seed and the ids decide. Up to `negatives` passages are
    drawn, anew for every group, from what each first stage ranks behind its first `skip_top` and within its best
    `depth`; a passage judged relevant is never one, and neither is one with the very words of such a passage. A group
    with fewer than `least` negatives is rejected (0: than `negatives`). A relevant passage whose text the collection
    lacks (a pool is no whole collection) is left out.
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
            raise BadInput("mined needs retrievers, whose best passages are its negatives, as in [options.retrievers]")
        too_low = min(self.negatives, self.threshold) < 1 or min(self.count, self.per_query) < 0
        if too_low or not 0 <= self.least <= self.negatives:
            raise BadInput(
                "mined needs negatives and a threshold of at least 1, no least beyond negatives, and no count or "
                "per_query below 0"
            )
        if not 0 <= self.skip_top < self.depth:
            raise BadInput(f"mined needs a depth beyond skip_top, not depth {self.depth} and skip_top {self.skip_top}")

    def items(self) -> Iterator[Item]:
        """One Item for each relevant passage, the queries in the order of the seed."""
        relevant = self._relevant()
        queries = self._queries(relevant)
        pools: dict[str, dict[str, str]] = {}
        for query_id, lists in all_rankings(self.retrievers, queries, self.depth).items():
            stages = best_stages({stage: ids[self.skip_top :] for stage, ids in lists.items()})
            pools[query_id] = {id: stage for id, stage in stages.items() if id not in relevant[query_id]}
        wanted: set[str] = set()
        for query in queries:
            wanted.update(pools[query.id], relevant[query.id])
        texts = texts_of(self.collection, wanted)
        about = origin(self.collection)
        for query in queries:
            said = {_words(texts[id]) for id in relevant[query.id]}
            pool = {id: stage for id, stage in pools[query.id].items() if _words(texts[id]) not in said}
            for positive in self._positives(query.id, relevant[query.id]):
                drawn = draw(pool, self.negatives, lambda id: [self.seed, query.id, positive, id])  # noqa: B023
                negatives = [(texts[id], pool[id]) for id in drawn]
                data = group(query, "human", texts[positive], negatives) | about
                yield Item(f"{query.id}/{positive}", (), data)

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The group of an Item. Raises Rejected where negatives are too few."""
        least = self.least or self.negatives
        if len(item.data["negative_ids"]) < least:
            raise Rejected(f"fewer than {least} negatives")
        return {"id": item.id, **item.data}

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Queries, groups, and which first stage brought how many negatives."""
        negatives: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        for item in items:
            groups[item.data["query_id"]] += 1
            negatives.update(item.data["negative_sources"])
        return {
            "queries": len(groups),
            "groups": groups.total(),
            "most_groups_of_a_query": max(groups.values(), default=0),
            "negatives_by_source": dict(sorted(negatives.items())),
        }

    def _relevant(self) -> dict[str, dict[str, int]]:
        """The relevant passages of each query with their grades, those alone whose text is there."""
        relevant: dict[str, dict[str, int]] = {}
        for query_id, row in self.collection.qrels(self.split).items():
            relevant[query_id] = {id: grade for id, grade in row.items() if grade >= self.threshold}
        wanted = set().union(*relevant.values())
        there = {passage.id for passage in self.collection.passages() if passage.id in wanted}
        found: dict[str, dict[str, int]] = {}
        for query_id, row in relevant.items():
            if there & row.keys():
                found[query_id] = {id: grade for id, grade in row.items() if id in there}
        if not found:
            raise BadInput(
                f"split {self.split} of {self.collection.source} holds no text that was judged relevant "
                f"(a grade of {self.threshold} or more); give another split or threshold"
            )
        return found

    def _queries(self, relevant: Mapping[str, object]) -> list[Query]:
        """The judged queries in the order of the seed. Raises BadInput where there are fewer than `count`."""
        judged = {query.id: query for query in self.collection.queries() if query.id in relevant}
        if len(judged) < self.count:
            have = plural(len(judged), "judged query", "judged queries")
            raise BadInput(f"mined: {self.collection.source} has {have}, not {self.count}")
        drawn = draw(judged, self.count or None, lambda id: [self.seed, id])
        return [judged[id] for id in drawn]

    def _positives(self, query_id: str, grades: Mapping[str, int]) -> list[str]:
        in_order = draw(grades, None, lambda id: [self.seed, query_id, id])
        in_order.sort(key=lambda id: -grades[id])
        return in_order[: self.per_query or None]


def _words(passage: Passage) -> tuple[str, ...]:
    """The words of a passage, whatever its blanks."""
    return tuple(passage.text.split())
