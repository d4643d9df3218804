"""Asks a language model to order windows of passages, from the bottom of the list up (RankGPT, LRL)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Reply
from exabench.parts.conversations import Conversation
from exabench.parts.permutation import Permutation, read_permutation
from exabench.parts.prompting import prompt_file
from exabench.parts.rerankers import Outcome
from exabench.parts.rerankers._teacher_reranker import Asking, by_place

if TYPE_CHECKING:
    from exabench.parts.teachers import Teacher

TYPE = "listwise LLM"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The names of passages in style first."""


class Listwise(Asking):
    """A teacher orders `window` passages at a time; each next window lies `step` higher, the last one at the head.

    `style` is "rankgpt" (a conversation, answered `[2] > [1]`), "lrl" (assignments, answered `[PASSAGE2,
    PASSAGE1]`) or "first" (passages A to Z, in the order of how likely each letter is as the first one of the answer:
    one token for each window, and nothing is written); a `prompt` file that is given query and passages takes the
    place of the style's own (docs/evaluate.md). `words` is how much of a passage is shown, `passes` how often the list
    is gone through. A score is the number of passages at or below the final place. An answer that is not a permutation
    is repaired, and the repairs counted by kind (permutation.py).
    Sun et al. 2023, arXiv 2304.09542; Ma et al. 2023, arXiv 2305.02156; FIRST: Gangi Reddy et al. 2024, arXiv
    2406.15657.
    """

    part = "listwise"

    def __init__(
        self,
        teacher: Teacher,
        *,
        style: Literal["rankgpt", "lrl", "first"] = "rankgpt",
        window: int = 20,  # window, step and words as in RankGPT
        step: int = 10,
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
        passes: int = 1,
        prompt: str = "",
    ) -> None:
        if window < 2 or not 1 <= step <= window or passes < 1 or words < 1:
            raise BadInput(
                f"window={window}, step={step}, passes={passes}, words={words} orders nothing or leaves gaps; a window "
                "has at least 2 passages, a step is at least 1 and at most the window, passes and words at least 1"
            )
        if style == "first" and window > len(LETTERS):
            raise BadInput(f"window={window}, but style first has a letter for {len(LETTERS)} passages")
        self._window = window
        self._step = step
        self._passes = passes
        strategy = f"windows of {window}, step {step}, {passes} pass{'es' * (passes > 1)}"
        if style == "first":
            strategy += ", by likelihood"
        super().__init__(teacher, prompt_file(prompt or style), strategy, words=words, fields=fields)
        self._tokens_per_passage = 0
        if style != "first":
            self._tokens_per_passage = self._prompt.number("answer_tokens_per_passage")

    def conversation(self, query: Query, passages: Sequence[Passage]) -> Conversation[Outcome]:
        texts, cut = self._show(passages)
        order = list(range(len(passages)))
        replies: list[Reply] = []
        repairs = Counter[str]()
        for start, end in windows(len(passages), self._window, self._step, self._passes):
            inside = order[start:end]
            turns = self._prompt.turns(query=query.text, passages=[texts[place] for place in inside])
            name = f"{query.id}:{start + 1}-{end}:{len(replies)}"
            letters = LETTERS[: len(inside)]
            [reply] = yield [self._question(name, turns, self._tokens_per_passage * len(inside), letters)]
            if self._tokens_per_passage:
                reading = read_permutation(reply.answer, len(inside))
            else:
                reading = _by_likelihood(reply, letters)
            order[start:end] = [inside[place] for place in reading.order]
            replies.append(reply)
            repairs.update(reading.repairs)
        return by_place(order), self._usage(replies, len(texts), cut, repairs)


def _by_likelihood(reply: Reply, letters: str) -> Permutation:
    """The order of how likely each letter is; letters that the reply does not list come last, in their own order."""
    log_probs, missing = reply.likelihoods(letters)
    order = sorted(range(len(letters)), key=lambda place: -log_probs[place])
    return Permutation(tuple(order), {"malformed": int(missing > 0), "missing": missing})


def windows(n: int, size: int = 20, step: int = 10, passes: int = 1) -> Iterator[tuple[int, int]]:
    """(start, end) of each window over `n` places, from the bottom up, `passes` times; none for a list of one.

    The first window ends at the bottom and each next one lies `step` higher. The last one starts at the head of the
    list and is smaller where `n - size` is not a multiple of `step`: RankGPT leaves the head unvisited there, rank_llm
    clamps as is done here. 100 places in windows of 20 and steps of 10 are nine windows.
    """
    for _ in range(passes if n > 1 else 0):
        end = n
        while end > size:
            yield end - size, end
            end -= step
        yield 0, end
