"""Retrievers: first stages, which find the candidates that everybody reranks.

A retriever is one file that holds one class of the file's name, built from a collection and its own options, with
one verb, `search(queries, depth)`. To add one, add its file; its options are its keyword arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from exabench.core.nouns import Query, Run
from exabench.core.shelf import Shelf


class Retriever(Protocol):
    """A first stage; `parameters` is what the candidates' page prints of it.

    `whole` is true where it ranks a whole collection, and false where it is given lists, which may be short. One that
    can name whose work it is, whatever its options, has it as `credit`.
    """

    parameters: Mapping[str, Any]
    whole: bool

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The best `depth` passages of every query, in ranking order."""


RETRIEVERS = Shelf("retriever", __name__, __file__)

FirstStages: TypeAlias = "Mapping[str, Retriever]"
"""First stages by name. A text, so that no check of options looks into them, which would make their indexes."""
