"""Collections: where a task's queries, passages and judgements are read.

A collection is one file that holds one class of the file's name, built from `(task, data, lock)`; `there()` says
at no cost whether it could serve the task. To add a source, add its file and its name to ORDER.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from exabench.nouns import Passage, Query
from exabench.shelf import Shelf


class Collection(Protocol):
    """A task's queries, passages and judgements from one place; `source` names that place on the page."""

    source: str

    @property
    def revision(self) -> str:
        """What pins the texts: a commit, a digest of files, or the version of the package that keeps them."""

    def there(self) -> bool:
        """Could this place serve the task?"""

    def queries(self) -> Iterator[Query]:
        """Every query of the collection, judged or not."""

    def passages(self) -> Iterator[Passage]:
        """Every passage, one at a time."""

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """The judgements of a split."""


COLLECTIONS = Shelf("collection", __name__, __file__)
ORDER = ("beir_folder", "medquad", "ir_datasets", "hub")
