"""Queries that already exist: those of a collection, of one of its splits, or of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.files import file_digest, lines
from exabench.core.nouns import Query
from exabench.core.records import read_lines
from exabench.data.sampling import draw
from exabench.tasks.collections import FromCollection, TextLine


@dataclass
class Given(FromCollection):
    """The collection's queries under their own ids; with `split` those that this split judges.

    `file` takes their place: one query a line, `id<TAB>text`, or JSON with `_id` and `text` (.jsonl). `count` is the
    number of queries that are sampled (0: all), as the seed and their ids decide.
    """

    _: KW_ONLY
    split: str = ""
    file: str = ""
    count: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split and self.file:
            raise BadInput("given needs a split of the collection's queries or a file, not both")

    @property
    def source(self) -> str:
        """The collection's place, or the file's name."""
        return Path(self.file).name if self.file else super().source

    @property
    def source_revision(self) -> str:
        """The collection's revision, or the file's digest."""
        return file_digest(self.file) if self.file else super().source_revision

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        queries = draw(self._all(), self.count or None, lambda query: f"{self.seed} {query[0]}")
        if not queries or len(queries) < self.count:
            have = plural(len(queries), "query", "queries")
            raise BadInput(f"given: {self.source} has {have}, fewer than count = {self.count or 1}")
        for id, text in queries:
            yield Query(id, text), {"kind": "given", "passage_id": "", "replies": []}

    def _all(self) -> Iterator[tuple[str, str]]:
        """The id and the text of every query. Raises BadInput with the line for a file that cannot be read so."""
        if not self.file:
            judged = self.collection.qrels(self.split) if self.split else None
            for query in self.collection.queries():
                if judged is None or query.id in judged:
                    yield query.id, query.text
            return
        file = Path(self.file)
        seen = set()
        for number, id, text in _lines_of(file):
            # A line without a tab has no text.
            if not id or not text.strip():
                raise BadInput("is not a query: it needs an id and a text", file=file, line=number)
            if id in seen:
                raise BadInput("appears twice; keep one line", file=file, line=number, id=id)
            seen.add(id)
            yield id, text


def _lines_of(file: Path) -> Iterator[tuple[int, str, str]]:
    """Number, id and text of every line that is not empty."""
    if ".jsonl" in file.suffixes:
        for number, query in read_lines(TextLine, file):
            yield number, query.id, query.text
        return
    for number, line in lines(file):
        if line.strip():
            id, _, text = line.partition("\t")
            yield number, id, text
