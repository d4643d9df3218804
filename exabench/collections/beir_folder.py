"""A folder in BEIR layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exabench.errors import BadInput
from exabench.files import digest_of, file_digest, from_json, lines
from exabench.nouns import Passage, Query, Task
from exabench.qrels import read_qrels

EMBEDDED = Path(__file__).parents[1]


class BeirFolder:
    """`DATA/<task>/` where it exists; `mini` is found inside exabench itself."""

    def __init__(self, task: Task, data: str | Path | None = None, lock: str | Path | None = None) -> None:
        own = EMBEDDED / task.name
        self.folder = own if (own / "corpus.jsonl").is_file() else Path(data or "") / task.name
        self._given = self.folder == own or data is not None
        self.source = f"folder {task.name} in BEIR layout"

    @property
    def revision(self) -> str:
        """The digest of corpus.jsonl and queries.jsonl."""
        return digest_of([file_digest(self.folder / name) for name in ("corpus.jsonl", "queries.jsonl")])

    def there(self) -> bool:
        """True where the folder holds the three files."""
        return self._given and (self.folder / "corpus.jsonl").is_file() and (self.folder / "qrels").is_dir()

    def queries(self) -> Iterator[Query]:
        """Every line of queries.jsonl."""
        for id, row in self._rows("queries.jsonl"):
            yield Query(id, str(row.get("text", "")))

    def passages(self) -> Iterator[Passage]:
        """Every line of corpus.jsonl."""
        for id, row in self._rows("corpus.jsonl"):
            yield Passage(id, str(row.get("text", "")), str(row.get("title") or ""))

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """qrels/<split>.tsv."""
        return read_qrels(self.folder / "qrels" / f"{split}.tsv")

    def _rows(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        file, seen = self.folder / name, set[str]()
        for number, line in lines(file):
            if not line.strip():
                continue
            try:
                row = from_json(line)
            except (ValueError, RecursionError) as error:
                raise BadInput("is not JSON", file=file, line=number) from error
            id = row.get("_id") if isinstance(row, dict) else None
            if not isinstance(id, str) or not id or not isinstance(row.get("text"), str):
                raise BadInput('needs a text "_id" and a text "text"', file=file, line=number)
            if id in seen:
                raise BadInput("stands twice; keep one line", file=file, line=number, id=id)
            seen.add(id)
            yield id, row
