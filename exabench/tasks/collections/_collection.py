"""The protocol of collections, and sources that are named by a collection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from exabench.core.nouns import Passage, Query


class Collection(Protocol):
    """A task's queries, passages and judgements from one place; `source` names that place on the page."""

    source: str

    @property
    def revision(self) -> str:
        """What pins the texts: a commit, a digest of files, or the version of the package that keeps them."""

    def is_available(self) -> bool:
        """Could this place serve the task?"""

    def queries(self) -> Iterator[Query]:
        """Every query of the collection, judged or not."""

    def passages(self) -> Iterator[Passage]:
        """Every passage, one at a time."""

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """The judgements of a split."""


@dataclass
class FromCollection:
    """A source of queries or pairs that reads one collection, and is named and pinned as the collection is."""

    collection: Collection

    @property
    def source(self) -> str:
        """The collection's own name for itself."""
        return self.collection.source

    @property
    def source_revision(self) -> str:
        """What pins the collection."""
        return self.collection.revision
