"""Pairwise ranking: both orders are asked, agreement wins, and what is no answer decides nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, strategies as st
from models import t5_folder, t5_tokenizer

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Prompt, Query, Reply, Usage
from exabench.parts.rerankers.pairwise import Pairwise
from exabench.parts.retrievers.bm25 import Bm25
from exabench.parts.retrievers.two_stage import TwoStage

QUERY = Query("q", "why is the sky blue")


class Judge:
    """A teacher that is shown two worths and answers by a function of them."""

    identity: Mapping[str, Any] = {"engine": "toy", "model": "judge", "revision": "1", "precision": "exact"}
    config = None

    def __init__(self, answer: Callable[[int, int], str]) -> None:
        self._answer, self.batches = answer, list[list[Prompt]]()

    def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
        self.batches.append(list(prompts))
        for prompt in reversed(self.batches[-1]):
            first, second = re.findall(r"Passage [AB]: worth (\d+)", prompt.turns[-1][1])
            yield Reply(prompt.id, self._answer(int(first), int(second)), "stop", 10, 2)


def test_both_of_its_ways_are_recorded_under_the_name_of_the_part(tmp_path: Path) -> None:
    duo = Pairwise(model=str(t5_folder(tmp_path / "t5", t5_tokenizer())), devices=("cpu",))
    for reranker in (Pairwise(Judge(larger)), duo):
        stage = TwoStage([], first_stage=Bm25([Passage("a", "sky")]), reranker=reranker)
        assert stage.parameters["reranker"]["part"] == "pairwise"


def larger(first: int, second: int) -> str:
    return "Passage A" if first > second else "Passage B"


def worths(*values: int) -> list[Passage]:
    return [Passage(f"d{i}", f"worth {value}") for i, value in enumerate(values)]


def order(scores: list[float], values: list[int]) -> list[int]:
    return [values[place] for place in sorted(range(len(scores)), key=lambda place: -scores[place])]


@given(st.permutations(range(9)), st.sampled_from(["allpairs", "sliding"]))
def test_an_honest_judge_sorts_the_passages(values: list[int], method: str) -> None:
    scores = Pairwise(Judge(larger), method=method).score(QUERY, worths(*values))
    assert order(scores, values) == sorted(values, reverse=True)


@given(st.permutations(range(9)), st.integers(1, 8))
def test_k_passes_bring_up_the_best_k(values: list[int], k: int) -> None:
    scores = Pairwise(Judge(larger), method="sliding", k=k).score(QUERY, worths(*values))
    assert order(scores, values)[:k] == sorted(values, reverse=True)[:k]


def test_all_pairs_are_asked_in_both_orders_in_one_batch() -> None:
    judge = Judge(larger)
    [(scores, usage)] = Pairwise(judge).score_many([(QUERY, worths(2, 0, 1, 3))])
    assert [len(batch) for batch in judge.batches] == [12]
    assert (usage.prompts, usage.input_tokens, usage.output_tokens, usage.repairs) == (12, 120, 24, {"malformed": 0})
    assert [int(score) for score in scores] == [2, 0, 1, 3]
    shown = {tuple(re.findall(r"worth (\d+)", prompt.turns[0][1])) for prompt in judge.batches[0]}
    assert shown == {pair for a, b in combinations("0123", 2) for pair in ((a, b), (b, a))}


@pytest.mark.parametrize("answer", ["Passage A", "Passage B", "neither", ""])
def test_a_judge_that_looks_at_the_place_decides_nothing(answer: str) -> None:
    """Half a point each, so that all are equal and keep their order; sliding moves nobody."""
    judge = Judge(lambda first, second: answer)
    [(scores, usage)] = Pairwise(judge).score_many([(QUERY, worths(0, 1, 2, 3))])
    assert order(scores, [0, 1, 2, 3]) == [0, 1, 2, 3] and {int(2 * score) for score in scores} == {3}
    assert usage.repairs == {"malformed": 0 if answer.startswith("Passage") else 12}
    slid = Pairwise(judge, method="sliding", k=2).score(QUERY, worths(0, 1, 2, 3))
    assert slid == [4.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        *[(text, True) for text in ("Passage A", "passage a", " Passage A.\n", "**Passage A**", '"PASSAGE_A"')],
        *[(text, False) for text in ("A", "Passage C", "Passage A is better", "Passage A Passage B", "Passage", "")],
        ("Passage " + " " * 10**6 + "x", False),
        ("." * 10**6, False),
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_an_answer_is_passage_a_or_passage_b_and_nothing_else(answer: str, read: bool) -> None:
    judge = Judge(lambda first, second: answer if first else "Passage B")
    [(scores, usage)] = Pairwise(judge).score_many([(QUERY, worths(1, 0))])
    assert usage.repairs == {"malformed": 0 if read else 1}
    assert [int(score) for score in scores] == ([1, 0] if read else [0, 0])


def test_sliding_asks_k_times_n_minus_one_pairs_and_the_same_step_of_all_queries_together() -> None:
    judge = Judge(larger)
    jobs = [(Query(f"q{i}", "sky"), worths(*range(size))) for i, size in enumerate([5, 3, 0, 1, 5])]
    outcomes = list(Pairwise(judge, method="sliding", k=3).score_many(jobs))
    assert [usage.prompts for _, usage in outcomes] == [2 * 3 * 4, 2 * 3 * 2, 0, 0, 2 * 3 * 4]
    assert [len(batch) for batch in judge.batches] == [6] * 6 + [4] * 6


def test_a_hundred_passages_and_ten_passes_are_the_published_990_comparisons() -> None:
    [(_, usage)] = Pairwise(Judge(larger), method="sliding").score_many([(QUERY, worths(*range(100)))])
    assert usage.prompts == 2 * 990


def test_an_empty_list_and_a_list_of_one_ask_nothing() -> None:
    for method in ("allpairs", "sliding"):
        judge = Judge(larger)
        outcomes = list(Pairwise(judge, method=method).score_many([(QUERY, []), (QUERY, worths(1))]))
        assert [len(scores) for scores, _ in outcomes] == [0, 1] and judge.batches == []
        assert [usage for _, usage in outcomes] == [Usage()] * 2


@pytest.mark.parametrize("options", [{"method": "slidng"}, {"k": 0}, {"words": 0}], ids=str)
def test_options_that_make_no_ranking_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"did you mean sliding|compares nothing"):
        Pairwise(Judge(larger), **options)


def test_a_teacher_or_a_model_and_not_both() -> None:
    for given_ in ({}, {"teacher": Judge(larger), "model": "castorini/duot5-base-msmarco"}):
        with pytest.raises(BadInput, match="one of the two"):
            Pairwise(**given_)


@pytest.fixture(scope="module")
def duo(tmp_path_factory: pytest.TempPathFactory) -> Pairwise:
    return Pairwise(model=str(t5_folder(tmp_path_factory.mktemp("duo") / "t5", t5_tokenizer())))


SKY = [Passage(f"d{i}", text) for i, text in enumerate(["Bees dance.", "The heart beats.", "Light is scattered.", ""])]


def test_duo_t5_sums_what_one_forward_for_each_ordered_pair_gives(duo: Pairwise, tmp_path: Path) -> None:
    """Against transformers alone, one pair at a time."""
    folder = t5_folder(tmp_path / "t5", t5_tokenizer())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    yes, no = (tokenizer.encode(word, add_special_tokens=False)[0] for word in ("true", "false"))
    sums = [0.0] * len(SKY)
    for a, b in permutations(range(len(SKY)), 2):
        text = f"Query: {QUERY.text} Document0: {SKY[a].text} Document1: {SKY[b].text} Relevant:"
        start = torch.tensor([[model.config.decoder_start_token_id]])
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt"), decoder_input_ids=start).logits[0, 0]
        probability = float(logits[[yes, no]].softmax(-1)[0])
        sums[a] += probability
        sums[b] += 1 - probability
    assert duo.score(QUERY, SKY) == pytest.approx(sums, abs=1e-5)
    assert sum(sums) == pytest.approx(len(SKY) * (len(SKY) - 1))


def test_duo_t5_scores_many_queries_as_it_scores_one(duo: Pairwise) -> None:
    jobs = [(QUERY, SKY), (QUERY, []), (Query("r", "bees"), SKY[:1]), (Query("s", "heart"), SKY[:3])]
    outcomes = list(duo.score_many(jobs))
    assert [usage.prompts for _, usage in outcomes] == [12, 0, 0, 6]
    assert [scores for scores, _ in outcomes][1:3] == [[], [0.0]] == [duo.score(*job) for job in jobs[1:3]]
    for job, (scores, _) in zip(jobs, outcomes, strict=True):
        assert scores == pytest.approx(duo.score(*job), abs=1e-5)
    assert all(usage.flops_exact is not None for _, usage in outcomes)
    assert duo.identity["template"].startswith("Query: {query} Document0:") and duo.parameters
