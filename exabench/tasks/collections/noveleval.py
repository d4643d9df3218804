"""NovelEval (Sun et al. 2023) as RankGPT's repository holds it: corpus.tsv, queries.tsv and qrels.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exabench.core.errors import BadInput
from exabench.core.files import digest_of, file_digest, lines
from exabench.core.nouns import Passage, Qrels, Query, Task
from exabench.measure.qrels import read_qrels
from exabench.tasks.collections import passage_of, query_of

_CORPUS = "corpus.tsv"
_QUERIES = "queries.tsv"


class Noveleval:
    """`DATA/noveleval/` with the three files: an id, a tab and a text on a line, and judgements as TREC has them."""

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        self._task = task
        self._is_named = task.name == "noveleval" and data is not None
        self.folder = Path(data or "") / "noveleval"
        self.source = "folder noveleval of RankGPT"

    @property
    def revision(self) -> str:
        """The digest of the passages and the queries."""
        # Not of qrels.txt: what the judgements must be is said by the table's own digest of them.
        return digest_of([file_digest(self.folder / name) for name in (_CORPUS, _QUERIES)])

    def is_available(self) -> bool:
        """True for the task noveleval where its passages are there."""
        return self._is_named and (self.folder / _CORPUS).is_file()

    def queries(self) -> Iterator[Query]:
        """Every line of queries.tsv."""
        for id, text in self._pairs(_QUERIES):
            yield query_of(id, text, self.source)

    def passages(self) -> Iterator[Passage]:
        """Every line of corpus.tsv."""
        for id, text in self._pairs(_CORPUS):
            yield passage_of(id, text, "", self.source)

    def qrels(self, split: str) -> Qrels:
        """qrels.txt. Raises BadInput for another split than the task's only one."""
        if split != self._task.split:
            raise BadInput(f"NovelEval has the split {self._task.split}, not {split!r}", file=self.folder)
        return read_qrels(self.folder / "qrels.txt")

    def _pairs(self, name: str) -> Iterator[tuple[str, str]]:
        for number, line in lines(self.folder / name):
            id, tab, text = line.rstrip("\r\n").partition("\t")
            if not tab:
                raise BadInput("has no tab; a line has an id and a text", file=self.folder / name, line=number)
            yield id, text
