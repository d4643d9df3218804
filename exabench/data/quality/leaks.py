"""Leaks: what rows for training share with the benchmarks that they must not know."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from exabench.core.nouns import Passage, Query, Task
from exabench.core.rows import Row
from exabench.data.quality._texts import grams, passages_of
from exabench.tasks.catalogue import tasks, tasks_in_repository

GRAM = 13
"""Words in a row that a benchmark's text and a row must share to count as a leak (the length GPT-3's authors took)."""
_PLACE = re.compile(r"folder (\S+) in BEIR layout|ir_datasets (\S+)|Hub dataset ([^\s@]+)")  # a collection's `source`
KINDS = ("query id", "query text", "passage id", "passage text")


class Leaks:
    """Finds what rows share with benchmarks: ids within one collection, and 13 words in a row anywhere.

    A text of fewer words counts where the whole of it is the whole of the other: that is how short queries are found.
    """

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self._ids: dict[tuple[str, str, str], set[int]] = {}
        # Every benchmark adds an array to both lists; the first mark joins each to one array, in the order of grams.
        self._grams = [np.zeros(0, np.uint64)]
        # Two bytes an owner are enough for 16,384 benchmarks.
        self._owners = [np.zeros(0, np.uint16)]

    def add(self, task: Task, queries: Iterable[Query], passages: Iterable[Passage]) -> None:
        """Know a benchmark: its judged queries and passages; a passage without a text is known only by its id."""
        collection = collection_of(task.name)
        owner = len(self.tasks) * len(KINDS)  # an owner is a task and one of KINDS, as one number
        self.tasks.append(task.name)
        texts = {
            "query": ((query.id, query.text) for query in queries),
            "passage": ((passage.id, passage.flat()) for passage in passages),
        }
        for kind, items in texts.items():
            all_grams = [np.zeros(0, np.uint64)]
            for id, text in items:
                self._ids.setdefault((collection, kind, id), set()).add(owner)
                all_grams.append(grams(text, GRAM))
            unique = np.unique(np.concatenate(all_grams))
            self._grams.append(unique)
            self._owners.append(np.full(len(unique), owner + 1, np.uint16))
            owner += 2

    def marks(self, row: Row) -> dict[str, list[str]]:
        """The benchmarks that a row leaks, in the order they were added, each with what is shared (of KINDS)."""
        if len(self._grams) > 1:  # sort what was added into the one table: 10 bytes a gram
            unsorted = np.concatenate(self._grams)
            owners_of_unsorted = np.concatenate(self._owners)
            order = np.argsort(unsorted, kind="stable")
            self._grams = [unsorted[order]]
            self._owners = [owners_of_unsorted[order]]
        [known_grams] = self._grams
        [known_owners] = self._owners

        collection = collection_of(row["source"])
        owners = set(self._ids.get((collection, "query", row["query_id"]), ()))
        all_grams = [grams(row["query"], GRAM)]
        for passage in passages_of(row):
            owners.update(self._ids.get((collection, "passage", passage.id), ()))
            all_grams.append(grams(passage.flat(), GRAM))
        row_grams = np.concatenate(all_grams)
        firsts = known_grams.searchsorted(row_grams)
        ends = known_grams.searchsorted(row_grams, "right")
        for place in np.flatnonzero(firsts < ends):
            owners.update(known_owners[firsts[place] : ends[place]].tolist())
        marks: dict[str, list[str]] = {}
        for owner in sorted(owners):
            task, kind = divmod(owner, len(KINDS))
            marks.setdefault(self.tasks[task], []).append(KINDS[kind])
        return marks


@lru_cache(maxsize=256)
def collection_of(source: str) -> str:
    """The one name of the collection whose ids a task's name or a row's `source` speaks of.

    "trec-dl-2020", "folder trec-dl-2020 in BEIR layout" and "ir_datasets msmarco-passage/train" are all
    "msmarco-passage", because one id means one passage in them, and a subset has the ids of the whole. What no task
    knows keeps its own name, and so does a repository of the Hub that holds many tasks: it has their ids by itself.
    """
    name = source
    match = _PLACE.match(source)
    if match:
        name = match[match.lastindex or 0]
    task = tasks().get(name)
    in_repository = tasks_in_repository(name)
    if len(in_repository) == 1:
        task = in_repository[0]
    if task and task.subset_of:
        task = tasks()[task.subset_of]
    if task and task.ir_datasets:
        name = task.ir_datasets
    parts = name.split("/")
    # Names of ir_datasets: below this depth every subset has the ids of one collection.
    depths = {"beir": 2, "msmarco-passage": 1, "msmarco-passage-v2": 1, "disks45": 1, "miracl": 2, "lotte": 3}
    depth = depths.get(parts[0], len(parts))
    # Each forum of CQADupStack is a collection.
    if parts[:2] == ["beir", "cqadupstack"]:
        depth = 3
    root = "/".join(parts[:depth])
    # BEIR's copy has the same passage ids.
    if root == "beir/msmarco":
        return "msmarco-passage"
    return root
