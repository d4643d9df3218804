"""A folder in BEIR layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exabench.core.errors import BadInput
from exabench.core.files import PACKAGE, digest_of, file_digest
from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.core.records import read_lines
from exabench.measure.qrels import read_qrels
from exabench.tasks.collections import TextLine
from exabench.tasks.custom import splits_in


class BeirFolder:
    """`DATA/<task>/` where it exists; `mini` is found inside exabench itself."""

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        own = PACKAGE / task.name
        if (own / "corpus.jsonl").is_file():
            self.folder = own
        else:
            self.folder = task.folder or Path(data or "") / task.name
        # Without a folder given, one of the task's name in the working folder is none of ours.
        self._given = self.folder in (own, task.folder) or data is not None
        self.source = f"folder {task.name} in BEIR layout"

    @property
    def revision(self) -> str:
        """The digest of corpus.jsonl and queries.jsonl."""
        return digest_of([file_digest(self.folder / name) for name in ("corpus.jsonl", "queries.jsonl")])

    def is_available(self) -> bool:
        """True where the folder holds the three files."""
        return self._given and (self.folder / "corpus.jsonl").is_file() and (self.folder / "qrels").is_dir()

    def queries(self) -> Iterator[Query]:
        """Every line of queries.jsonl."""
        for line in self._lines("queries.jsonl"):
            yield Query(line.id, line.text)

    def passages(self) -> Iterator[Passage]:
        """Every line of corpus.jsonl."""
        for line in self._lines("corpus.jsonl"):
            yield Passage(line.id, line.text, str(line.title or ""))

    def qrels(self, split: str) -> Qrels:
        """qrels/<split>.tsv, or .txt or .qrels in TREC's layout."""
        file = splits_in(self.folder).get(split, self.folder / "qrels" / f"{split}.tsv")
        return read_qrels(file)

    def _lines(self, name: str) -> Iterator[TextLine]:
        file = self.folder / name
        seen = set[str]()
        for number, line in read_lines(TextLine, file):
            if not line.id:
                raise BadInput("has an empty _id", file=file, line=number)
            if line.id in seen:
                raise BadInput("stands twice; keep one line", file=file, line=number, id=line.id)
            seen.add(line.id)
            yield line
