"""Pairwise ranking prompting: a language model is shown two passages, in both orders, and names the better one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exabench.errors import BadInput, UnknownName
from exabench.nouns import Passage, Query, Usage
from exabench.rerankers._asking import Answerer, Conversation, known_shape, outcomes, usage
from exabench.rerankers._duels import Duels, by_points, by_sliding
from exabench.rerankers._prompts import prompt_text, shown

_METHODS = ("allpairs", "sliding")


class Prompted:
    """A point to the passage that wins in both orders, else half a point each.

    `method` is "allpairs" (a score is the sum of points over all pairs) or "sliding" (`k` passes from the bottom, in
    which a passage moves up past one that it beats; a score falls with the final place). An answer other than
    "Passage A" or "Passage B" decides nothing and is counted as malformed. Qin et al. 2023, arXiv 2306.17563, as in
    zhiyuanpeng/EER-FLOPs `pairwise.py`.
    """

    def __init__(
        self,
        teacher: Answerer,
        *,
        method: str = "allpairs",
        k: int = 10,
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
    ) -> None:
        if method not in _METHODS:
            raise UnknownName("pairwise method", method, _METHODS)
        if k < 1 or words < 1:
            raise BadInput(f"k={k}, words={words} compares nothing; both are at least 1")
        self._teacher, self._prompt, self._shape = teacher, prompt_text("prp"), known_shape(teacher)
        self._method, self._k, self._words, self._fields = method, k, words, tuple(fields)
        self.precision = str(teacher.identity.get("precision", "unknown"))
        self.parameters: int | None = getattr(teacher, "parameters", None)
        self.identity: dict[str, Any] = {
            "reranker": "pairwise",
            "model": teacher.identity.get("model", ""),
            "revision": teacher.identity.get("revision", ""),
            "prompt": self._prompt.label,
            "strategy": f"sliding, {k} passes" if method == "sliding" else method,
            "precision": self.precision,
            "words": words,
            "fields": list(self._fields),
            "teacher": dict(teacher.identity),
        }

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """Points, or falling scores by final place, in the order given."""
        return next(self.score_many([(query, passages)]))[0]

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order; what many queries have to ask next is asked together."""
        return outcomes(self._teacher, (self._ranking(query, passages) for query, passages in jobs))

    def _ranking(self, query: Query, passages: Sequence[Passage]) -> Conversation:
        texts = [shown(passage, self._fields, self._words) for passage in passages]
        duels, n = Duels(self._prompt, query, [text for text, _ in texts]), len(texts)
        ranked = by_sliding(duels, n, self._k) if self._method == "sliding" else by_points(duels, n)
        scores = yield from ranked
        repairs = [{"malformed": duels.malformed}] if duels.replies else []
        return scores, usage(duels.replies, self._shape, sum(cut for _, cut in texts), repairs)
