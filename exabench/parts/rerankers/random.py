"""Random scores, the same every time: the level of knowing nothing."""

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
        scores = []
        for passage in passages:
            drawn = hashlib.sha256(f"{self.seed}\0{query.id}\0{passage.id}".encode()).digest()
            scores.append(int.from_bytes(drawn[:3], "big") / 2**24)  # 24 bits: exact in single precision
        return scores
