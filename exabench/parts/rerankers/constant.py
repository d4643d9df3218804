"""Gives every passage the same score: what a metric gives for ties."""

from __future__ import annotations

from collections.abc import Sequence

from exabench.core.nouns import Passage, Query


class Constant:
    """Scores 0 for everything; the ranking rule then goes by document id."""

    reads = "ids"

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """Zeros."""
        return [0.0] * len(passages)
