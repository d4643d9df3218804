"""Queries that are there already: those of a collection, of one of its splits, or of a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput, plural
from exabench.files import file_digest, from_json, lines
from exabench.nouns import Query
from exabench.queries._sampling import lowest, rank

if TYPE_CHECKING:
    from exabench.collections import Collection


class Given:
    """The collection's queries under their own ids; with `split` those that this split judges.

    `file` takes their place: one query a line, `id<TAB>text`, or JSON with `_id` and `text` (.jsonl). `count` samples
    so many of them (0: all), as the seed and their ids decide.
    """

    def __init__(
        self, collection: Collection, *, split: str = "", file: str = "", count: int = 0, seed: int = 0
    ) -> None:
        if split and file:
            raise BadInput("given takes a split of the collection's queries or a file, not both")
        self._collection, self._split, self._file = collection, split, file
        self._count, self._seed = count, seed

    @property
    def source(self) -> str:
        """The collection's place, or the file's name."""
        return Path(self._file).name if self._file else self._collection.source

    @property
    def source_revision(self) -> str:
        """The collection's revision, or the file's digest."""
        return file_digest(self._file) if self._file else self._collection.revision

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        ranked = ((rank(self._seed, query.id), (query.id, query.text)) for query in self._all())
        queries = lowest(ranked, self._count) if self._count else [row for _, row in sorted(ranked)]
        if not queries or len(queries) < self._count:
            have = plural(len(queries), "query", "queries")
            raise BadInput(f"given: {self.source} has {have}, fewer than count = {self._count or 1}")
        for id, text in queries:
            yield Query(id, text), {"kind": "given", "passage_id": "", "replies": []}

    def _all(self) -> Iterator[Query]:
        if self._file:
            return _queries_in(Path(self._file))
        judged = self._collection.qrels(self._split) if self._split else None
        return (query for query in self._collection.queries() if judged is None or query.id in judged)


def _queries_in(file: Path) -> Iterator[Query]:
    """The queries of a file. Raises BadInput with the line."""
    seen: set[str] = set()
    for number, line in lines(file):
        if not line.strip():
            continue
        id, text = _json_query(line) if ".jsonl" in file.suffixes else line.partition("\t")[::2]
        if not id or not text.strip():
            raise BadInput("is no query: it needs an id and a text", file=file, line=number)
        if id in seen:
            raise BadInput("stands twice; keep one line", file=file, line=number, id=id)
        seen.add(id)
        yield Query(id, text)


def _json_query(line: str) -> tuple[str, str]:
    """Id and text; empty ones where the line has none."""
    try:
        row = from_json(line)
        id, text = row["_id"], row["text"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return "", ""
    return (id, text) if isinstance(id, str) and isinstance(text, str) else ("", "")
