"""The Hugging Face Hub: a dataset repository with the configs corpus, queries and default (judgements)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.hub.client import pin_commit, rows


class Hub:
    """The task's Hub repository at its pinned commit, or at the commit that the lock file recorded first."""

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        self._place = task.hub or {}
        self._lock = lock
        self.source = f"Hub dataset {self._place['repo']}" if task.hub else "the Hub"

    @property
    def revision(self) -> str:
        """The commit."""
        return pin_commit(self._place["repo"], self._place.get("revision"), self._lock)

    def is_available(self) -> bool:
        """True where the task has a Hub repository."""
        return bool(self._place)

    def queries(self) -> Iterator[Query]:
        """The config `queries`."""
        for row in self._rows("queries", "queries"):
            yield Query(str(row["_id"]), row["text"])

    def passages(self) -> Iterator[Passage]:
        """The config `corpus`."""
        for row in self._rows("corpus", "corpus"):
            yield Passage(str(row["_id"]), row["text"], row.get("title") or "")

    def qrels(self, split: str) -> Qrels:
        """The config `default`: one row for each judgement."""
        qrels: dict[str, dict[str, int]] = {}
        for row in self._rows("default", split):
            qrels.setdefault(str(row["query-id"]), {})[str(row["corpus-id"])] = int(row["score"])
        return qrels

    def _rows(self, config: str, split: str) -> Iterator[dict[str, Any]]:
        commit = self.revision
        self.source = f"Hub dataset {self._place['repo']}@{commit}"
        return rows(self._place["repo"], config, split, commit)
