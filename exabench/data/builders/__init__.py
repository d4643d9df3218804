"""Builders: how each kind of dataset is planned, and how the teacher's replies become its rows.

A builder is one file that holds one class of the file's name with three methods: `items()` plans, `rows(item, replies)`
makes rows, `report(items)` counts. To add one, add its file. Its constructor takes options, and parts that are already
made under the names `pairs`, `queries`, `collection`, `retrievers` and `reranker`; it imports no other engine. One
whose rows are scored by neither people nor a language model names the scorer in `identity` (model, revision).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from exabench.core.nouns import Reply
from exabench.core.rows import Item, Row
from exabench.core.shelf import Shelf


class Builder(Protocol):
    """Makes rows of one `family` (core.rows); `prompt` is the label of what it asks, or "" if it asks nothing."""

    family: str
    prompt: str

    def items(self) -> Iterator[Item]:
        """The plan of the dataset, one item at a time and the same every time."""

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The rows of an item, one at least; `teacher`, `prompt` and `replies` are added where a row lacks them.

        Raises rows.Rejected where there is none.
        """

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Figures about a plan for the dataset's card, as JSON holds them; empty if there are none."""


BUILDERS = Shelf("builder", __name__, __file__)
