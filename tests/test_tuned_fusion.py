"""Weighted fusion as a first stage: weights by hand, weights that ranx tunes, and never on what is tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys import contents, write_run

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.nouns import Query
from exabench.measure.runs import run_of
from exabench.parts.retrievers.fusion import Fusion
from exabench.tasks.held_out import held_out

QUERY = [Query("q", "")]


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def two_runs() -> list[str]:
    """Runs of one query: min-max makes a 1, b 0.5, c 0 of the first, and b 1, d 0 of the second."""
    first = {"q": {"a": 30.0, "b": 20.0, "c": 10.0}, "alone": {"x": 1.0, "y": 0.5}}
    second = {"q": {"b": 0.9, "d": 0.1}}
    write_run(Path("first.trec"), run_of("first", first))
    write_run(Path("second.trec"), run_of("second", second))
    return ["first.trec", "second.trec"]


def test_the_weighted_sum_is_as_by_hand(two_runs: list[str]) -> None:
    stage = Fusion(runs=two_runs, method="wsum", weights=[0.8, 0.2])
    run = stage.search([*QUERY, Query("alone", "")], 10)
    assert run["q"] == pytest.approx({"a": 0.8, "b": 0.6, "c": 0.0, "d": 0.0}, abs=1e-6)
    assert run.ranking("alone") == ["x", "y"]
    assert (stage.parameters["weights"], stage.parameters["norm"]) == ([0.8, 0.2], "min-max")
    multiplied = Fusion(runs=two_runs, method="wmnz", weights=[0.8, 0.2]).search(QUERY, 10)
    assert multiplied["q"] == pytest.approx({"b": 1.5, "a": 0.8, "c": 0.0, "d": 0.0}, abs=1e-6)


def runs_of(split: str) -> list[str]:
    """Two runs over a split of mini: one has the judged passages last, the other first."""
    wrong, right = {}, {}
    for query_id, row in held_out(f"mini/{split}").qrels.items():
        ids = sorted(row)
        right[query_id] = {id: float(row[id]) + 1 for id in ids} | {"zz-first": 0.5, "zz-last": 0.25}
        wrong[query_id] = {id: 0.1 - 0.01 * row[id] for id in ids} | {"zz-first": 9.0, "zz-last": 0.0}
    for name, scores in (("wrong", wrong), ("right", right)):
        write_run(Path(f"{split}-{name}.trec"), run_of(name, scores))
    return [f"{split}-wrong.trec", f"{split}-right.trec"]


def test_weights_are_tuned_on_other_queries_and_are_in_the_provenance_of_the_list() -> None:
    options = {"runs": runs_of("test"), "tune_runs": runs_of("train"), "tune_on": "mini/train", "method": "wsum"}
    candidates, run = exabench.make_candidates("mini", "fusion", 100, options=options)
    parameters = candidates.parameters
    wrong, right = parameters["weights"]
    assert right > wrong and wrong + right == pytest.approx(1)
    tuned = parameters["tuned"]
    assert (tuned["on"], tuned["metric"]) == ("mini/train", "ndcg@10")
    assert tuned["queries"] == len(held_out("mini/train").qrels)
    assert [*tuned["runs"]] == ["train-wrong.trec", "train-right.trec"]
    again, same = exabench.make_candidates("mini", "fusion", 100, options=options)
    assert (again, again.digest) == (candidates, candidates.digest) and same.query_ids == run.query_ids
    # With the weights written down it is the same list.
    named = {"runs": options["runs"], "method": "wsum", "weights": parameters["weights"]}
    assert exabench.make_candidates("mini", "fusion", 100, options=named)[0].digest == candidates.digest
    assert exabench.score(run, task="mini")["nDCG@10"] > exabench.score("test-wrong.trec", task="mini")["nDCG@10"]


def test_k_is_tuned_too_and_a_board_keeps_what_was_chosen() -> None:
    runs, others = json.dumps(runs_of("test")), json.dumps(runs_of("train"))
    options = ["--set", f"runs={runs}", "--set", f"tune_runs={others}", "--set", "tune_on=mini/train"]
    freeze = ["bench", "candidates", "mini", "--retriever", "fusion", *options, "--depth", "1000", "--board", "board"]
    assert main([*freeze, "--dry-run"]) == 0 and not Path("board").exists()
    assert main(freeze) == 0
    [file] = Path("board/candidates/mini").glob("fusion-*[0-9].json")
    described = json.loads(file.read_text(encoding="utf-8"))
    assert described["parameters"]["k"] in range(10, 101, 10)
    assert described["parameters"]["tuned"]["on"] == described["options"]["tune_on"] == "mini/train"
    assert main(["board", "check", "--board", "board"]) == 0


def test_queries_that_are_tested_are_never_tuned_on(capsys: pytest.CaptureFixture[str]) -> None:
    runs = json.dumps(runs_of("test"))
    before = contents(Path.cwd())
    options = ["--set", f"runs={runs}", "--set", "method=wsum", "--set", "tune_on=mini/test"]
    assert main(["bench", "candidates", "mini", "--retriever", "fusion", *options, "--board", "board"]) == 2
    said = capsys.readouterr().err
    assert "mini/test has only queries that are tested here; name others" in said.splitlines()[-1]
    assert contents(Path.cwd()) == before


def test_single_queries_that_are_tested_are_left_out_by_their_texts_or_ids() -> None:
    held = held_out("mini/train")
    first, second, *others = held.queries.values()
    left = held.apart_from([Query("elsewhere", f" {first.text} "), Query(second.id, ""), Query(others[0].id, "other")])
    assert [*left.queries.values()] == others and [*left.qrels] == [*left.queries]
    stage = Fusion(runs=runs_of("train"), method="wsum", tune_on="mini/train")
    stage.search([first, second], 10)
    assert stage.parameters["tuned"]["queries"] == len(others)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"method": "wsum"}, "method wsum needs weights, one for each run, or tune_on"),
        ({"method": "wsum", "weights": [1.0]}, "weights must be 2 numbers, one for each run"),
        ({"method": "wsum", "weights": [1.0, -0.5]}, "none below 0"),
        ({"method": "wsum", "weights": [0.0, 0.0]}, "not all 0"),
        ({"weights": [0.5, 0.5]}, "weights do not go with method rrf"),
        ({"method": "wsum", "weights": [0.5, 0.5], "tune_on": "mini/train"}, "weights do not go with tune_on"),
        ({"method": "isr", "tune_on": "mini/train"}, "method isr has nothing to tune; choose from: rrf, wsum, wmnz"),
        ({"tune_runs": ["first.trec", "second.trec"]}, "tune_runs go with tune_on"),
        ({"tune_on": "mini/train", "tune_runs": ["first.trec"]}, "tune_runs must be 2 files of the same systems"),
        ({"tune_on": "mini"}, "'mini' names no queries to tune on; write <task>/<split>, as in scifact/train"),
    ],
)
def test_what_does_not_go_together_is_one_line(two_runs: list[str], options: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput, match=told) as error:
        exabench.retriever("fusion", (), runs=two_runs, **options)
    assert "\n" not in str(error.value)


def test_runs_that_answer_none_of_the_queries_are_told(two_runs: list[str]) -> None:
    with pytest.raises(
        BadInput, match="the runs answer no query of mini/train together; name those that do in tune_runs"
    ):
        Fusion(runs=two_runs, method="wsum", tune_on="mini/train").search(QUERY, 10)
