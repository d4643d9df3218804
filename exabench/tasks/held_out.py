"""Held-out queries, `<task>/<split>`: what a weight or a fusion is tuned on, and never what is tested."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from exabench.core.errors import BadInput, printable
from exabench.core.nouns import Qrels, Query, Task
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Collection, open_collection, read_checked_qrels


@dataclass(frozen=True)
class HeldOut:
    """The judged queries of a split under the `name` that was given, and their `task`, whose split it is."""

    name: str
    task: Task
    queries: tuple[Query, ...]
    qrels: Qrels

    def check_apart(self, tested: Iterable[Query]) -> None:
        """Raise BadInput where one of these queries is tested: what is tuned on it would be too good there.

        Queries are the same by their texts, and by their ids where they have no texts here.
        """
        texts = {query.text.strip() for query in self.queries}
        ids = {query.id for query in self.queries}
        for query in tested:
            text = query.text.strip()
            if text in texts if text else query.id in ids:
                raise BadInput(
                    f"{self.name} has a query that is tested here; tune on other queries, as in scifact/train",
                    id=query.id,
                )


def held_out(name: str, data: str | Path | None = None, board: str | Path | None = None) -> HeldOut:
    """The queries that `<task>/<split>` names, read from `data` or the task's public source.

    Raises BadInput for another text and for a split without judgements, UnknownName, OutsideFailed.
    """
    place, _, split = name.rpartition("/")
    if not place or not split:
        raise BadInput(f"{printable(name)!r} names no queries to tune on; write <task>/<split>, as in scifact/train")
    task = single_task(place, data=data, board=board)
    if split != task.split:  # the counts and digests of the table are those of the split that is tested
        task = replace(
            task, split=split, queries=None, judgements=None, also_judgements={}, qrels_md5=None, qrels_digest=None
        )
    collection = open_collection(task, data, needs="judgements")
    qrels = read_checked_qrels(task, collection)
    return HeldOut(name, task, tuple(judged_queries(collection, qrels)), qrels)


def judged_queries(collection: Collection, qrels: Qrels) -> list[Query]:
    """The queries that are judged; of a collection that holds judgements alone, without texts."""
    if not collection.is_available():
        return [Query(query_id, "") for query_id in sorted(qrels)]
    return [query for query in collection.queries() if query.id in qrels]
