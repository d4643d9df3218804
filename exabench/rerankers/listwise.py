"""Asks a language model to order windows of passages, from the bottom of the list up (RankGPT, LRL)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exabench.errors import UnknownName
from exabench.nouns import Passage, Prompt, Query, Reply, Usage
from exabench.rerankers._asking import Answerer, Conversation, known_shape, outcomes, usage
from exabench.rerankers._permutation import Permutation, read_permutation
from exabench.rerankers._prompts import prompt_text, shown
from exabench.rerankers._windows import check_windows, windows

_STYLES = ("rankgpt", "lrl")


class Listwise:
    """A teacher orders `window` passages at a time; each next window lies `step` higher, the last one at the head.

    `style` is "rankgpt" (a conversation, answered `[2] > [1]`) or "lrl" (assignments, answered `[PASSAGE2,
    PASSAGE1]`), `words` how much of a passage is shown, `passes` how often the list is gone through. A score is the
    number of passages at or below the final place. Answers that are no permutation are repaired, and the repairs
    counted by kind (_permutation.py). Sun et al. 2023, arXiv 2304.09542; Ma et al. 2023, arXiv 2305.02156.
    """

    reads = "texts"
    asks = "teacher"

    def __init__(
        self,
        teacher: Answerer,
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
        self._teacher, self._prompt, self._shape = teacher, prompt_text(style), known_shape(teacher)
        self._window, self._step, self._passes = window, step, passes
        self._words, self._fields = words, tuple(fields)
        self.precision = str(teacher.identity.get("precision", "unknown"))
        self.parameters: int | None = getattr(teacher, "parameters", None)
        self.identity: dict[str, Any] = {
            "reranker": "listwise",
            "model": teacher.identity.get("model", ""),
            "revision": teacher.identity.get("revision", ""),
            "prompt": self._prompt.label,
            "strategy": f"windows of {window}, step {step}, {passes} pass{'es' * (passes > 1)}",
            "precision": self.precision,
            "words": words,
            "fields": list(self._fields),
            "teacher": dict(teacher.identity),
        }

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """Falling scores by final place, in the order given."""
        return next(self.score_many([(query, passages)]))[0]

    def score_many(self, jobs: Iterable[tuple[Query, Sequence[Passage]]]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order; the windows of many queries are asked together."""
        return outcomes(self._teacher, (self._ranking(query, passages) for query, passages in jobs))

    def _ranking(self, query: Query, passages: Sequence[Passage]) -> Conversation:
        texts = [shown(passage, self._fields, self._words) for passage in passages]
        order = list(range(len(passages)))
        replies: list[Reply] = []
        readings: list[Permutation] = []
        for start, end in windows(len(passages), self._window, self._step, self._passes):
            inside = order[start:end]
            turns = self._prompt.turns(query.text, [texts[place][0] for place in inside])
            room = self._prompt.answer_tokens_per_passage * len(inside)
            [reply] = yield [Prompt(f"{query.id}:{start + 1}-{end}:{len(replies)}", turns, room)]
            replies.append(reply)
            readings.append(read_permutation(reply.text, len(inside)))
            order[start:end] = [inside[place] for place in readings[-1].order]
        scores = [0.0] * len(order)
        for rank, place in enumerate(order):
            scores[place] = float(len(order) - rank)
        repairs = [reading.repairs for reading in readings]
        return scores, usage(replies, self._shape, sum(cut for _, cut in texts), repairs)
