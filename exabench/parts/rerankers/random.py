"""Scores by lot, the same lot every time: the level of knowing nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from exabench.core.nouns import Passage, Query


class Random:
    """Uniform scores in [0, 1) from a hash of seed, query id and passage id: no state, no order."""

    reads = "ids"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One number for each passage; the same pair always draws the same one."""
        return [self._draw(query.id, passage.id) for passage in passages]

    def _draw(self, query_id: str, passage_id: str) -> float:
        drawn = hashlib.sha256(f"{self.seed}\0{query_id}\0{passage_id}".encode()).digest()
        return int.from_bytes(drawn[:3], "big") / 2**24  # 24 bits: exact in single precision
