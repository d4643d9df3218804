"""Asks a language model to order windows of passages, from the bottom of the list up (RankGPT, LRL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exabench.errors import UnknownName
from exabench.nouns import Passage, Prompt, Query, Reply
from exabench.permutation import Permutation, read_permutation
from exabench.prompting import prompt_file
from exabench.rerankers._asking import Asking, Conversation
from exabench.rerankers._windows import check_windows, windows

if TYPE_CHECKING:
    from exabench.teachers import Teacher

_STYLES = ("rankgpt", "lrl")


class Listwise(Asking):
    """A teacher orders `window` passages at a time; each next window lies `step` higher, the last one at the head.

    `style` is "rankgpt" (a conversation, answered `[2] > [1]`) or "lrl" (assignments, answered `[PASSAGE2,
    PASSAGE1]`), `words` how much of a passage is shown, `passes` how often the list is gone through. A score is the
    number of passages at or below the final place. Answers that are no permutation are repaired, and the repairs
    counted by kind (permutation.py). Sun et al. 2023, arXiv 2304.09542; Ma et al. 2023, arXiv 2305.02156.
    """

    name = "listwise"

    def __init__(
        self,
        teacher: Teacher,
        *,
        style: str = "rankgpt",
        window: int = 20,
        step: int = 10,
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
        passes: int = 1,
    ) -> None:
        if style not in _STYLES:
            raise UnknownName("listwise style", style, _STYLES)
        check_windows(window, step, passes, words)
        self._window, self._step, self._passes = window, step, passes
        strategy = f"windows of {window}, step {step}, {passes} pass{'es' * (passes > 1)}"
        super().__init__(teacher, prompt_file(style), strategy, words=words, fields=fields)

    def _ranking(self, query: Query, passages: Sequence[Passage]) -> Conversation:
        texts, cut = self._shown(passages)
        order = list(range(len(passages)))
        replies: list[Reply] = []
        readings: list[Permutation] = []
        for start, end in windows(len(passages), self._window, self._step, self._passes):
            inside = order[start:end]
            turns = self._prompt.turns(query=query.text, passages=[texts[place] for place in inside])
            room = self._prompt.number("answer_tokens_per_passage") * len(inside)
            [reply] = yield [
                Prompt(f"{query.id}:{start + 1}-{end}:{len(replies)}", turns, room, pattern=self._prompt.pattern)
            ]
            replies.append(reply)
            readings.append(read_permutation(reply.text, len(inside)))
            order[start:end] = [inside[place] for place in readings[-1].order]
        scores = [0.0] * len(order)
        for rank, place in enumerate(order):
            scores[place] = float(len(order) - rank)
        repairs = [reading.repairs for reading in readings]
        return scores, self._usage(replies, cut, repairs)
