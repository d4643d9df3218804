"""The frozen pairs of a parity check: a seeded choice among what a task's judges saw, and some passages made long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from exabench.core.errors import BadInput
from exabench.core.files import digest_of
from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.data.sampling import draw
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection, queries_of, read_checked_qrels, texts_of

SEED = "parity 1"
QUERIES = 24
PASSAGES = 15  # of each query as they are
LONG = (4, 14)  # passages that one long passage is made of, by turns: beyond 256 tokens, and beyond 512
TRY = (32, 8)  # short and long pairs on which hypotheses are tried
CONFIRM = (184, 16)  # others, on which the winner is confirmed


class FrozenPair(NamedTuple):
    """A query and a passage; `long` ones were made by joining passages."""

    query: Query
    passage: Passage
    long: bool


@dataclass(frozen=True)
class FrozenPairs:
    """The pairs of a task, query by query, and the judgements of these queries.

    `tried` and `others` are the places of the pairs for hypotheses, and of those for the confirmation.
    """

    task: Task
    pairs: Sequence[FrozenPair]
    qrels: Qrels
    tried: Sequence[int]
    others: Sequence[int]

    @cached_property
    def digest(self) -> str:
        """The digest of all texts in their order."""
        return digest_of([[pair.query.text, pair.passage.text] for pair in self.pairs])


def frozen_pairs(name: str | Task, data: str | Path | None = None) -> FrozenPairs:
    """The pairs of a task: the same wherever its collection is. Raises BadInput for a task without judged queries.

    Each query has judged passages first, then those that were judged for other queries. Of the latter its long passage
    is made: few collections have texts beyond every limit.
    """
    task = single_task(name, data=data)
    collection = open_collection(task, data)
    judged = read_checked_qrels(task, collection)
    chosen = draw(judged, QUERIES, lambda id: [SEED, id])
    if not chosen:
        raise BadInput(f"task {task.name} has no judged queries; choose another task")
    qrels = {id: judged[id] for id in chosen}
    queries = queries_of(collection, chosen)
    pool = {passage_id for of_query in qrels.values() for passage_id in of_query}
    # Texts are read once, whatever the size of the collection.
    wanted = draw(pool, QUERIES * (PASSAGES + max(LONG)), lambda id: [SEED, id])
    held = texts_of(collection, wanted)
    texts = {}
    for id in wanted:
        texts[id] = Passage(id, held[id].flat(task.convention.text_fields))

    pairs = []
    for size, query_id in zip(cycle(LONG), chosen, strict=False):
        query = queries[query_id]
        order = draw(texts, None, lambda id, query_id=query_id: [SEED, query_id, id])  # type: ignore[misc]
        own = [id for id in order if id in qrels[query_id]]
        others = [id for id in order if id not in qrels[query_id]]
        for id in (*own, *others)[:PASSAGES]:
            pairs.append(FrozenPair(query, texts[id], False))
        joined = " ".join(texts[id].text for id in others[-size:])
        pairs.append(FrozenPair(query, Passage(f"{size}-joined", joined), True))

    # Both kinds are in both parts: what cuts texts shows in the long ones, and everything else in the short ones.
    places = draw(range(len(pairs)), None, lambda place: [SEED, place])
    short = [place for place in places if not pairs[place].long]
    long = [place for place in places if pairs[place].long]
    tried = sorted(short[: TRY[0]] + long[: TRY[1]])
    rest = short[TRY[0] :][: CONFIRM[0]] + long[TRY[1] :][: CONFIRM[1]]
    return FrozenPairs(task, pairs, qrels, tried, sorted(rest))
