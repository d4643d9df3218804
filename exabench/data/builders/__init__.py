"""Builders: how each kind of dataset is planned, and how the teacher's replies become its rows.

A builder is one file that holds one class of the file's name with three verbs: `items()` plans, `row(item, replies)`
makes, `report(items)` counts. To add one, add its file. Its constructor takes options, and parts that are already
made under the names `pairs`, `queries`, `collection`, `retrievers` and `reranker`; it imports no other engine. One
whose rows are scored by something else than people or a language model says what by `identity` (model, revision).
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
        """What the dataset is made of, piece by piece: the same every time."""

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The row; where it says nothing of `teacher`, `prompt`, `replies`, building does. Raises rows.Rejected."""

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Figures about a plan for the dataset's card, as JSON holds them; empty where there is nothing to say."""


BUILDERS = Shelf("builder", __name__, __file__)
