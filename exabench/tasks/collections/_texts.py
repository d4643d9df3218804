"""The texts of some passages, in a temporary file: as many as need be, for a few bytes of memory each."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from exabench.core.errors import BadInput
from exabench.core.files import TemporaryRows
from exabench.core.nouns import Passage, Query
from exabench.tasks.collections._collection import Collection


class TextLine(msgspec.Struct):
    """A line of a JSONL file of queries or passages in BEIR layout; what else it holds is not read."""

    text: str
    id: str = msgspec.field(name="_id")
    title: Any = None


class SelectedTexts(Mapping[str, Passage]):
    """Those of `passages` whose ids are `wanted`, by id, with the named fields; read once, never held in memory."""

    def __init__(
        self, passages: Iterable[Passage], wanted: Container[str], fields: Container[str] = ("title", "text")
    ) -> None:
        self._places: dict[str, int] = {}
        self._rows = TemporaryRows()

        def rows() -> Iterator[bytes]:
            for passage in passages:
                if passage.id in wanted:
                    text = passage.text if "text" in fields else ""
                    title = passage.title if "title" in fields else ""
                    self._places[passage.id] = len(self._rows)
                    yield json.dumps([text, title]).encode()

        self._rows.extend(rows())

    def __getitem__(self, passage_id: str) -> Passage:
        text, title = json.loads(self._rows[self._places[passage_id]])
        return Passage(passage_id, text, title)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def texts_of(collection: Collection, ids: Iterable[str]) -> SelectedTexts:
    """The passages of these ids, in one reading of the collection. Raises BadInput for one that it does not hold."""
    wanted = set(ids)
    texts = SelectedTexts(collection.passages(), wanted)
    if len(texts) < len(wanted):
        lost = min(wanted - texts.keys())
        raise BadInput(f"{collection.source} has no passage of this id; queries and first stages must read it", id=lost)
    return texts


def queries_of(collection: Collection, ids: Iterable[str]) -> dict[str, Query]:
    """The queries of these ids, by id. Raises BadInput for one that the collection does not hold."""
    wanted = set(ids)
    queries = {query.id: query for query in collection.queries() if query.id in wanted}
    if len(queries) < len(wanted):
        raise BadInput(f"{collection.source} has no query of this id", id=min(wanted - queries.keys()))
    return queries


def triples_of(collection: Collection) -> Iterator[tuple[str, str, str]]:
    """Training triples by id: query, relevant passage, other passage. Raises BadInput for a collection without any."""
    if not hasattr(collection, "triples"):
        raise BadInput(f"{collection.source} has no triples; give a task that ir_datasets keeps some for")
    triples = collection.triples()
    return triples


class Passages:
    """A collection's passages, as often as they are wanted and never all at once."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __iter__(self) -> Iterator[Passage]:
        return self._collection.passages()
