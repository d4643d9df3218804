"""Setwise ranking: the best of a few, asked often enough to bring the best k to the head; the same heap for pairs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from toys import Answering, in_order, words_of, worths

import exabench
from exabench.core.errors import BadInput
from exabench.core.nouns import Query, Usage
from exabench.parts.rerankers import RERANKERS
from exabench.parts.rerankers.pairwise import Pairwise
from exabench.parts.rerankers.setwise import Setwise

QUERY = Query("q", "why is the sky blue")


def judge(answer: Callable[[list[int]], str]) -> Answering:
    """A teacher that is shown some worths and answers by a function of them."""
    return Answering(lambda prompt: answer([int(text) for text in re.findall(r"worth (\d+)", prompt.turns[-1][1])]))


def honest(shown: list[int]) -> str:
    return f"Passage {'ABCDEFGHIJKLMNOPQRSTUVW'[shown.index(max(shown))]}"


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(13)), st.integers(1, 14), st.integers(1, 6), st.sampled_from(["heapsort", "bubblesort"]))
def test_an_honest_judge_brings_the_best_k_to_the_head_and_the_others_keep_their_order(
    values: list[int], k: int, children: int, method: str
) -> None:
    reranker = Setwise(judge(honest), method=method, children=children, k=k)
    ranked = in_order(reranker.score(QUERY, worths(*values)), values)
    best = sorted(values, reverse=True)[:k]
    assert ranked == best + [value for value in values if value not in best]


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(9)), st.integers(1, 9))
def test_pairs_sort_by_the_same_heap(values: list[int], k: int) -> None:
    teacher = judge(lambda shown: "Passage A" if shown[0] > shown[1] else "Passage B")
    ranked = in_order(Pairwise(teacher, method="heapsort", k=k).score(QUERY, worths(*values)), values)
    assert ranked[:k] == sorted(values, reverse=True)[:k]


def comparisons_of_a_heap(n: int, k: int, children: int) -> int:
    """How often ielab/llm-rankers compares n passages that come best first, which its heap never has to move at first.

    Building asks at every node that has a child; afterwards the last leaf sinks from the head at each of k - 1 steps.
    """
    asked = sum(1 for node in range(n) if children * node + 1 < n)
    heap = list(range(n))
    for _ in range(k - 1):
        last = heap.pop()
        heap[0] = last
        node = 0
        while children * node + 1 < len(heap):
            asked += 1
            family = range(children * node + 1, min(children * node + children + 1, len(heap)))
            smallest = min(family, key=heap.__getitem__)
            if heap[node] < heap[smallest]:
                break
            heap[node], heap[smallest] = heap[smallest], heap[node]
            node = smallest
    return asked


@pytest.mark.parametrize(("n", "k", "children"), [(100, 10, 3), (20, 5, 2), (7, 7, 4)])
def test_a_heap_asks_as_often_as_its_authors_do(n: int, k: int, children: int) -> None:
    teacher = judge(honest)
    [(_, usage)] = Setwise(teacher, k=k, children=children, words=5).score_many([(QUERY, worths(*range(n, 0, -1)))])
    assert usage.prompts <= comparisons_of_a_heap(n, k, children), "the same question is not asked twice"
    assert usage.prompts > comparisons_of_a_heap(n, k, children) / 2


def test_what_is_asked_is_counted_and_a_list_of_one_is_not_asked_about() -> None:
    teacher = judge(honest)
    jobs = [(QUERY, []), (QUERY, worths(1, 3, 2)), (QUERY, worths(1))]
    (empty, nothing), (scores, usage), (single, alone) = Setwise(teacher).score_many(jobs)
    assert (len(empty), len(single)) == (0, 1) and nothing == alone == Usage(passages=0)
    assert scores == [1.0, 3.0, 2.0] and usage.repairs == {"malformed": 0} and usage.passages == 3
    read = sum(words_of(prompt) for batch in teacher.batches for prompt in batch)
    assert (usage.input_tokens, usage.output_tokens) == (read, 7 * usage.prompts)


@pytest.mark.parametrize("answer", ["Passage D", "none", "", "A or B", "Passage A and Passage B", "1"])
def test_an_answer_that_is_not_one_label_counts_as_the_first_passage_and_as_malformed(answer: str) -> None:
    for method in ("heapsort", "bubblesort"):
        reranker = Setwise(judge(lambda shown: answer), method=method)
        [(scores, usage)] = reranker.score_many([(QUERY, worths(0, 1, 2))])
        assert usage.repairs["malformed"] == usage.prompts > 0
        assert sorted(scores) == [1.0, 2.0, 3.0] and scores[0] == 3.0


@pytest.mark.parametrize(
    "answer", ["B", "b", "[B]", "**Passage B**", "passage_b.", "<think>A or C?</think>\nPassage B"]
)
def test_a_label_is_read_with_or_without_its_word(answer: str) -> None:
    [(_, usage)] = Setwise(judge(lambda shown: answer)).score_many([(QUERY, worths(0, 1, 2))])
    assert usage.repairs == {"malformed": 0}


@pytest.mark.parametrize("options", [{"children": 0}, {"children": 23}, {"k": 0}, {"words": 0}])
def test_options_that_sort_nothing_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="children from 1 to 22"):
        Setwise(judge(honest), **options)


def test_setwise_is_reached_by_name_and_keeps_what_makes_its_scores() -> None:
    made = exabench.reranker("setwise", teacher={"part": "replay", "file": "mini/replies-listwise.jsonl"}, k=3)
    assert made.identity["reranker"] == "setwise" and made.identity["strategy"] == "heapsort, best of 4, top 3"
    assert made.identity["prompt"].startswith("setwise")


PROMPTS = {
    "listwise": ("{% set answer_tokens_per_passage = 9 %}", "[1] > [2] > [3]", 27),
    "setwise": ("{% set answer_tokens = 5 %}", "A", 5),
    "pairwise": ("{% set answer_tokens_per_passage = 4 %}", "Passage A", 8),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_a_language_model_can_be_asked_by_a_prompt_of_the_user_s(tmp_path: Path, name: str) -> None:
    setting, answer, most = PROMPTS[name]
    file = tmp_path / "mine.jinja"
    file.write_text(f"{setting}Mine: {{{{ query }}}} of {{{{ passages | join('; ') }}}}")
    teacher = Answering(lambda prompt: answer)
    made = RERANKERS[name](teacher, prompt=str(file))
    [(_, usage)] = made.score_many([(QUERY, worths(1, 2, 3))])
    asked = [prompt for batch in teacher.batches for prompt in batch]
    assert usage.repairs["malformed"] == 0 and {prompt.max_tokens for prompt in asked} == {most}
    assert all(prompt.turns[0][1].startswith(f"Mine: {QUERY.text} of worth ") for prompt in asked)
    assert made.identity["prompt"].startswith("mine@sha256:")
    file.write_text("Mine: {{ query }}")
    with pytest.raises(BadInput, match=r"mine.jinja: does not say {% set answer_tokens"):
        RERANKERS[name](teacher, prompt=str(file))
