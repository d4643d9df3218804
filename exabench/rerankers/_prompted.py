"""Pairwise ranking prompting: a language model is shown two passages, in both orders, and names the better one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exabench.errors import BadInput, UnknownName
from exabench.nouns import Passage, Query
from exabench.prompting import prompt_file
from exabench.rerankers._asking import Asking, Conversation
from exabench.rerankers._duels import Duels, by_points, by_sliding

if TYPE_CHECKING:
    from exabench.teachers import Teacher

_METHODS = ("allpairs", "sliding")


class Prompted(Asking):
    """A point to the passage that wins in both orders, else half a point each.

    `method` is "allpairs" (a score is the sum of points over all pairs) or "sliding" (`k` passes from the bottom, in
    which a passage moves up past one that it beats; a score falls with the final place). An answer other than
    "Passage A" or "Passage B" decides nothing and is counted as malformed. Qin et al. 2023, arXiv 2306.17563, as in
    zhiyuanpeng/EER-FLOPs `pairwise.py`.
    """

    name = "pairwise"

    def __init__(
        self,
        teacher: Teacher,
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
        self._method, self._k = method, k
        strategy = f"sliding, {k} passes" if method == "sliding" else method
        super().__init__(teacher, prompt_file("prp"), strategy, words=words, fields=fields)

    def _ranking(self, query: Query, passages: Sequence[Passage]) -> Conversation:
        texts, cut = self._shown(passages)
        duels, n = Duels(self._prompt, query, texts), len(texts)
        ranked = by_sliding(duels, n, self._k) if self._method == "sliding" else by_points(duels, n)
        scores = yield from ranked
        repairs = [{"malformed": duels.malformed}] if duels.replies else []
        return scores, self._usage(duels.replies, cut, repairs)
