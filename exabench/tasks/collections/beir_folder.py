"""A folder in BEIR layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import msgspec

from exabench.core.errors import BadInput
from exabench.core.files import PACKAGE, digest_of, file_digest
from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.core.records import read_lines
from exabench.measure.columns import BAD_ID, is_id
from exabench.measure.qrels import read_qrels
from exabench.tasks.catalogue import names_of
from exabench.tasks.collections import TextLine, passage_of, query_of
from exabench.tasks.custom import splits_in

_CORPUS = "corpus.jsonl"
_QUERIES = "queries.jsonl"


class _ExcludingLine(msgspec.Struct):
    """A query's id and the passages that are left out of its ranking."""

    id: str = msgspec.field(name="_id")
    excluded_ids: list[str] | None = None


class BeirFolder:
    """A custom task's own folder, else `DATA/<task>/` where it exists; `mini` is found inside exabench itself.

    A task of the table may also be under one of its other names (`DATA/SciFact/`, `DATA/cqadupstack/android/`), or be
    a split of a folder (`DATA/msmarco/qrels/dev.tsv`). The .jsonl files may be packed (corpus.jsonl.gz). Where the task
    drops excluded ids, a line of queries.jsonl holds those of its query: `"excluded_ids": ["d7"]`.
    """

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        self._task = task
        self._data = data
        own = PACKAGE / task.name
        # Without a folder given, one of the task's name in the working folder is none of ours.
        self._is_given = True
        if _file(own, _CORPUS):
            self.folder = own
        elif task.folder is not None:
            self.folder = task.folder
        else:
            self._is_given = data is not None
            self.folder = _find(task, Path(data or ""))
        self.source = f"folder {task.name} in BEIR layout"

    @property
    def revision(self) -> str:
        """The digest of corpus.jsonl and queries.jsonl."""
        return digest_of([file_digest(self._file(name)) for name in (_CORPUS, _QUERIES)])

    def is_available(self) -> bool:
        """True where the folder holds passages, queries and judgements of some split."""
        return self._is_given and not self._missing()

    def holds(self, split: str) -> bool:
        """Are the judgements of a split there, whatever else is?"""
        return self._is_given and split in splits_in(self.folder)

    def check_whole(self, needs: str = "texts") -> None:
        """Raise BadInput for a folder that lacks a file, or that is taken for the folder of all collections."""
        if not self._is_given:
            return
        missing = self._missing()
        there = [name for name in (_CORPUS, _QUERIES, "qrels") if name not in missing]
        if there:
            lacking = ", ".join(missing)
            if needs == "judgements":
                lacking = f"qrels/{self._task.split}.tsv"
            raise BadInput(f"has {' and '.join(there)} but no {lacking}", file=self.folder)
        # `hf download` and snapshot_download leave a data set as the Hub stores it.
        if next(self.folder.glob("**/*.parquet"), None) is not None:
            raise BadInput(
                f"is a Parquet copy from the Hub; convert it to {_CORPUS}, {_QUERIES} and qrels/<split>.tsv, "
                "or name the repository: hub:OWNER/NAME",
                file=self.folder,
            )
        if self._task.folder is not None:
            raise BadInput(
                f"task {self._task.name} does not exist; give the folder that contains it with --data DIR",
                file=self.folder,
            )
        data = Path(self._data or "")
        if _file(data, _CORPUS) or splits_in(data):
            parent = data.resolve().parent
            raise BadInput(
                f"is itself a collection and has no {self._task.name}/; did you mean --data {parent}, or --task "
                f"{data}?",
                file=data,
            )

    def queries(self) -> Iterator[Query]:
        """Every line of queries.jsonl."""
        for line in self._lines(_QUERIES):
            yield query_of(line.id, line.text, self.source)

    def passages(self) -> Iterator[Passage]:
        """Every line of corpus.jsonl."""
        for line in self._lines(_CORPUS):
            yield passage_of(line.id, line.text, line.title, self.source)

    def qrels(self, split: str) -> Qrels:
        """qrels/<split>.tsv, or .txt or .qrels in TREC's layout."""
        file = splits_in(self.folder).get(split, self.folder / "qrels" / f"{split}.tsv")
        return read_qrels(file)

    def excluded(self) -> Mapping[str, Set[str]]:
        """The passages that each query excludes. Raises BadInput where no line of queries.jsonl says any."""
        file = self._file(_QUERIES)
        excluded = {}
        for _, line in read_lines(_ExcludingLine, file):
            if line.excluded_ids is not None:  # an empty list says that nothing is excluded, no list says nothing
                excluded[line.id] = set(line.excluded_ids)
        if not excluded:
            raise BadInput(
                f"no query has the key excluded_ids, which {self._task.name} needs; write a list of ids, or []",
                file=file,
            )
        return excluded

    def _file(self, name: str) -> Path:
        return _file(self.folder, name) or self.folder / name

    def _missing(self) -> list[str]:
        missing = [name for name in (_CORPUS, _QUERIES) if _file(self.folder, name) is None]
        if not splits_in(self.folder):
            missing.append("qrels")
        return missing

    def _lines(self, name: str) -> Iterator[TextLine]:
        file = self._file(name)
        seen = set[str]()
        for number, line in read_lines(TextLine, file):
            if not line.id:
                raise BadInput("has an empty _id", file=file, line=number)
            if not is_id(line.id):
                raise BadInput(BAD_ID, file=file, line=number, id=line.id)
            if line.id in seen:
                raise BadInput("appears twice; keep one line", file=file, line=number, id=line.id)
            seen.add(line.id)
            yield line


def _file(folder: Path, name: str) -> Path | None:
    """The file of that name, plain or packed."""
    # The plain file first: where both are there, it was unpacked from the other, and is read sooner.
    for suffix in ("", ".gz", ".bz2", ".xz", ".zst"):
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    return None


def _find(task: Task, data: Path) -> Path:
    """The folder of a task in `data`: of its own name, else of another of its names, without the split behind it."""
    own = data / task.name
    if own.is_dir() or not data.is_dir():
        return own
    # BEIR's archives unpack to scifact/, MTEB and papers write SciFact; not every file system tells them apart.
    in_any_case = {folder.name.lower(): folder for folder in sorted(data.iterdir())}
    for name in names_of(task):
        whole = name.removesuffix(f"/{task.split}")
        for folder in (data / name, data / whole, in_any_case.get(whole.lower(), own)):
            if task.split in splits_in(folder):
                return folder
    return own
