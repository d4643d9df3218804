"""The Hugging Face Hub: a dataset repository in the layout of BEIR, MTEB or NanoBEIR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from exabench.core.errors import REASON, BadInput, printable
from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.hub.client import configs, find_commit, lock_commit, rows, splits
from exabench.measure.qrels import qrels_of
from exabench.tasks.collections import passage_of, query_of

# NanoBEIR's repositories call the config of judgements qrels, MTEB's call it default.
_QRELS = ("qrels", "default")


class Hub:
    """The task's Hub repository at its pinned commit, or at the commit that the lock file recorded first.

    Configs are `corpus`, `queries` and, for the judgements, `qrels` or `default`, or those of the repository
    `<repo>-qrels` (BEIR); a repository of many languages has each language's code before them (`de-corpus`), and one of
    many parts their names, which the task's page then calls its `config` (`writing_search-corpus`, LoTTE). A split is
    the one named by the task or like its config (BEIR: `corpus`), else the only one; in NanoBEIR all are `train`.
    """

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        self._task = task
        self._place = task.hub or {}
        self._repo = self._place.get("repo", "")
        self._lock = lock
        self._read_at: dict[str, str] = {}  # the commits of repositories that were looked up, by name
        self.source = f"Hub dataset {self._repo}" if task.hub else "the Hub"

    @property
    def revision(self) -> str:
        """The commit."""
        return self._commit(self._repo)

    def is_available(self) -> bool:
        """True where the task has a Hub repository."""
        return bool(self._place)

    def queries(self) -> Iterator[Query]:
        """The config `queries`."""
        for row in self._texts("queries"):
            yield query_of(self._id(row), row.get("text"), self.source)

    def passages(self) -> Iterator[Passage]:
        """The config `corpus`."""
        for row in self._texts("corpus"):
            yield passage_of(self._id(row), row.get("text"), row.get("title"), self.source)

    def qrels(self, split: str) -> Qrels:
        """One row for each judgement; NanoBEIR's rows have no grade, and all are relevant. Raises BadInput."""
        repo = self._repo
        config = self._config("qrels")
        if not config:  # BeIR/scifact has its judgements in BeIR/scifact-qrels
            repo = f"{repo}-qrels"
            config = "default"
        there = splits(repo, config, self._commit(repo))
        if split == self._task.split and there == ["train"] == self._splits("corpus"):
            split = "train"  # NanoBEIR calls the split of everything so
        if split not in there:
            raise BadInput(f"{self.source} has the splits {', '.join(there)}, not {printable(split)!r}")
        judgements = []
        for row in self._rows(repo, config, split):
            query_id = self._field(row, "query-id", "query_id")
            passage_id = self._field(row, "corpus-id", "corpus_id")
            judgements.append((query_id, passage_id, row.get("score", 1)))
        return qrels_of(judgements, self.source)

    def write_lock(self, lock: str | Path) -> None:
        """Write the commits that were read to a lock file."""
        for repo, commit in self._read_at.items():
            revision = self._place.get("revision") if repo == self._repo else None
            lock_commit(lock, repo, revision, commit)

    def _commit(self, repo: str) -> str:
        if repo not in self._read_at:  # once: texts and judgements must not come from two commits
            revision = self._place.get("revision") if repo == self._repo else None
            self._read_at[repo] = find_commit(repo, revision, self._lock)
        return self._read_at[repo]

    @cached_property
    def _configs(self) -> list[str]:
        return configs(self._repo, self.revision)

    def _config(self, what: str) -> str:
        """The config that holds `what` (corpus, queries, qrels); "" where the judgements are in another repository."""
        language = self._task.language
        part = self._place.get("config", language)
        names = [what]
        if what == "qrels":
            names = list(_QRELS)
        for name in (*names, *(f"{part}-{name}" for name in names)):
            if name in self._configs:
                return name
        if what == "qrels":
            return ""
        # Read as it is here, BRIGHT would lose its excluded ids, and with them its published numbers.
        if "examples" in self._configs:
            lines = f'source = "hub:{self._repo}", split = "DOMAIN", excluded_ids = "drop"'
            raise BadInput(f"{self.source} has BRIGHT's layout; use a task.toml with these lines: {lines}")
        languages = []
        for name in self._configs:
            if name.endswith(f"-{what}"):
                languages.append(name.removesuffix(f"-{what}"))
        if languages:
            there = ", ".join(sorted(languages))
            raise BadInput(
                f"{self.source} is not in {printable(language)!r}; set language in a task.toml to one of: {there}"
            )
        there = ", ".join(self._configs)
        raise BadInput(
            f"{self.source} has no config {what!r} (its configs: {there}); a retrieval task has corpus, queries and "
            "qrels, as in BEIR, MTEB and NanoBEIR; pairs or triples are not enough"
        )

    def _texts(self, what: str) -> Iterator[dict[str, Any]]:
        """The rows of queries or passages."""
        config = self._config(what)
        there = self._splits(what)
        for split in (what, self._task.split):
            if split in there:
                return self._rows(self._repo, config, split)
        if len(there) == 1:
            return self._rows(self._repo, config, there[0])
        raise BadInput(f"{self.source} config {config} has no split {what!r}; its splits: {', '.join(there)}")

    def _splits(self, what: str) -> list[str]:
        return splits(self._repo, self._config(what), self.revision)

    def _rows(self, repo: str, config: str, split: str) -> Iterator[dict[str, Any]]:
        self.source = f"Hub dataset {self._repo}@{self.revision}"
        return rows(repo, config, split, self._commit(repo))

    def _id(self, row: Mapping[str, Any]) -> str:
        return self._field(row, "_id", "id")

    def _field(self, row: Mapping[str, Any], *names: str) -> str:
        """The first of these fields that a row has, as an id."""
        for name in names:
            if row.get(name) is not None:
                return str(row[name])
        raise BadInput(
            f"{self.source}: a row has no {names[0]!r}; its fields: {printable(', '.join(map(str, row)), REASON)}"
        )
