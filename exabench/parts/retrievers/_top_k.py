"""The best rows of a query while a collection streams by, with every tie at the cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class BestRows:
    """The rows that score no less than the `depth`-th best so far, less a margin: about `depth` of them.

    The margin covers how far approximate scores may be off, so that no row of the exact best `depth` is lost;
    with exact scores it is 0, and ties at the cut stay for the ranking rule to settle.
    """

    def __init__(self, depth: int) -> None:
        self.floor = -np.inf
        self.rows = np.zeros(0, np.int64)
        self.scores = np.zeros(0, np.float32)
        self._depth = depth

    def offer(self, rows: np.ndarray, scores: np.ndarray, margin: float = 0.0) -> None:
        """Add rows that were not offered before, with their scores."""
        self._keep(np.concatenate([self.rows, rows]), np.concatenate([self.scores, scores]))
        if len(self.rows) > self._depth:
            cut = np.partition(self.scores, -self._depth)[-self._depth]
            self.floor = max(self.floor, float(cut) - margin)
            self._keep(self.rows, self.scores)

    def _keep(self, rows: np.ndarray, scores: np.ndarray) -> None:
        good = scores >= self.floor
        self.rows = rows[good]
        self.scores = scores[good]


def columns(best: Sequence[BestRows]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Query number, row and score of everything that is left of each query (of at least one query)."""
    numbers = np.repeat(np.arange(len(best)), [len(one.rows) for one in best])
    rows = np.concatenate([one.rows for one in best])
    scores = np.concatenate([one.scores for one in best])
    return numbers, rows, scores
