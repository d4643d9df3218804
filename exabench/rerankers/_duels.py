"""Two passages, two questions, one winner or none: the comparisons of one query, and the orders made of them."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from itertools import combinations
from typing import TypeAlias, TypeVar

from exabench.nouns import Prompt, Query, Reply
from exabench.prompting import PromptFile

T = TypeVar("T")
Asks: TypeAlias = Generator[list[Prompt], list[Reply], T]
Pair: TypeAlias = tuple[int, int]

_ANSWER = re.compile(r"\W*+passage[\s_]*+([ab])\W*+", re.IGNORECASE)


class Duels:
    """Comparisons between the passages of one query; keeps the replies, and how many said neither A nor B."""

    def __init__(self, prompt: PromptFile, query: Query, texts: Sequence[str]) -> None:
        self._prompt, self._query, self._texts = prompt, query, texts
        self.replies: list[Reply] = []
        self.malformed = 0

    def winners(self, pairs: Sequence[Pair]) -> Asks[list[int | None]]:
        """Which of each two is better in both orders; None where the answers disagree or one is no answer."""
        if not pairs:
            return []
        replies = yield [self._asked(*shown) for a, b in pairs for shown in ((a, b), (b, a))]
        self.replies += replies
        read = [self._read(reply) for reply in replies]
        both = zip(pairs, read[::2], read[1::2], strict=True)
        return [pair["AB".index(one)] if {one, other} == {"A", "B"} else None for pair, one, other in both]

    def _asked(self, first: int, second: int) -> Prompt:
        turns = self._prompt.turns(query=self._query.text, passages=[self._texts[first], self._texts[second]])
        name = f"{self._query.id}:{first + 1},{second + 1}:{len(self.replies)}"
        return Prompt(name, turns, self._prompt.number("answer_tokens_per_passage") * 2)

    def _read(self, reply: Reply) -> str:
        match = _ANSWER.fullmatch(reply.text)
        self.malformed += match is None
        return match[1].upper() if match else ""


def by_points(duels: Duels, n: int) -> Asks[list[float]]:
    """Every pair once: a point to the winner, half a point each where there is none.

    Passages of equal points keep the order they came in: each gets a little less than the one before, all of it
    less than half a point.
    """
    pairs = list(combinations(range(n), 2))
    points = [(n - place) / (4 * n) for place in range(n)]
    winners = yield from duels.winners(pairs)
    for pair, winner in zip(pairs, winners, strict=True):
        for place in pair:
            points[place] += 0.5 if winner is None else float(place == winner)
    return points


def by_sliding(duels: Duels, n: int, k: int) -> Asks[list[float]]:
    """`k` passes of bubble sort from the bottom, k x (n - 1) comparisons; scores fall with the final place."""
    order = list(range(n))
    for _ in range(k):
        for low in range(n - 1, 0, -1):
            [winner] = yield from duels.winners([(order[low - 1], order[low])])
            if winner == order[low]:
                order[low - 1], order[low] = order[low], order[low - 1]
    scores = [0.0] * n
    for rank, place in enumerate(order):
        scores[place] = float(n - rank)
    return scores
