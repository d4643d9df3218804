"""Asks a language model for the best of a few passages, again and again: setwise ranking."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Reply
from exabench.parts.conversations import Conversation
from exabench.parts.prompting import prompt_file
from exabench.parts.rerankers import Outcome
from exabench.parts.rerankers._sorting import bubble_sort, heap_sort
from exabench.parts.rerankers._teacher_reranker import Asking, by_place

if TYPE_CHECKING:
    from exabench.parts.teachers import Teacher

TYPE = "setwise LLM"
LABELS = "ABCDEFGHIJKLMNOPQRSTUVW"
"""Behind "Passage " each is one token of usual tokenizers; X and Y are not."""
_ANSWER = re.compile(r"\W*+(?:passage[\s_]*+)?([a-w])\W*+", re.IGNORECASE)


class Setwise(Asking):
    """A teacher names the best of `children` + 1 passages at a time, which sorts the best `k` to the head.

    `method` is "heapsort" (few calls) or "bubblesort" (passes from the bottom), `words` how much of a passage is shown,
    `prompt` a prompt file that is given query and passages and asks for the label of one of them, A to W. With
    `scoring` "likelihood" nothing is written: the label that is the likeliest next token counts.
    A score falls with the final place; passages behind the best `k` keep the order they came in. An answer that is
    not one label counts as the first of its passages, as in llm-rankers, and as malformed. Zhuang et al. 2024, arXiv
    2310.09497.
    """

    part = "setwise"

    def __init__(
        self,
        teacher: Teacher,
        *,
        method: Literal["heapsort", "bubblesort"] = "heapsort",
        children: int = 3,  # children and k as in the paper
        k: int = 10,
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
        prompt: str = "",
        scoring: Literal["generation", "likelihood"] = "generation",
    ) -> None:
        if not 1 <= children < len(LABELS) or k < 1 or words < 1:
            raise BadInput(
                f"children={children}, k={k}, words={words} sorts nothing; k and words are at least 1, children from 1 "
                f"to {len(LABELS) - 1}"
            )
        self._sort = heap_sort if method == "heapsort" else bubble_sort
        self._children = children
        self._k = k
        strategy = f"{method}, best of {children + 1}, top {k}"
        usual = "setwise"
        if scoring == "likelihood":
            usual = "setwise_letter"
            strategy += ", by likelihood"
        super().__init__(teacher, prompt_file(prompt or usual), strategy, words=words, fields=fields)
        self._answer_tokens = 0
        if scoring == "generation":
            self._answer_tokens = self._prompt.number("answer_tokens")

    def conversation(self, query: Query, passages: Sequence[Passage]) -> Conversation[Outcome]:
        texts, cut = self._show(passages)
        replies: list[Reply] = []
        malformed = 0
        known: dict[tuple[int, ...], int] = {}  # a heap and its passes meet the same passages again

        def best_of(places: Sequence[int]) -> Conversation[int]:
            nonlocal malformed
            asked = tuple(places)
            if asked not in known:
                turns = self._prompt.turns(query=query.text, passages=[texts[place] for place in places])
                name = f"{query.id}:{','.join(str(place + 1) for place in places)}"
                [reply] = yield [self._question(name, turns, self._answer_tokens, LABELS[: len(places)])]
                replies.append(reply)
                chosen = self._place_of(reply, len(places))
                malformed += chosen is None
                known[asked] = places[chosen or 0]  # unread: the first stage is believed
            return known[asked]

        order = yield from self._sort(len(texts), self._k, self._children, best_of)
        repairs = {}
        if replies:
            repairs["malformed"] = malformed
        return by_place(order), self._usage(replies, len(texts), cut, repairs)

    def _place_of(self, reply: Reply, passages: int) -> int | None:
        """Which of so many passages a reply names or finds likeliest; None where that is not one label of theirs."""
        if not self._answer_tokens:
            log_probs, missing = reply.likelihoods(LABELS[:passages])
            if missing == passages:
                return None
            return log_probs.index(max(log_probs))
        match = _ANSWER.fullmatch(reply.answer)
        if match is None:
            return None
        place = LABELS.index(match[1].upper())
        if place >= passages:  # a label that no passage of this prompt has
            return None
        return place
