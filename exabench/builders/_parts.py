"""What builders need of the parts they are given, which this floor does not know by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from exabench.errors import BadInput
from exabench.nouns import Passage, Query, Run


class Collection(Protocol):
    """A collection of exabench.collections."""

    @property
    def source(self) -> str:
        """The place that it is read from."""

    @property
    def revision(self) -> str:
        """What pins its texts."""

    def passages(self) -> Iterator[Passage]:
        """Every passage, one at a time."""


class FirstStage(Protocol):
    """A retriever of exabench.retrievers."""

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages of every query, in ranking order."""


class Queries(Protocol):
    """A query source of exabench.queries; one with `report()` has more to say on the card."""

    source: str
    source_revision: str

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        """Every query once, with its origin."""


def texts_of(collection: Collection, ids: Iterable[str]) -> dict[str, Passage]:
    """The passages of these ids, in one reading of the collection. Raises BadInput for one that it does not hold."""
    wanted = set(ids)
    found = {passage.id: passage for passage in collection.passages() if passage.id in wanted}
    if len(found) < len(wanted):
        raise BadInput(f"a first stage found a passage that {collection.source} lacks", id=min(wanted - found.keys()))
    return found
