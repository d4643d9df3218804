"""Rerankers: given a query and its candidate passages, a score for each.

A reranker is one file that holds one class of the file's name with one verb, `score(query, passages)`. To add
one, add its file. Those that need no model are the scorer's self-test and the bounds on every task page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from exabench.core.nouns import Passage, Query
from exabench.core.shelf import Shelf


class Reranker(Protocol):
    """Anything that scores passages; `reads` says what it must be given: "ids", "texts" or "judgements"."""

    reads: str

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One finite score for each passage, in the order given; higher is better."""


RERANKERS = Shelf("reranker", __name__, __file__)
