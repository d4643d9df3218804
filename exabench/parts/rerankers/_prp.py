"""Pairwise ranking prompting: a language model is shown two passages, in both orders, and names the better one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from exabench.core.errors import BadInput, UnknownName
from exabench.core.nouns import Passage, Prompt, Query, Reply
from exabench.parts.conversations import Conversation
from exabench.parts.prompting import PromptFile, prompt_file
from exabench.parts.rerankers._teacher_reranker import Asking, Outcome, by_place

if TYPE_CHECKING:
    from exabench.parts.teachers import Teacher

_METHODS = ("allpairs", "sliding")
_ANSWER = re.compile(r"\W*+passage[\s_]*+([ab])\W*+", re.IGNORECASE)


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
        self._method = method
        self._k = k
        strategy = f"sliding, {k} passes" if method == "sliding" else method
        super().__init__(teacher, prompt_file("prp"), strategy, words=words, fields=fields)

    def _ranking(self, query: Query, passages: Sequence[Passage]) -> Conversation[Outcome]:
        texts, cut = self._shown(passages)
        comparisons = PassageComparisons(self._prompt, query, texts)
        if self._method == "sliding":
            scores = yield from sliding(comparisons, len(texts), self._k)
        else:
            scores = yield from all_pairs(comparisons, len(texts))
        repairs = [{"malformed": comparisons.malformed}] if comparisons.replies else []
        return scores, self._usage(comparisons.replies, cut, repairs)


class PassageComparisons:
    """Comparisons between the passages of one query; keeps the replies, and how many said neither A nor B."""

    def __init__(self, prompt: PromptFile, query: Query, texts: Sequence[str]) -> None:
        self._prompt = prompt
        self._query = query
        self._texts = texts
        self.replies: list[Reply] = []
        self.malformed = 0

    def winners(self, pairs: Sequence[tuple[int, int]]) -> Conversation[list[int | None]]:
        """The passage of each pair that is better in both orders; None where the answers disagree or one is none."""
        if not pairs:
            return []
        prompts: list[Prompt] = []
        for a, b in pairs:
            prompts.append(self._question(a, b))
            prompts.append(self._question(b, a))
        replies = yield prompts
        self.replies.extend(replies)
        winners: list[int | None] = []
        for (a, b), reply, turned in zip(pairs, replies[::2], replies[1::2], strict=True):
            both = self._read(reply) + self._read(turned)
            winners.append({"AB": a, "BA": b}.get(both))
        return winners

    def _question(self, first: int, second: int) -> Prompt:
        turns = self._prompt.turns(query=self._query.text, passages=[self._texts[first], self._texts[second]])
        name = f"{self._query.id}:{first + 1},{second + 1}:{len(self.replies)}"
        return Prompt(name, turns, self._prompt.number("answer_tokens_per_passage") * 2)

    def _read(self, reply: Reply) -> str:
        """A or B; nothing where the reply is neither."""
        match = _ANSWER.fullmatch(reply.text)
        if match is None:
            self.malformed += 1
            return ""
        return match[1].upper()


def all_pairs(comparisons: PassageComparisons, n: int) -> Conversation[list[float]]:
    """Points of `n` passages after every pair was compared: one to the winner, half a point each where there is none.

    Passages of equal points keep the order they came in: each gets a little less than the one before, all of it
    less than half a point.
    """
    pairs = list(combinations(range(n), 2))
    points = [(n - place) / (4 * n) for place in range(n)]
    winners = yield from comparisons.winners(pairs)
    for pair, winner in zip(pairs, winners, strict=True):
        for place in pair:
            points[place] += 0.5 if winner is None else float(place == winner)
    return points


def sliding(comparisons: PassageComparisons, n: int, k: int) -> Conversation[list[float]]:
    """`k` passes of bubble sort from the bottom, k x (n - 1) comparisons; scores fall with the final place."""
    order = list(range(n))
    for _ in range(k):
        for low in range(n - 1, 0, -1):
            [winner] = yield from comparisons.winners([(order[low - 1], order[low])])
            if winner == order[low]:
                order[low - 1], order[low] = order[low], order[low - 1]
    return by_place(order)
