"""Listwise ranking: every place is visited, every answer counted, and a perfect teacher's order comes out on top."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st
from toys import Answering, in_order, words_of, worths

from exabench.core.errors import BadInput, OutsideFailed
from exabench.core.nouns import Passage, Prompt, Query, Reply, Usage
from exabench.models.flops import exact, paper, shape_of
from exabench.parts.prompting import prompt_file, truncate_passage
from exabench.parts.rerankers.listwise import Listwise, windows

QUERY = Query("q", "why is the sky blue")
LLAMA = {"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4}
LLAMA |= {"intermediate_size": 64, "vocab_size": 100}


def by_number(prompt: Prompt) -> str:
    """A perfect answer: passages say how good they are, as `worth 12`."""
    text = "\n".join(text for _, text in prompt.turns)
    worth = [int(found) for found in re.findall(r"worth (\d+)", text)]
    order = sorted(range(len(worth)), key=lambda place: -worth[place])
    if "PASSAGE1 = " in text:
        return "[" + ", ".join(f"PASSAGE{place + 1}" for place in order) + "]"
    return " > ".join(f"[{place + 1}]" for place in order)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (0, []),
        (20, [(0, 20)]),
        (21, [(1, 21), (0, 11)]),
        (100, [(80, 100), (70, 90), (60, 80), (50, 70), (40, 60), (30, 50), (20, 40), (10, 30), (0, 20)]),
    ],
)
def test_windows_climb_from_the_bottom_to_the_head(n: int, expected: list[tuple[int, int]]) -> None:
    assert list(windows(n)) == expected
    assert list(windows(n, passes=2)) == expected * 2


@given(st.integers(2, 130), st.integers(2, 25), st.data())
def test_windows_leave_no_gap_and_always_visit_the_head(n: int, size: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, size))
    places = list(windows(n, size, step))
    assert places[0][1] == n and places[-1][0] == 0
    assert all(0 <= start < end <= n and end - start <= size for start, end in places)
    assert all(lower[0] <= upper[1] for lower, upper in zip(places, places[1:], strict=False))
    assert {place for start, end in places for place in range(start, end)} == set(range(n))


@given(st.integers(2, 47).flatmap(lambda n: st.permutations(range(n))), st.sampled_from(["rankgpt", "lrl"]))
def test_the_best_ten_reach_the_top_in_one_pass_and_all_of_one_window(values: list[int], style: str) -> None:
    scores = Listwise(Answering(by_number), style=style).score(QUERY, worths(*values))
    kept = len(values) if len(values) <= 20 else 10
    assert in_order(scores, values)[:kept] == sorted(values, reverse=True)[:kept]
    assert sorted(scores) == [float(i) for i in range(1, len(values) + 1)]


def test_more_passes_order_more_of_the_list() -> None:
    values = list(range(60))
    one, two, six = (
        in_order(Listwise(Answering(by_number), passes=n).score(QUERY, worths(*values)), values) for n in (1, 2, 6)
    )
    assert one != two and two[:20] == values[:39:-1] and six == values[::-1]


def test_window_k_of_all_queries_is_one_batch_though_one_of_them_comes_twice() -> None:
    teacher = Answering(by_number)
    jobs = [(Query(f"q{i}", "sky"), worths(*range(size))) for i, size in enumerate([25, 100, 0, 5])]
    jobs.append((Query("q1", "sky"), worths(*range(100, 0, -1))))
    outcomes = list(Listwise(teacher).score_many(iter(jobs)))
    assert [len(batch) for batch in teacher.batches] == [4, 3, 2, 2, 2, 2, 2, 2, 2]
    assert [usage.prompts for _, usage in outcomes] == [2, 9, 0, 1, 9]
    assert len({prompt.id for batch in teacher.batches for prompt in batch}) == 21
    alone = [Listwise(Answering(by_number)).score(*job) for job in jobs]
    assert [scores for scores, _ in outcomes] == alone and alone[1] != alone[4]


def test_three_thousand_queries_are_read_as_they_are_ranked() -> None:
    begun = 0

    def jobs() -> Iterator[tuple[Query, list[Passage]]]:
        nonlocal begun
        for i in range(3_000):
            begun += 1
            yield Query(f"q{i}", "sky"), worths(1, 2)

    outcomes = Listwise(Answering(by_number)).score_many(jobs())
    assert next(outcomes)[0] == [1.0, 2.0] and begun <= 1024
    assert sum(1 for _ in outcomes) == 2_999 and begun == 3_000


def test_repairs_are_counted_by_kind_and_the_order_is_what_could_be_read() -> None:
    answers = iter(["Sure! [3] > [3] > [1]", "[9] > [2] > [1] > [3]", "no", "[2] > [1] > [3]"])
    listwise = Listwise(Answering(lambda _: next(answers)), window=3, step=2, passes=2)
    [(scores, usage)] = listwise.score_many([(QUERY, worths(0, 0, 0, 0, 0))])
    assert usage.repairs == {"malformed": 2, "repeated": 1, "missing": 4, "out_of_range": 1}
    # 01[234] -> [014]23 -> 10[423] -> [104]23 -> 01423
    assert in_order(scores, range(5)) == [0, 1, 4, 2, 3]


def test_tokens_and_flops_are_sums_over_the_windows_and_an_empty_list_or_a_list_of_one_costs_nothing() -> None:
    teacher = Answering(by_number, LLAMA)
    jobs = [(QUERY, []), (QUERY, worths(*range(40))), (QUERY, worths(3))]
    (empty, nothing), (_, usage), (single, alone) = Listwise(teacher).score_many(jobs)
    assert (empty, single) == ([], [1.0])
    assert nothing == alone == Usage(flops_paper=0.0, flops_exact=0.0, passages=0), "there is nothing to ask"
    read = [words_of(prompt) for batch in teacher.batches for prompt in batch]
    shape = shape_of(LLAMA)
    assert (usage.prompts, usage.input_tokens, usage.output_tokens) == (3, sum(read), 21)
    assert usage.flops_paper == pytest.approx(sum(paper(shape, tokens, 7) for tokens in read))
    assert usage.flops_exact == pytest.approx(sum(exact(shape, tokens, 7, rows=100) for tokens in read))


@pytest.mark.parametrize("config", [None, {"model_type": "tomorrow"}])
def test_flops_of_a_model_that_nobody_knows_are_none(config: Mapping[str, Any] | None) -> None:
    [(_, usage)] = Listwise(Answering(by_number, config)).score_many([(QUERY, worths(1, 2))])
    assert usage.flops_paper is None and usage.flops_exact is None and usage.prompts == 1


def test_a_title_comes_first_and_the_whole_is_cut_to_its_words() -> None:
    passage = Passage("d", "blue\nlight  is scattered", "The sky")
    both = ("title", "text")
    assert truncate_passage(passage, both, 300) == ("Title: The sky Content: blue light is scattered", False)
    assert truncate_passage(passage, both, 5) == ("Title: The sky Content: blue", True)
    assert truncate_passage(passage, ("text",), 2) == ("blue light", True)
    assert truncate_passage(passage, ("title",), 300) == ("The sky", False)
    assert truncate_passage(Passage("d", "blue"), both, 300) == ("blue", False)
    assert truncate_passage(Passage("d", ""), both, 300) == ("", False)


def test_passages_are_cut_and_counted_once_each() -> None:
    teacher = Answering(by_number)
    long = [Passage(f"d{i}", "blue " * 10_000) for i in range(3)]
    [(_, usage)] = Listwise(teacher, window=2, step=1).score_many([(QUERY, [*long, *worths(1, 2)])])
    assert (usage.cut_passages, usage.passages, usage.prompts) == (3, 5, 4)
    assert max(words_of(prompt) for batch in teacher.batches for prompt in batch) < 700


def test_rankgpt_is_a_conversation_in_which_each_passage_is_acknowledged_and_lrl_one_turn_of_assignments() -> None:
    turns = prompt_file("rankgpt").turns(query="why {n}?", passages=["blue {query}", "[2] > [1]"])
    assert [role for role, _ in turns] == ["system", *["user", "assistant"] * 3, "user"]
    assert [text for role, text in turns if role == "user"][1:3] == ["[1] blue {query}", "[2] [2] > [1]"]
    assert "why {n}?" in turns[1][1] and "why {n}?" in turns[-1][1] and "[2] > [1]" in turns[-1][1]
    [(role, text)] = prompt_file("lrl").turns(query="why?", passages=["blue", "red"])
    assert role == "user"
    assert text.splitlines()[1:4] == ['PASSAGE1 = "blue"', 'PASSAGE2 = "red"', 'QUESTION = "why?"']


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        (lambda ids: ids[1:], "did not answer prompt q0:1-2:0#0"),
        (lambda ids: [*ids, ids[0]], "answered prompt q0:1-2:0#0 twice"),
        (lambda ids: [*ids, "other"], "answered prompt other which was not sent"),
    ],
)
def test_a_reply_to_the_wrong_prompt_is_one_line(replies: Callable[[list[str]], list[str]], message: str) -> None:
    class Muddled(Answering):
        def complete(self, prompts: Iterable[Prompt]) -> Iterator[Reply]:
            for id in replies([prompt.id for prompt in prompts]):
                yield Reply(id, "[1] > [2]", "stop", 1, 1)

    jobs = [(Query(f"q{i}", "sky"), worths(1, 2)) for i in range(3)]
    with pytest.raises(OutsideFailed, match=message):
        list(Listwise(Muddled(by_number)).score_many(jobs))


@pytest.mark.parametrize(
    "options",
    [{"window": 1}, {"step": 0}, {"step": 21}, {"passes": 0}, {"words": 0}],
    ids=str,
)
def test_options_that_make_no_ranking_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match=r"leaves gaps"):
        Listwise(Answering(by_number), **options)


def test_the_identity_is_all_that_makes_a_score() -> None:
    told = {"window": 10, "step": 5}
    listwise = Listwise(Answering(by_number), **told)
    assert listwise.identity["model"] == "reader" and listwise.precision == "exact" and listwise.parameters is None
    assert Listwise(Answering(by_number), **told).identity == listwise.identity
    for other in ({"window": 20}, {"step": 6}, {"style": "lrl"}, {"words": 100}, {"passes": 2}, {"fields": ("text",)}):
        assert Listwise(Answering(by_number), **(told | other)).identity != listwise.identity
