"""Reverses the first-stage order: the score of a sign error."""

from __future__ import annotations

from collections.abc import Sequence

from exabench.core.nouns import Passage, Query


class Reversed:
    """Scores 1, 2, ..., n in the order given."""

    reads = "ids"

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """Rising scores, all different."""
        return [float(i + 1) for i in range(len(passages))]
