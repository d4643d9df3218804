"""duoT5: a T5 that was trained to say whether the first of two passages is the better one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import permutations, tee
from typing import Unpack

from exabench.core.nouns import Passage, Query
from exabench.models.answers import answer_ids, narrow_to_answers
from exabench.models.families import usual_family
from exabench.models.heads import Options, load
from exabench.models.pointwise import Pointwise
from exabench.models.templates import text_template
from exabench.parts.rerankers import Job, Outcome


class DuoT5(Pointwise):
    """p(a, b) is the probability of `true` against `false`; a passage's score is the sum of p(a, b) + 1 - p(b, a).

    Over all other passages b, n x (n - 1) pairs in total: SYM-SUM of Pradeep et al. 2021, arXiv 2101.05667. A list of
    one scores 0. In the usage each pair is a prompt, and a passage is cut as often as it is cut in a pair.
    """

    def __init__(
        self,
        model: str,
        *,
        family: str = "",
        answers: Sequence[str] = (),
        **options: Unpack[Options],
    ) -> None:
        asked = usual_family("duot5", model, family).asked(answers=answers)
        loaded = load(model, "seq2seq", **options)
        ids = answer_ids(loaded.tokenizer, asked.answers)
        narrowed, columns = narrow_to_answers(loaded, asked.strategy, ids)
        asking = text_template(asked.template, loaded.tokenizer)
        super().__init__(narrowed, asking, asked.strategy, columns, **options)
        self.identity["reranker"] = "pairwise"  # the name of the shelf, not of this file

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given."""
        if len(passages) < 2:  # no pair to ask the model about
            return [0.0] * len(passages)
        return _sums(super().score(query, passages), len(passages))

    def score_many(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Scores and usage of each job, in order; pairs are batched across queries."""
        jobs, again = tee(jobs)  # probabilities alone do not tell no passage from one
        for (probabilities, usage), (_, passages) in zip(super().score_many(jobs), again, strict=True):
            yield _sums(probabilities, len(passages)), usage

    def _texts(self, query: Query, passages: Sequence[Passage]) -> list[tuple[str, ...]]:
        texts = [passage.flat(self._fields) for passage in passages]
        return [(query.text, *pair) for pair in permutations(texts, 2)]


def _sums(probabilities: Sequence[float], n: int) -> list[float]:
    """The scores of `n` passages from p(a, b) of every ordered pair, in the order of itertools.permutations."""
    scores = [0.0] * n
    for (a, b), probability in zip(permutations(range(n), 2), probabilities, strict=True):
        scores[a] += probability
        scores[b] += 1 - probability
    return scores
