"""Pairs: queries and passages with a label, for a builder to explain or to train on.

A source is one file that holds one class of the file's name that gives its pairs one by one. To add one, add its file;
its options are its keyword arguments, and one called `collection` gets the collection that the recipe names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from exabench.core.rows import Pair
from exabench.core.shelf import Shelf


class Pairs(Protocol):
    """Labelled pairs in a fixed order, no (query id, passage id) twice.

    `source` names the collection or file that they were read from, `source_revision` its commit or digest.
    """

    source: str
    source_revision: str

    def __iter__(self) -> Iterator[Pair]:
        """Every pair, the same ones in the same order every time."""


PAIRS = Shelf("source of pairs", __name__, __file__)
