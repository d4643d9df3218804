"""Positive-aware hard negatives: a candidate that a reranker scores too close to the positive is likely to be relevant.

NV-Retriever (Moreira et al. 2024, arXiv 2407.15831) bounds the scores of negatives in three ways. The options have the
names of sentence-transformers' `mine_hard_negatives`: TopK-PercPos with 95% is `relative_margin` = 0.05,
TopK-MarginPos is `absolute_margin`, TopK-Abs is `max_score`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from exabench.core.errors import BadInput
from exabench.parts.rerankers import Job, Reranker, score_jobs


@dataclass(frozen=True)
class PositiveAware:
    """Which candidates may be negatives by a `reranker`'s scores and one bound; all of them without a reranker."""

    reranker: Reranker | None = None
    relative_margin: float | None = None
    absolute_margin: float | None = None
    max_score: float | None = None

    def __post_init__(self) -> None:
        bounds = [self.relative_margin, self.absolute_margin, self.max_score]
        given = len(bounds) - bounds.count(None)
        if given != (self.reranker is not None):
            raise BadInput(
                "a reranker, which scores candidates, and one bound of their scores go together: give reranker and "
                "relative_margin, absolute_margin or max_score"
            )
        if self.reranker is not None and self.reranker.reads == "judgements":
            raise BadInput("negatives must not be chosen by the judgements: choose a reranker that reads texts")
        if not 0 <= (self.relative_margin or 0) <= 1 or (self.absolute_margin or 0) < 0:
            raise BadInput("relative_margin is a share from 0 to 1, and absolute_margin is at least 0")

    def score(self, jobs: Iterable[Job]) -> Iterator[dict[str, float]]:
        """The scores of each query's passages, by their ids; without a reranker no passage is read or scored."""
        if self.reranker is None:
            for _ in jobs:
                yield {}
            return
        ids = deque[list[str]]()

        def read() -> Iterator[Job]:
            for query, passages in jobs:
                ids.append([passage.id for passage in passages])
                yield query, passages

        for scores, _ in score_jobs(self.reranker, read()):
            yield dict(zip(ids.popleft(), map(float, scores), strict=True))

    def fault(self, scores: Mapping[str, float], positive: str) -> str:
        """Why the positive gives no bound, or ""."""
        # A share of a logit depends on where its model happens to put 0.
        if self.relative_margin is not None and scores[positive] <= 0:
            return "relative_margin is a share of the positive's score, which is not above 0"
        return ""

    def allowed(self, scores: Mapping[str, float], positive: str, candidates: Iterable[str]) -> list[str]:
        """The candidates whose scores do not exceed the bound, in their order."""
        if self.reranker is None:
            return list(candidates)
        if self.max_score is not None:
            bound = self.max_score
        elif self.absolute_margin is not None:
            bound = scores[positive] - self.absolute_margin
        else:
            bound = scores[positive] * (1 - (self.relative_margin or 0))
        return [id for id in candidates if scores[id] <= bound]
