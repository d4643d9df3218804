"""Keeps the first-stage order: the baseline of every reranker."""

from __future__ import annotations

from collections.abc import Sequence

from exabench.core.nouns import Passage, Query


class Unchanged:
    """Scores n, n - 1, ..., 1 in the order given."""

    reads = "ids"

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """Falling scores, all different."""
        return [float(len(passages) - i) for i in range(len(passages))]
