"""Leaks: what rows for training share with the benchmarks that they must not know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from exabench.catalogue import tasks
from exabench.nouns import Passage, Query, Task
from exabench.quality._texts import grams, passages_of
from exabench.rows import Row

GRAM = 13
"""Words in a row that a benchmark's text and a row must share to count as a leak (the length GPT-3's authors took)."""
_PLACE = re.compile(r"folder (\S+) in BEIR layout|ir_datasets (\S+)|Hub dataset ([^\s@]+)")  # a collection's `source`
KINDS = ("query id", "query text", "passage id", "passage text")


class Leaks:
    """What rows share with benchmarks: ids within one collection, and 13 words in a row anywhere.

    A text of fewer words counts where the whole of it is the whole of the other: that is how short queries are found.
    """

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self._ids: dict[tuple[str, str], set[int]] = {}
        self._added: list[tuple[np.ndarray, int]] = []
        self._grams, self._owners = np.zeros(0, np.uint64), np.zeros(0, np.uint16)

    def add(self, task: Task, queries: Iterable[Query], passages: Iterable[Passage]) -> None:
        """Know a benchmark: its judged queries and passages; a passage without a text is known by its id alone."""
        owner, collection = len(self.tasks) * len(KINDS), collection_of(task.name)
        self.tasks.append(task.name)
        texts: dict[int, list[np.ndarray]] = {1: [], 3: []}
        for kind, items in ((0, queries), (2, passages)):
            for item in items:
                self._ids.setdefault((collection, f"{kind}{item.id}"), set()).add(owner + kind)
                texts[kind + 1].append(grams(item.text if isinstance(item, Query) else item.flat(), GRAM))
        self._added += [(np.unique(np.concatenate(some)), owner + kind) for kind, some in texts.items() if some]

    def of(self, row: Row) -> list[str]:
        """The benchmarks that a row leaks, in the order they were added."""
        return list(self.marks(row))

    def marks(self, row: Row) -> dict[str, list[str]]:
        """The benchmarks that a row leaks, each with what it shares with it (of KINDS)."""
        passages, collection = passages_of(row), collection_of(row["source"])
        owners = set(self._ids.get((collection, f"0{row['query_id']}"), ()))
        for passage in passages:
            owners |= self._ids.get((collection, f"2{passage.id}"), set())
        owners |= self._sharing([row["query"], *(passage.flat() for passage in passages)])
        marks: dict[str, list[str]] = {}
        for owner in sorted(owners):
            marks.setdefault(self.tasks[owner // len(KINDS)], []).append(KINDS[owner % len(KINDS)])
        return marks

    def _sharing(self, texts: Sequence[str]) -> set[int]:
        self._settle()
        found = np.concatenate([grams(text, GRAM) for text in texts])
        if not len(self._grams) or not len(found):
            return set()
        place = np.minimum(self._grams.searchsorted(found), len(self._grams) - 1)
        shared = np.unique(found[self._grams[place] == found])
        first, last = self._grams.searchsorted(shared), self._grams.searchsorted(shared, "right")
        sizes = last - first
        places = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        return set(np.unique(self._owners[places]).tolist())

    def _settle(self) -> None:
        """Sort what was added into the one table: 10 bytes a gram."""
        if self._added:
            every = np.concatenate([self._grams, *(some for some, _ in self._added)])
            owners = [np.full(len(some), owner, np.uint16) for some, owner in self._added]
            order = np.argsort(every, kind="stable")
            self._grams, self._owners = every[order], np.concatenate([self._owners, *owners])[order]
            self._added = []


@lru_cache(maxsize=256)
def collection_of(source: str) -> str:
    """The one name of the collection whose ids a task's name or a row's `source` speaks of.

    "trec-dl-2020", "folder trec-dl-2020 in BEIR layout" and "ir_datasets msmarco-passage/train" are all
    "msmarco-passage", because one id means one passage in them. What no task knows keeps its own name.
    """
    found = _PLACE.match(source)
    plain = next(filter(None, found.groups())) if found else source
    by_repo = {task.hub["repo"]: task for task in tasks().values() if task.hub}
    task = by_repo.get(plain) or tasks().get(plain)
    known = task.ir_datasets if task and task.ir_datasets else plain
    parts = known.split("/")
    depth = {"beir": 2, "msmarco-passage": 1, "disks45": 1}.get(parts[0], len(parts))
    root = "/".join(parts[: depth + (parts[:2] == ["beir", "cqadupstack"])])
    return "msmarco-passage" if root == "beir/msmarco" else root
