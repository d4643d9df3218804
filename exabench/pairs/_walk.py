"""The walk through MS MARCO triples that the ExaRanker authors' code takes (unicamp-dl/ExaRanker, ds/genDS_GPT3.py)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from exabench.errors import BadInput

_T = TypeVar("_T")
WAYS = ("paper", "balanced")


@dataclass(frozen=True)
class Walk:
    """Python's generator of `seed` draws the first line among the first `step` + 1, then jumps of 1 to `step` lines.

    In the `way` "paper" lines give by turns a non-relevant pair and a relevant one, so that the two are of different
    lines; in the way "balanced" every line that the walk meets gives both, the non-relevant one first.
    """

    way: str = "paper"
    seed: int = 2
    step: int = 10

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise BadInput(f"way is {self.way!r}; choose {' or '.join(WAYS)}")
        if self.step < 1:
            raise BadInput(f"step is {self.step}; the walk goes at least one line at a time")

    def labelled(self, lines: Iterable[_T]) -> Iterator[tuple[_T, bool]]:
        """The lines that the walk meets, each with the class of the pair that it is to give."""
        chance = random.Random(self.seed)
        wanted, turn = chance.randint(0, self.step), False
        for place, line in enumerate(lines):
            if place == wanted:
                for relevant in (turn,) if self.way == "paper" else (False, True):
                    yield line, relevant
                turn = not turn
                wanted = place + chance.randint(1, self.step)
