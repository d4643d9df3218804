"""Grades as high as clicks, differences of rounding, and lists shorter than a cutoff: what a user reads of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from exabench import cli
from exabench.bench.comparison import compare

Rankings = Mapping[str, Sequence[str]]


@pytest.fixture
def write(tmp_path: Path):
    """Write a run or judgements; the path as text."""

    def writer(name: str, rows: Sequence[str]) -> str:
        file = tmp_path / name
        file.write_text("".join(f"{row}\n" for row in rows))
        return str(file)

    return writer


def ranking(passages: Mapping[str, Sequence[str]]) -> list[str]:
    rows = []
    for query, ids in passages.items():
        rows += [f"{query} Q0 {id} {rank} {100 - rank} run" for rank, id in enumerate(ids, 1)]
    return rows


def asked(capsys, *arguments: str) -> dict:
    """The JSON of a command that succeeds and warns of nothing."""
    assert cli.main(["bench", *arguments, "--json"]) == 0
    told = capsys.readouterr()
    assert "Warning" not in told.err
    return json.loads(told.out)


@pytest.mark.parametrize("high", [1_024, 1_500, 999_999_999])
def test_clicks_as_grades_have_a_finite_exponential_gain(write, capsys, high: int) -> None:
    qrels = write("qrels.txt", ["q1 0 d1 3", f"q1 0 d2 {high}", "q2 0 d1 2"])
    run = write("run.trec", ranking({"q1": ["d1", "d2"], "q2": ["d1"]}))
    found = asked(capsys, "score", run, "--qrels", qrels, "--metric", "nDCG_exp@10", "--metric", "nDCG@10")
    assert found["metrics"]["nDCG_exp@10"] == pytest.approx(0.81546, abs=1e-4)
    assert found["per_query"]["nDCG_exp@10"] == {"q1": pytest.approx(0.63093, abs=1e-4), "q2": 1.0}
    [itself] = asked(capsys, "compare", run, run, "--qrels", qrels, "--metric", "nDCG_exp@10")["tasks"]
    assert (itself["p"], itself["p_holm"], itself["effect_size"], itself["ties"]) == (1.0, 1.0, None, 2)
    assert itself["verdict"] == "not significantly different"


GAINS = {
    "every query by one": (["d3"], ["d0"]),
    "every query by 0.1309": (["d0", "d3", "d1", "d2", "d4"], ["d0", "d1", "d3", "d2", "d4"]),
}


@pytest.mark.parametrize("gain", GAINS)
def test_where_every_query_gains_the_same_there_is_no_effect_size(write, capsys, gain: str) -> None:
    queries = [f"q{number}" for number in range(30)]
    qrels = write("qrels.txt", [f"{query} 0 d{i} {int(i == 3)}" for query in queries for i in range(5)])
    better, worse = GAINS[gain]
    a = write("a.trec", ranking({query: better for query in queries}))
    b = write("b.trec", ranking({query: worse for query in queries}))
    [found] = asked(capsys, "compare", a, b, "--qrels", qrels)["tasks"]
    assert found["effect_size"] is None
    assert (found["wins"], found["losses"], found["verdict"]) == (30, 0, "A is better")
    assert cli.main(["bench", "compare", a, b, "--qrels", qrels]) == 0
    assert " 30/0/0       -  < 0.0001 " in capsys.readouterr().out
    assert "nan" not in compare(a, b, qrels=qrels).latex()


def test_sums_in_another_order_are_no_difference(write, capsys) -> None:
    """RBP of the same ranks, summed beside other zeros, may differ in its last bits alone."""
    queries = [f"q{number}" for number in range(12)]
    rows = [f"{query} 0 d{i} {i % 3}" for query in queries for i in range(40)]
    qrels = write("qrels.txt", rows)
    ids = [f"d{number}" for number in range(40)]
    a = write("a.trec", ranking({query: ids for query in queries}))
    b = write("b.trec", ranking({query: [*ids, *(f"x{i}" for i in range(50))] for query in queries}))
    for metric in ("nDCG", "AP", "RBP(p=0.8)", "infAP", "ERR"):
        for test in ("t", "permutation"):
            [found] = asked(capsys, "compare", a, b, "--qrels", qrels, "--metric", metric, "--test", test)["tasks"]
            assert (found["wins"], found["losses"], found["effect_size"], found["p"]) == (0, 0, None, 1.0)


@pytest.mark.parametrize(
    ("ranked", "judged", "holes"),
    [
        ({"q1": ["d1", "d2", "d3"], "q2": ["d1", "d9"]}, 1.0, 0.0),  # all that is ranked is judged, d9 by a grade of -1
        ({"q1": ["d1", "x"], "q2": ["d1", "d9"]}, 0.75, 0.05),
        ({"q1": ["d1", "d2", "d3"]}, 0.5, 0.0),  # a query that is not answered has nothing judged
        ({"q1": ["x1", "x2"], "q2": ["d2"]}, 0.0, 0.1),  # d2 was judged for q1 alone: no hole, and not judged for q2
    ],
)
def test_judged_is_over_what_is_ranked_and_holes_are_over_the_cutoff(write, capsys, ranked, judged, holes) -> None:
    qrels = write("qrels.txt", ["q1 0 d1 1", "q1 0 d2 0", "q1 0 d3 0", "q2 0 d1 1", "q2 0 d9 -1"])
    run = write("run.trec", ranking(ranked))
    found = asked(capsys, "score", run, "--qrels", qrels, "--metric", "Judged@10", "--metric", "Hole@10")
    assert found["metrics"] == {"Judged@10": pytest.approx(judged), "Hole@10": pytest.approx(holes)}
