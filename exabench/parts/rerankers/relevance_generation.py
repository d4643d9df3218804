"""Asks a language model whether a passage answers a query, and scores how likely Yes is against No."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Query
from exabench.parts.conversations import Conversation
from exabench.parts.prompting import prompt_file
from exabench.parts.rerankers import Outcome
from exabench.parts.rerankers._teacher_reranker import Asking

if TYPE_CHECKING:
    from exabench.parts.teachers import Teacher

TYPE = "pointwise LLM"


class RelevanceGeneration(Asking):
    """A score is the log-probability of the first of two `answers` as the next token, less that of the second.

    That ranks as the probability of a yes among both does, and does not tie where it is close to 1. One call for each
    passage; nothing is written. `prompt` is a prompt file that is given query and passage, `words` how much of a
    passage is shown. A reply with neither answer among its likely tokens scores 0, even odds, and is counted as
    malformed. yes_no scores the same with a model in this process, and faster.
    Liang et al. 2022, arXiv 2211.09110; the name is Qin et al.'s, arXiv 2306.17563.
    """

    part = "relevance_generation"
    one_round = True

    def __init__(
        self,
        teacher: Teacher,
        *,
        answers: Sequence[str] = ("Yes", "No"),
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
        prompt: str = "relevance",
    ) -> None:
        plain = all(answer.strip() and "|" not in answer for answer in answers)
        if len(answers) != 2 or answers[0] == answers[1] or not plain:
            raise BadInput('answers are two different words without "|", the one for a relevant passage first')
        if words < 1:
            raise BadInput(f"words={words} shows nothing of a passage; it is at least 1")
        self._answers = tuple(answers)
        strategy = f"log-odds of {self._answers[0]} against {self._answers[1]}"
        super().__init__(teacher, prompt_file(prompt), strategy, words=words, fields=fields)

    def conversation(self, query: Query, passages: Sequence[Passage]) -> Conversation[Outcome]:
        texts, cut = self._show(passages)
        prompts = []
        for place, text in enumerate(texts):
            turns = self._prompt.turns(query=query.text, passage=text)
            prompts.append(Prompt.of_choices(f"{query.id}:{place + 1}", turns, self._answers))
        replies = []
        if prompts:
            replies = yield prompts

        scores = []
        repairs = {"malformed": 0}
        for reply in replies:
            (positive, negative), missing = reply.likelihoods(self._answers)
            scores.append(positive - negative)
            repairs["malformed"] += missing == len(self._answers)
        return scores, self._usage(replies, len(texts), cut, repairs)
