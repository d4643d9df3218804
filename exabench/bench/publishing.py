"""Publishing frozen candidate lists: a benchmark dataset that anybody can load, and that the Hub shows results on."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exabench.bench.excerpts import read_excerpts
from exabench.bench.ledger import Ledger
from exabench.core.errors import BadInput, plural, printable
from exabench.core.files import digest_of, from_json, json_text
from exabench.core.nouns import Candidates, Progress, silent
from exabench.hub.cards.lists import lists_card
from exabench.hub.cards.markdown import Markdown
from exabench.hub.client import Repository, is_repo
from exabench.hub.commits import CARD, MANIFEST, Commit, Publication, Published
from exabench.hub.eval_results import EVAL, BenchmarkTask, benchmark_yaml
from exabench.measure.runs import ranks_in
from exabench.tasks.catalogue import expand, task

FRAMEWORK = "exabench"
_FRAMEWORK = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
SPLIT = "test"


def publish_lists(
    folder: Path,
    to: str | Path,
    *,
    tasks: Sequence[str] = (),
    framework: str = FRAMEWORK,
    pull_request: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> Published:
    """Put the frozen lists of the leaderboard in `folder` (of some `tasks`) where `to` says: a dataset, or a folder.

    Each list is a config (`config_of`) of one Parquet file; eval.yaml makes each a leaderboard of the dataset, and
    names `framework` as what evaluates it. Lists that the board no longer has are removed; no change, no commit.
    Raises BadInput for a board without lists, a list that is not the one of its digest, and what the Hub refuses;
    OutsideFailed after the last retry, when nothing of it is visible, or all of it; CannotWrite.
    """
    return _ListPublication(Path(folder), to, pull_request, dry_run, progress, tuple(tasks), framework).run()


def config_of(task: str, name: str) -> str:
    """The config of a list, which is also the id of its leaderboard: scifact.bm25-100."""
    return f"{task}.{name}"


def published_lists(repo: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The commit that a dataset of lists is at, and its lists by config, each as `Candidates.as_json` has it.

    Raises BadInput where there is none, OutsideFailed.
    """
    if not is_repo(repo):
        raise BadInput(f"{printable(repo)!r} must be a dataset of the Hub (owner/name) that publish-lists made")
    place = Repository(repo)
    head = place.head()
    manifest = None
    if head is not None:
        manifest = place.read(MANIFEST, head)
    if head is None or manifest is None:
        raise BadInput(
            f"dataset {repo} has no candidate lists; publish them: exabench board publish-lists --repo {repo}"
        )
    try:
        values = from_json(manifest.decode())
        if values["kind"] == "lists":
            return head, dict(values["lists"])
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise BadInput(
        f"dataset {repo} contains something other than candidate lists; name the one that publish-lists made"
    )


@dataclass
class _ListPublication(Publication):
    """The lists of a board on their way. They have no versions: each is known by its digest."""

    what = "lists"
    tasks: tuple[str, ...]
    framework: str

    def check(self) -> None:
        """Read every list. Raises BadInput."""
        ledger = Ledger(self.folder)
        self._settings = ledger.settings()
        if not _FRAMEWORK.fullmatch(self.framework):
            raise BadInput(f"framework {printable(self.framework)!r} must be of a-z, 0-9 and -, as in exabench")
        chosen: list[str] = []
        for one in expand(self.tasks, board=ledger.folder):
            chosen += one.members or (one.name,)
        for name in chosen:
            ledger.check_has_candidates(name, None)
        self._lists = {}
        for listed in ledger.candidates():
            if not chosen or listed.task in chosen:
                self._lists[config_of(listed.task, listed.name)] = listed
        if not self._lists:
            raise BadInput("has no candidate list; freeze one: exabench bench candidates", file=self.folder)
        self._tasks = [task(listed.task, board=ledger.folder) for listed in self._lists.values()]

        licences = set()
        self._files: dict[str, bytes] = {}
        for config, listed in self._lists.items():
            texts = _query_texts(ledger, listed)
            if texts and listed.licence:
                licences.add(listed.licence)
            self._files[_path_of(config)] = _parquet(ledger, listed, texts)
        if self._settings.licence:  # of what the board itself wrote: orders and scores
            licences.add(self._settings.licence)
        self._licences = sorted(licences)

        title = self._settings.title
        description = self._settings.description or f"Reranking of the frozen candidate lists of {title}."
        tasks = [BenchmarkTask(config, config, SPLIT) for config in self._lists]
        self._files[EVAL] = benchmark_yaml(title, description, self.framework, tasks).encode()

    def version_at(self, commit: str) -> str | None:
        is_there = self.read(MANIFEST, commit) == self._manifest and self.read(CARD, commit) == self._card(commit)
        return "" if is_there else None

    def change(self) -> Commit:
        """The files that differ from what is published, by the digests in its manifest."""
        old = self.old_files()
        files: dict[str, Path | bytes] = {CARD: self._card(self.head), MANIFEST: self._manifest}
        for path, content in self._files.items():
            if old.get(path) != digest_of(content):
                files[path] = content
        gone = sorted(old.keys() - self._files.keys())
        message = f"{self._settings.title}: {plural(len(self._lists), 'candidate list')}"
        return Commit(version="", message=message, files=files, delete=gone)

    @cached_property
    def _manifest(self) -> bytes:
        body = {
            "format": 1,
            "kind": self.what,
            "files": {path: digest_of(content) for path, content in self._files.items()},
            "lists": {config: one.as_json() for config, one in self._lists.items()},
        }
        return json_text({**body, "digest": digest_of(body)}).encode()

    def _card(self, commit: str | None) -> bytes:
        repository = "OWNER/NAME"
        if isinstance(self.place, Repository):
            repository = self.place.name
        lists = []
        for config, one in self._lists.items():
            command = ["exabench", "bench", "candidates", one.task, "--retriever", "hub_list"]
            command += ["--set", f"repo={repository}", "--set", f"config={config}"]
            command += ["--depth", str(one.depth), "--name", one.name]
            described = {"config": config, "path": _path_of(config), "command": Markdown(shlex.join(command))}
            lists.append({**one.as_json(), "credit": one.credit, **described})
        page = lists_card(
            lists,
            title=self._settings.title,
            url=self._settings.url,
            repository=repository,
            licences=self._licences,
            languages=sorted({one.language for one in self._tasks}),
            sources=sorted({one.hub["repo"] for one in self._tasks if one.hub}),
            existing=self.read_text(CARD, commit),
        )
        return page.encode()


def _path_of(config: str) -> str:
    return f"data/{config}.parquet"


def _query_texts(ledger: Ledger, one: Candidates) -> dict[str, str]:
    """The texts of a list's queries, as its pages show them; none where the licence does not allow redistribution."""
    file = ledger.shown_file(one.task, one.name)
    if not file.is_file():  # a list of an older board
        return {}
    shown = read_excerpts(file)
    if not shown["texts"]:
        return {}
    return {query["id"]: query["text"] for query in shown["queries"]}


def _parquet(ledger: Ledger, one: Candidates, texts: Mapping[str, str]) -> bytes:
    """The rows of a list: a query each, its passages best first."""
    run = ledger.candidates_run(one)
    offsets = pa.array(run.offsets, pa.int32())
    ranks = ranks_in(np.diff(run.offsets))
    columns = {"query-id": pa.array(run.query_ids, pa.string())}
    if texts:
        columns["query"] = pa.array([texts.get(query_id, "") for query_id in run.query_ids], pa.string())
    columns["corpus-ids"] = pa.ListArray.from_arrays(offsets, run.passage_ids)
    columns["scores"] = pa.ListArray.from_arrays(offsets, pa.array(run.scores, pa.float32()))
    columns["ranks"] = pa.ListArray.from_arrays(offsets, pa.array(ranks + 1, pa.int32()))
    columns["qrels-digest"] = pa.array([one.qrels_digest] * len(run), pa.string())
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()
