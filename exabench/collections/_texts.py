"""The texts of some passages, in a temporary file: as many as need be, for a few bytes of memory each."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping

from exabench.collections import Collection
from exabench.nouns import Passage

_FIELDS = ("text", "title")


class Texts(Mapping[str, Passage]):
    """Those of `passages` whose ids are `wanted`, by id, with the named fields; read once, never held in memory."""

    def __init__(
        self, passages: Iterable[Passage], wanted: Container[str], fields: Container[str] = ("title", "text")
    ) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the object
        self._places: dict[str, int] = {}
        self._ends = array("q", [0])
        for passage in passages:
            if passage.id in wanted:
                line = json.dumps([getattr(passage, name) if name in fields else "" for name in _FIELDS]).encode()
                self._file.write(line)
                self._places[passage.id] = len(self._ends) - 1
                self._ends.append(self._ends[-1] + len(line))
        self._file.flush()

    def __getitem__(self, passage_id: str) -> Passage:
        place = self._places[passage_id]
        start, end = self._ends[place], self._ends[place + 1]
        text, title = json.loads(os.pread(self._file.fileno(), end - start, start))
        return Passage(passage_id, text, title)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Passages:
    """A collection's passages, as often as they are wanted and never all at once."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __iter__(self) -> Iterator[Passage]:
        return self._collection.passages()
