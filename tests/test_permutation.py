"""Every answer of a language model becomes a permutation, and every repair is counted."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from exabench.parts.permutation import KINDS, read_permutation

PIECES = "[ ] [[ > >> , . \" ' PASSAGE Passage document 0 1 7 20 21 007 -3 1e9 ٣ ３ ² 😀 [3]>[1] Sure! é".split(" ")
PIECES += [" > ", "\n", " ", "\0", "\u202e", "9" * 30, "[3] > [1]", "Passage ", "\udc80"]


@pytest.mark.parametrize(
    ("answer", "order", "counts"),
    [
        ("\n[2] > [1] > [3]  ", "213", {}),
        ('["PASSAGE2", "PASSAGE1", "PASSAGE3"]', "213", {}),
        ("['PASSAGE2', 'PASSAGE1', 'PASSAGE3']", "213", {}),
        ("", "123", {"malformed": 1, "missing": 3}),
        ("[3] > [3] > [1]", "312", {"repeated": 1, "missing": 1}),
        ("[4] > [3] > [0] > [1] > [2]", "312", {"out_of_range": 2}),
        ("Sure, here are 2 lists: [3] > [1] > [2].", "312", {"malformed": 1}),
        ("3] > [1] > [2]", "312", {"malformed": 1}),
        ("The order is 3 > 1 > 2.", "312", {"malformed": 1}),
        ("Passage 3 > Passage 1", "312", {"malformed": 1, "missing": 1}),
        ("3, 1, 2", "312", {"malformed": 1}),
        ("[[3]] > [[1]] > [[2]]", "312", {"malformed": 1}),
        ("[3, 1, 2]", "312", {"malformed": 1}),
        ("Passage 3, then document 1", "312", {"malformed": 1, "missing": 1}),
        ("1. [3] > 2. [1] > 3. [2]", "312", {"malformed": 1}),
        ("3 passages are provided.", "123", {"malformed": 1, "missing": 3}),
        ("[3] > [1] > [2", "312", {"malformed": 1, "missing": 1}),  # cut short: [2 may have become [20]
        ("[٣] > [１]", "123", {"malformed": 1, "missing": 3}),
        ("[" + "9" * 5000 + "] > [2]", "213", {"missing": 2, "out_of_range": 1}),
        ("[-3] > [2]", "321", {"malformed": 1, "missing": 1}),
        ("[Passage 3] > [Passage 1]", "312", {"malformed": 1, "missing": 1}),
    ],
)
def test_an_answer_is_read_strictly_or_repaired(answer: str, order: str, counts: dict[str, int]) -> None:
    read = read_permutation(answer, len(order))
    assert read.order == tuple(int(place) - 1 for place in order)
    assert read.repairs == dict.fromkeys(KINDS, 0) | counts


LONG = [
    *("1" * 10**6, "[" * 10**6, "[ " * 10**5, "[" + " " * 10**6, "> " * 10**5, "1] " * 10**5, "[PASSAGE1, " * 10**5),
    *("passage" + " " * 10**6, "[1] > " * 10**5 + "x", "1" + " " * 10**6 + "x", "> passage" + " " * 10**6, ">" * 10**6),
]


@pytest.mark.parametrize("answer", LONG, ids=lambda answer: ascii(answer[:9]))
def test_long_answers_take_time_in_proportion(answer: str) -> None:
    started = time.process_time()
    assert sorted(read_permutation(answer, 20).order) == list(range(20))
    assert time.process_time() - started < 10  # far less; looking again from each digit would take hours


def in_style(style: str, order: list[int]) -> str:
    """A perfect answer, as RankGPT or LRL ask for it."""
    if style == "rankgpt":
        return " > ".join(f"[{i}]" for i in order)
    return "[" + ", ".join(f"PASSAGE{i}" for i in order) + "]"


def test_perfect_answers_need_no_repair_and_five_thousand_injured_ones_become_permutations() -> None:
    draw, counts = random.Random(3), Counter[str]()
    for i in range(5_000):
        wanted = draw.sample(range(1, 21), 20)
        answer = in_style(("rankgpt", "lrl")[i % 2], wanted)
        perfect = read_permutation(answer, 20)
        assert perfect.order == tuple(place - 1 for place in wanted) and not any(perfect.repairs.values())
        for _ in range(draw.randint(1, 6)):
            a, b = sorted(draw.randint(0, len(answer)) for _ in range(2))
            piece = draw.choice(PIECES) * draw.choice((1, 1, 1, 3))
            head, tail = answer[:a], answer[a:]
            answer = draw.choice((head + piece + tail, head + answer[b:], answer[:b] + tail, tail + head))
        n = draw.choice((20, 20, 0, 1, 3, 100))
        read = read_permutation(answer, n)
        assert sorted(read.order) == list(range(n)) and set(read.repairs) == set(KINDS)
        assert min(read.repairs.values()) >= 0 and read.repairs["missing"] <= n
        counts.update(kind for kind, count in read.repairs.items() if count)
    assert set(counts) == set(KINDS)


@pytest.mark.real_data
def test_real_answers_are_counted_as_their_file_counts_them(real_data: Path) -> None:
    """The file's flag and ours agree on all 13,773: it means the strict form, blanks aside, and complete."""
    counts: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    with gzip.open(real_data / "llm_listwise_outputs" / "rank_llm_responses.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            read = read_permutation(row["response"], row["n_passages"])
            assert sorted(read.order) == list(range(20))
            assert row["is_full_permutation"] == (not any(read.repairs.values()))
            counts.update(read.repairs)
            answers.update(kind for kind, count in read.repairs.items() if count)
            answers["all"] += 1
            answers["repaired"] += any(read.repairs.values())
    assert counts == {"malformed": 2_328, "repeated": 6_066, "missing": 23_715, "out_of_range": 10}
    of_answers = {"malformed": 2_328, "repeated": 1_825, "missing": 1_483, "out_of_range": 10}
    assert answers == {"all": 13_773, "repaired": 3_409, **of_answers}
