"""Pairwise ranking: both orders are asked, agreement wins, and what is not an answer decides nothing."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest
import scipy.special
import scipy.stats
import torch
import transformers
from hypothesis import given, settings, strategies as st
from models import t5_folder, t5_tokenizer
from toys import Answering, in_order, words_of, worths

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Usage
from exabench.parts.rerankers.pairwise import Pairwise
from exabench.parts.retrievers.bm25 import Bm25
from exabench.parts.retrievers.two_stage import TwoStage

QUERY = Query("q", "why is the sky blue")


def judge(answer: Callable[[int, int], str]) -> Answering:
    """A teacher that is shown two worths and answers by a function of them."""
    return Answering(lambda prompt: answer(*map(int, re.findall(r"Passage [AB]: worth (\d+)", prompt.turns[-1][1]))))


def larger(first: int, second: int) -> str:
    return "Passage A" if first > second else "Passage B"


@settings(max_examples=25)
@given(st.permutations(range(7)), st.integers(1, 7))
def test_an_honest_judge_sorts_the_passages_and_k_passes_bring_up_the_best_k(values: list[int], k: int) -> None:
    best = sorted(values, reverse=True)
    assert in_order(Pairwise(judge(larger)).score(QUERY, worths(*values)), values) == best
    scores = Pairwise(judge(larger), method="sliding", k=k).score(QUERY, worths(*values))
    assert in_order(scores, values)[:k] == best[:k]


def test_all_pairs_are_asked_in_both_orders_in_one_batch() -> None:
    teacher = judge(larger)
    jobs = [(QUERY, []), (QUERY, worths(2, 0, 1, 3)), (QUERY, worths(1))]
    (empty, nothing), (scores, usage), (single, alone) = Pairwise(teacher).score_many(jobs)
    assert (len(empty), len(single)) == (0, 1) and nothing == alone == Usage(passages=0)
    [batch] = teacher.batches
    read = sum(words_of(prompt) for prompt in batch)
    assert (usage.prompts, usage.input_tokens, usage.output_tokens, usage.repairs) == (12, read, 84, {"malformed": 0})
    assert (usage.passages, usage.cut_passages) == (4, 0)
    assert [int(score) for score in scores] == [2, 0, 1, 3]
    shown = {tuple(re.findall(r"worth (\d+)", prompt.turns[0][1])) for prompt in batch}
    assert shown == {pair for a, b in combinations("0123", 2) for pair in ((a, b), (b, a))}


@pytest.mark.parametrize("answer", ["Passage A", "neither"])
def test_a_judge_that_looks_at_the_place_decides_nothing(answer: str) -> None:
    """Half a point each, so that all are equal and keep their order; sliding moves nobody."""
    teacher = judge(lambda first, second: answer)
    [(scores, usage)] = Pairwise(teacher).score_many([(QUERY, worths(0, 1, 2, 3))])
    assert in_order(scores, [0, 1, 2, 3]) == [0, 1, 2, 3] and {int(2 * score) for score in scores} == {3}
    assert usage.repairs == {"malformed": 0 if answer.startswith("Passage") else 12}
    slid = Pairwise(teacher, method="sliding", k=2).score(QUERY, worths(0, 1, 2, 3))
    assert slid == [4.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        *[(text, True) for text in ("Passage A", "passage a", " Passage A.\n", "**Passage A**", '"PASSAGE_A"')],
        *[(text, False) for text in ("A", "Passage C", "Passage A is better", "Passage A Passage B", "Passage", "")],
        *[(text, False) for text in ("Passage " + " " * 10**6 + "x", "." * 10**6)],
    ],
    ids=lambda text: ascii(text)[:24],
)
def test_an_answer_is_passage_a_or_passage_b_and_nothing_else(answer: str, read: bool) -> None:
    teacher = judge(lambda first, second: answer if first else "Passage B")
    [(scores, usage)] = Pairwise(teacher).score_many([(QUERY, worths(1, 0))])
    assert usage.repairs == {"malformed": 0 if read else 1}
    assert [int(score) for score in scores] == ([1, 0] if read else [0, 0])


def test_sliding_asks_k_times_n_minus_one_pairs_and_the_same_step_of_all_queries_together() -> None:
    teacher = judge(larger)
    jobs = [(Query(f"q{i}", "sky"), worths(*range(size))) for i, size in enumerate([5, 3, 0, 1, 5])]
    outcomes = list(Pairwise(teacher, method="sliding", k=3).score_many(jobs))
    assert [usage.prompts for _, usage in outcomes] == [2 * 3 * 4, 2 * 3 * 2, 0, 0, 2 * 3 * 4]
    assert [len(batch) for batch in teacher.batches] == [6] * 6 + [4] * 6
    [(_, usage)] = Pairwise(teacher, method="sliding").score_many([(QUERY, worths(*range(100)))])
    assert usage.prompts == 2 * 990, "the published comparisons of a hundred passages and ten passes"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "slidng"}, 'method must be "allpairs" or "sliding" or "heapsort"'),
        ({"k": 0}, "compares nothing"),
        ({"words": 0}, "compares nothing"),
        ({"model": "castorini/duot5-base-msmarco"}, "needs either a teacher"),
        ({"teacher": None}, "needs either a teacher"),
    ],
)
def test_options_that_make_no_ranking_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Pairwise(**{"teacher": judge(larger), **options})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return t5_folder(tmp_path_factory.mktemp("duo") / "t5", t5_tokenizer())


@pytest.fixture(scope="module")
def duo(folder: Path) -> Pairwise:
    return Pairwise(model=str(folder), devices=("cpu",))


def test_both_of_its_ways_are_recorded_under_the_name_of_the_part(duo: Pairwise) -> None:
    for reranker in (Pairwise(judge(larger)), duo):
        stage = TwoStage([], first_stage=Bm25([Passage("a", "sky")]), reranker=reranker)
        assert stage.parameters["reranker"]["part"] == "pairwise"


SKY = [Passage(f"d{i}", text) for i, text in enumerate(["Bees dance.", "The heart beats.", "Light is scattered.", ""])]


def test_duo_t5_sums_what_one_forward_for_each_ordered_pair_gives(duo: Pairwise, folder: Path) -> None:
    """Against transformers alone, one pair at a time."""
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


def test_duo_t5_counts_the_pairs_that_were_cut(folder: Path) -> None:
    short = Pairwise(model=str(folder), max_length=64)
    passages = [SKY[0], Passage("long", "light " * 100), SKY[1]]
    [(_, usage)] = short.score_many([(QUERY, passages)])
    assert (usage.cut_passages, usage.passages) == (4, 6)


def test_duo_t5_scores_many_queries_as_it_scores_one(duo: Pairwise) -> None:
    jobs = [(QUERY, SKY), (QUERY, []), (Query("r", "bees"), SKY[:1]), (Query("s", "heart"), SKY[:3])]
    outcomes = list(duo.score_many(jobs))
    assert [usage.prompts for _, usage in outcomes] == [12, 0, 0, 6]
    assert [scores for scores, _ in outcomes][1:3] == [[], [0.0]] == [duo.score(*job) for job in jobs[1:3]]
    for job, (scores, _) in zip(jobs, outcomes, strict=True):
        assert scores == pytest.approx(duo.score(*job), abs=1e-5)
    assert all(usage.flops_exact is not None for _, usage in outcomes)
    assert duo.identity["template"].startswith("Query: {query} Document0:") and duo.parameters


def test_strengths_need_at_most_four_prompts_a_passage_and_sort_as_an_honest_judge_does() -> None:
    values = [7, 2, 19, 4, 11, 1, 15, 3, 9, 6, 17, 8]
    teacher = judge(larger)
    [(scores, usage)] = Pairwise(teacher, method="thurstone").score_many([(QUERY, worths(*values))])
    [batch] = teacher.batches
    shown = Counter(tuple(re.findall(r"worth (\d+)", prompt.turns[0][1])) for prompt in batch)
    assert 3 * len(values) < usage.prompts == len(batch) <= 4 * len(values) and set(shown.values()) == {1}
    assert all(shown[second, first] for first, second in shown), "both orders"
    opponents = {value: {other for one, other in shown if one == str(value)} for value in values}
    assert all(2 <= len(others) <= 4 for others in opponents.values())
    assert scipy.stats.kendalltau(scores, values).statistic > 0.8 and abs(sum(scores)) < 1e-4
    more = Pairwise(judge(larger), method="thurstone", cycles=6).score(QUERY, worths(*values))
    assert scipy.stats.kendalltau(more, values).statistic > 0.95


def test_strengths_do_not_depend_on_the_order_of_the_list_and_need_no_two_passages() -> None:
    passages = worths(5, 1, 4, 2, 3)
    made = Pairwise(judge(larger), method="thurstone")
    scores = dict(zip([passage.id for passage in passages], made.score(QUERY, passages), strict=True))
    turned = made.score(QUERY, passages[::-1])
    assert turned == pytest.approx([scores[passage.id] for passage in passages[::-1]], abs=1e-6)
    assert made.score(QUERY, worths(1)) == [0.0] and made.score(QUERY, []) == []
    first, second = made.score(QUERY, worths(1, 2))
    assert second - first == pytest.approx(2 * second) and second > 0
    with pytest.raises(BadInput, match="cycles=0"):
        Pairwise(judge(larger), method="thurstone", cycles=0)


def test_the_probability_of_the_letters_is_what_a_strength_explains() -> None:
    def favours(first: int, second: int) -> str:
        return json.dumps(
            {"A": math.log(0.8 if first > second else 0.4), "B": math.log(0.2 if first > second else 0.6)}
        )

    made = Pairwise(judge(favours), method="thurstone", scoring="likelihood")
    [(scores, usage)] = made.score_many([(QUERY, worths(2, 1))])
    # 0.8 for A as it stands, and 0.6 for B, the same passage, turned.
    assert scores[0] - scores[1] == pytest.approx(scipy.special.erfinv(2 * 0.7 - 1), abs=2e-6)
    assert (usage.prompts, usage.output_tokens) == (2, 14)
