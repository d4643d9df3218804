"""Ranks by the judgements themselves: the ceiling of these candidates for any reranker."""

from __future__ import annotations

from collections.abc import Sequence

from exabench.core.nouns import Passage, Qrels, Query
from exabench.measure.runs import rank_scores


class Oracle:
    """Scores by grade, equal grades in the order given. It sees the answers, so it is never a system."""

    reads = "judgements"

    def __init__(self, qrels: Qrels) -> None:
        self._qrels = qrels

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """Grade first, then the given order, as one falling list of different scores."""
        grades = self._qrels.get(query.id, {})
        best_first = sorted(passages, key=lambda passage: max(0, grades.get(passage.id, 0)), reverse=True)
        scores = rank_scores([passage.id for passage in best_first])
        return [scores[passage.id] for passage in passages]
