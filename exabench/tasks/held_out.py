"""Held-out queries, `<task>/<split>`: what a weight or a fusion is tuned on, and never what is tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from exabench.core.errors import BadInput, printable
from exabench.core.nouns import Qrels, Query, Task
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Collection, open_collection, read_checked_qrels


@dataclass(frozen=True)
class HeldOut:
    """The judged queries of a split by id, under the `name` that was given, and their `task`, whose split it is."""

    name: str
    task: Task
    queries: Mapping[str, Query]
    qrels: Qrels

    def apart_from(self, tested: Iterable[Query]) -> HeldOut:
        """These without the queries that are tested: what is tuned on one would be too good on it.

        Queries are the same by their texts, and by their ids where they have no texts here. Raises BadInput where none
        is left.
        """
        texts = set()
        ids = set()
        ids_without_text = set()
        for query in tested:
            ids.add(query.id)
            if query.text.strip():
                texts.add(query.text.strip())
            else:
                ids_without_text.add(query.id)
        kept = {}
        for query in self.queries.values():
            text = query.text.strip()
            # Splits share queries: two of SciFact's train split are in its test.
            if text in texts or query.id in ids_without_text or (not text and query.id in ids):
                continue
            kept[query.id] = query
        if not kept:
            raise BadInput(f"{self.name} has only queries that are tested here; name others, as in scifact/train")
        qrels = {query_id: self.qrels[query_id] for query_id in kept}
        return replace(self, queries=kept, qrels=qrels)


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
    queries = {query.id: query for query in judged_queries(collection, qrels)}
    return HeldOut(name, task, queries, qrels)


def judged_queries(collection: Collection, qrels: Qrels) -> list[Query]:
    """The queries that are judged; of a collection that holds only judgements, without texts."""
    if not collection.is_available():
        return [Query(query_id, "") for query_id in sorted(qrels)]
    return [query for query in collection.queries() if query.id in qrels]
