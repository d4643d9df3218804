"""Compares pairs of passages: a language model chooses the better one (PRP), or duoT5 scores how likely it is."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from exabench.core.errors import BadInput, MissingExtra
from exabench.core.files import digest_of
from exabench.core.nouns import Passage, Progress, Query, Reply, silent
from exabench.core.options import make
from exabench.core.packages import extra_line
from exabench.parts.comparisons import thurstone
from exabench.parts.conversations import Conversation
from exabench.parts.prompting import prompt_file
from exabench.parts.rerankers import Outcome
from exabench.parts.rerankers._sorting import heap_sort
from exabench.parts.rerankers._teacher_reranker import Asking, by_place

if TYPE_CHECKING:
    from exabench.parts.teachers import Teacher

TYPE = "pairwise LLM"
LETTERS = ("A", "B")
_ANSWER = re.compile(r"\W*+passage[\s_]*+([ab])\W*+", re.IGNORECASE)


class PairwiseOptions(TypedDict, total=False):
    """With a teacher: `method` is "allpairs", "sliding" (`k` passes go up the list), "heapsort" (of the best `k`) or
    "thurstone" (`cycles` through all passages, in random orders, and a fit of their strengths).

    `prompt` is a prompt file that is given query and passages, and asks for Passage A or Passage B. With `scoring`
    "likelihood" nothing is written: the likelier one of the letters A and B counts.

    With a model: `answers` are the words for the better and the worse first passage; `family`: one of models/families.
    """

    method: Literal["allpairs", "sliding", "heapsort", "thurstone"]
    k: int
    cycles: int
    words: int
    prompt: str
    scoring: Literal["generation", "likelihood"]
    revision: str
    precision: str
    family: str
    answers: Sequence[str]
    max_length: int
    batch_tokens: int
    devices: Sequence[str]


class Pairwise:
    """With a `teacher`, PRP (`method`, `k`, `words`); with a `model`, duoT5 (_duo_t5.py: the other options).

    Making one gives a PromptedPairs or a DuoT5. Qin et al. 2023, arXiv 2306.17563; Pradeep et al. 2021, arXiv
    2101.05667. Raises BadInput without either, with both, or with an option of the other one.
    """

    reads = "texts"

    def __new__(
        cls,
        teacher: Teacher | None = None,
        *,
        model: str = "",
        fields: Sequence[str] = ("title", "text"),
        lock: str | Path | None = None,
        scores: str | None = None,
        progress: Progress = silent,
        **options: Unpack[PairwiseOptions],
    ) -> Any:
        """The reranker of the way that is asked for."""
        if (teacher is None) == (not model):
            raise BadInput("pairwise needs either a teacher (PRP) or a model (duoT5)")
        own = {"fields": fields, **options}
        if teacher is not None:
            return make("reranker pairwise with a teacher", PromptedPairs, {}, own, teacher)
        try:  # only here: a teacher on a server needs no torch
            from exabench.parts.rerankers._duo_t5 import DuoT5
        except ModuleNotFoundError as error:
            needed = f"needs packages: {extra_line('models')}"
            raise MissingExtra(f"reranker 'pairwise' with a model {needed}") from error
        given = {"lock": lock, "scores": scores, "progress": progress}
        return make("reranker pairwise with a model", DuoT5, given, own, model)


class PromptedPairs(Asking):
    """PRP: a point to the passage that wins in both orders, else half a point each.

    `method` is "allpairs" (a score is the sum of points over all pairs), "sliding" (`k` passes from the bottom, in
    which a passage moves up past one that it beats), "heapsort" (a heap of pairs brings the best `k` to the head; the
    others keep their order) or "thurstone"; with "sliding" and "heapsort" a score falls with the final place. An answer
    other than "Passage A" or "Passage B" decides nothing and is counted as malformed. With `scoring` "likelihood" the
    letter that is likelier as the next token is the answer. Qin et al. 2023, arXiv 2306.17563, as in
    zhiyuanpeng/EER-FLOPs `pairwise.py`.

    "thurstone" asks about `cycles` random cycles through all passages: with two each passage meets at most four others,
    and n passages need at most 4n prompts. A score is the strength that explains the answers best in Thurstone's model,
    where an answer is the probability of A, by `scoring` "likelihood", or 1, 0 or 1/2 (parts/comparisons.py).
    Pipitone et al. 2025 (zELO), arXiv 2509.12541, who let several models vote.
    """

    part = "pairwise"

    def __init__(
        self,
        teacher: Teacher,
        *,
        method: Literal["allpairs", "sliding", "heapsort", "thurstone"] = "allpairs",
        k: int = 10,
        cycles: int = 2,
        words: int = 300,
        fields: Sequence[str] = ("title", "text"),
        prompt: str = "",
        scoring: Literal["generation", "likelihood"] = "generation",
    ) -> None:
        if k < 1 or words < 1 or cycles < 1:
            raise BadInput(f"k={k}, words={words}, cycles={cycles} compares nothing; all are at least 1")
        self._method = method
        self._k = k
        self._cycles = cycles
        self.one_round = method in ("allpairs", "thurstone")
        strategies = {
            "sliding": f"sliding, {k} passes",
            "heapsort": f"heapsort, top {k}",
            "thurstone": f"thurstone, {cycles} cycles",
        }
        strategy = strategies.get(method, method)
        usual = "prp"
        if scoring == "likelihood":
            usual = "prp_letter"
            strategy += ", by likelihood"
        super().__init__(teacher, prompt_file(prompt or usual), strategy, words=words, fields=fields)
        self._answer_tokens = 0
        if scoring == "generation":
            self._answer_tokens = 2 * self._prompt.number("answer_tokens_per_passage")

    def conversation(self, query: Query, passages: Sequence[Passage]) -> Conversation[Outcome]:
        texts, cut = self._show(passages)
        n = len(texts)
        replies: list[Reply] = []
        if self._method == "sliding":
            # Passes of bubble sort from the bottom, n - 1 comparisons each.
            order = list(range(n))
            for _ in range(self._k):
                for low in range(n - 1, 0, -1):
                    upper, lower = order[low - 1 : low + 1]
                    [winner] = yield from self._winners(query, texts, [(upper, lower)], replies)
                    if winner == lower:
                        order[low - 1 : low + 1] = [lower, upper]
            scores = by_place(order)
        elif self._method == "heapsort":

            def best_of(places: Sequence[int]) -> Conversation[int]:
                best = places[0]
                for other in places[1:]:
                    [winner] = yield from self._winners(query, texts, [(best, other)], replies)
                    if winner == other:
                        best = other
                return best

            scores = by_place((yield from heap_sort(n, self._k, 2, best_of)))
        elif self._method == "thurstone":
            pairs = self._pairs_of_cycles(query, passages)
            answers = yield from self._answers(query, texts, pairs, replies)
            comparisons = []
            for (a, b), (answer, turned) in zip(pairs, answers, strict=True):
                comparisons.append((a, b, (self._chance_of_a(answer) + 1 - self._chance_of_a(turned)) / 2))
            scores = thurstone(n, comparisons)
        else:
            # Passages of equal points keep the order they came in: each begins with a little less than the one before,
            # all of it (1/4 at most) less than the half point that a comparison gives.
            scores = [(n - place) / (4 * n) for place in range(n)]
            pairs = list(combinations(range(n), 2))
            winners = yield from self._winners(query, texts, pairs, replies)
            for pair, winner in zip(pairs, winners, strict=True):
                for place in pair:
                    scores[place] += 0.5 if winner is None else float(place == winner)
        repairs = {}
        if replies:
            repairs["malformed"] = sum(not self._letter(reply) for reply in replies)
        return scores, self._usage(replies, n, cut, repairs)

    def _pairs_of_cycles(self, query: Query, passages: Sequence[Passage]) -> list[tuple[int, int]]:
        """The pairs of places that are next to each other in one of the cycles, each once."""
        pairs = dict[frozenset[int], tuple[int, int]]()
        places = range(len(passages))
        for cycle in range(self._cycles):
            # Ids alone decide the order, so that the order of the list decides nothing.
            keys = [digest_of([cycle, query.id, passage.id]) for passage in passages]
            order = sorted(places, key=keys.__getitem__)
            for one, other in zip(order, order[1:] + order[:1], strict=True):
                if one != other:
                    pairs.setdefault(frozenset((one, other)), (one, other))
        return list(pairs.values())

    def _winners(
        self, query: Query, texts: Sequence[str], pairs: Sequence[tuple[int, int]], replies: list[Reply]
    ) -> Conversation[list[int | None]]:
        """The passage of each pair that is better in both orders; None where the answers disagree or one is none.

        The replies are added to `replies`.
        """
        answers = yield from self._answers(query, texts, pairs, replies)
        winners = []
        for (a, b), (answer, turned) in zip(pairs, answers, strict=True):
            winners.append({"AB": a, "BA": b}.get(self._letter(answer) + self._letter(turned)))
        return winners

    def _answers(
        self, query: Query, texts: Sequence[str], pairs: Sequence[tuple[int, int]], replies: list[Reply]
    ) -> Conversation[list[tuple[Reply, Reply]]]:
        """The replies about each pair, in its order and turned; they are added to `replies`, too."""
        if not pairs:
            return []
        prompts = []
        for a, b in pairs:
            for first, second in ((a, b), (b, a)):
                turns = self._prompt.turns(query=query.text, passages=[texts[first], texts[second]])
                name = f"{query.id}:{first + 1},{second + 1}:{len(replies)}"
                prompts.append(self._question(name, turns, self._answer_tokens, LETTERS))
        answers = yield prompts
        replies.extend(answers)
        return list(zip(answers[::2], answers[1::2], strict=True))

    def _chance_of_a(self, reply: Reply) -> float:
        """How likely it is that the first passage is better, by a reply; 1/2 where it does not say."""
        if self._answer_tokens:
            return {"A": 1.0, "B": 0.0}.get(self._letter(reply), 0.5)
        [first, second] = reply.likelihoods(LETTERS).log_probs
        return 1 / (1 + math.exp(min(second - first, 700.0)))  # a greater exponent overflows

    def _letter(self, reply: Reply) -> str:
        """A or B, whichever a reply names or finds likelier; nothing where it is neither.

        The whole answer names a passage: "Passage A or Passage B" names none.
        """
        if self._answer_tokens:
            match = _ANSWER.fullmatch(reply.answer)
            return match[1].upper() if match else ""
        [first, second] = reply.likelihoods(LETTERS).log_probs
        if first == second:
            return ""
        return LETTERS[first < second]
