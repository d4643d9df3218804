"""A board on the Hub: its lists as a benchmark dataset, results on the pages of models, and MTEB's beside its own."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_double import HubDouble, repository
from models import classifier_folder
from toys import contents, write_submission

import exabench
from exabench.bench.candidates import freeze_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.submitting import submit
from exabench.board.eval_results import compare_results, push_results
from exabench.board.ranking import Board
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.hub import commits

LISTS = "owner/lists"
MODEL = "acme/reranker"
URL = "https://boards.example.org/ours"
RESULTS = ".eval_results/owner--lists.yaml"


@pytest.fixture(scope="module")
def _model_board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of mini whose list was frozen with its texts."""
    board = tmp_path_factory.mktemp("hub") / "board"
    freeze_candidates(Ledger(board), "mini", "bm25", 20)
    (board / "board.toml").write_text(f'title = "Ours"\ntasks = ["mini"]\nurl = "{URL}"\n')
    return board


@pytest.fixture
def hub(dataset_hub: HubDouble, monkeypatch: pytest.MonkeyPatch) -> HubDouble:
    monkeypatch.setattr(commits, "PAUSE", 0.0)
    return dataset_hub


@pytest.fixture
def lists(hub: HubDouble, _model_board: Path, tmp_path: Path) -> Path:
    """The test's own copy of the board; its lists are published."""
    board = Path(shutil.copytree(_model_board, tmp_path / "ours"))
    assert main(["board", "publish-lists", "--board", str(board), "--repo", LISTS]) == 0
    return board


@pytest.fixture
def measured(hub: HubDouble, lists: Path, tmp_path: Path) -> Path:
    """The same board with a model of the Hub, measured."""
    weights = classifier_folder(tmp_path / "weights")
    commit = hub.commit(f"models/{MODEL}", {file.name: file.read_bytes() for file in weights.iterdir()})
    sent = {"name": MODEL, "kind": "model", "reranker": "cross_encoder", "model": MODEL, "revision": commit}
    submit(write_submission(tmp_path / "sent", **sent), [], lists)
    run_board(lists, trusted=True)
    return lists


def files(hub: HubDouble, repo: str) -> Mapping[str, bytes]:
    return hub.repo(repo).at("main").files


def front(card: bytes) -> dict[str, Any]:
    return yaml.safe_load(card.decode().split("---\n")[1])


# -- candidate lists ---------------------------------------------------------------------------------------------------


def test_the_lists_of_a_board_are_a_dataset_that_loads_and_holds_what_the_board_holds(
    hub: HubDouble, lists: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(LISTS, "mini.bm25-20", split="test")
    [frozen] = Ledger(lists).candidates()
    run = Ledger(lists).candidates_run(frozen)
    assert tuple(rows["query-id"]) == run.query_ids
    for row in rows:
        assert dict(zip(row["corpus-ids"], row["scores"], strict=True)) == run[row["query-id"]]
        assert row["ranks"] == list(range(1, len(row["ranks"]) + 1))
        assert row["qrels-digest"] == frozen.qrels_digest
        assert row["query"]  # mini is CC0


def test_the_dataset_is_a_benchmark_with_a_leaderboard_for_each_list(hub: HubDouble, lists: Path) -> None:
    known = yaml.safe_load(files(hub, LISTS)["eval.yaml"])
    assert known["evaluation_framework"] == "exabench" and known["name"] == "Ours"
    assert known["tasks"] == [{"id": "mini.bm25-20", "config": "mini.bm25-20", "split": "test"}]
    card = front(files(hub, LISTS)["README.md"])
    assert card["license"] == "cc0-1.0" and card["task_categories"] == ["text-ranking", "text-retrieval"]
    assert card["multilinguality"] == "monolingual" and card["language"] == "en"


def test_the_command_on_the_card_freezes_the_very_same_list(hub: HubDouble, lists: Path, tmp_path: Path) -> None:
    card = files(hub, LISTS)["README.md"].decode()
    [command] = re.findall(r"^exabench (bench candidates .*)$", card, re.MULTILINE)
    assert main([*shlex.split(command), "--board", "theirs"]) == 0
    [ours] = Ledger(lists).candidates()
    [theirs] = Ledger(tmp_path / "theirs").candidates()
    assert (theirs.name, theirs.digest, theirs.qrels_digest) == (ours.name, ours.digest, ours.qrels_digest)
    assert theirs.parameters["repo"] == LISTS and theirs.parameters["revision"] == hub.repo(LISTS).refs["main"]


def test_lists_that_are_there_make_no_commit_and_what_people_wrote_into_the_card_stays(
    hub: HubDouble, lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = hub.repo(LISTS)
    before = dict(files(hub, LISTS))
    before["README.md"] = before["README.md"].replace(b"license:", b"thanks: all\nlicense:") + b"\nBy hand.\n"
    commit = hub.commit(LISTS, before)
    publish = ["board", "publish-lists", "--board", str(lists), "--repo", LISTS]
    assert main(publish) == 0 and repo.refs["main"] == commit
    assert "nothing has changed" in capsys.readouterr().out
    freeze_candidates(Ledger(lists), "mini", "bm25", 10)
    assert main([*publish, "--dry-run"]) == 0 and repo.refs["main"] == commit
    assert main(publish) == 0
    now = files(hub, LISTS)
    assert {"data/mini.bm25-10.parquet", "data/mini.bm25-20.parquet"} < now.keys()
    assert b"thanks: all" in now["README.md"] and b"By hand." in now["README.md"]
    shutil.rmtree(lists / "candidates")
    assert main(publish) == 2 and "has no candidate list" in capsys.readouterr().err
    assert files(hub, LISTS) == now


def test_texts_that_nobody_may_pass_on_are_not_published(hub: HubDouble, lists: Path) -> None:
    [shown] = lists.glob("candidates/mini/*.shown.json.gz")
    shown.unlink()  # what pages show of a list whose licence is closed holds no texts either
    assert main(["board", "publish-lists", "--board", str(lists), "--repo", "owner/bare"]) == 0
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset("owner/bare", "mini.bm25-20", split="test")
    assert "query" not in rows.column_names
    assert "license" not in front(files(hub, "owner/bare")["README.md"])


def test_the_lists_of_one_task_can_be_published_and_what_cannot_be_is_told(
    hub: HubDouble, lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish = ["board", "publish-lists", "--board", str(lists), "--repo", "owner/some"]
    assert main([*publish, "--task", "mini"]) == 0 and "data/mini.bm25-20.parquet" in files(hub, "owner/some")
    refusals = {
        ("--task", "scifact"): "unknown task with candidates 'scifact'",
        ("--framework", "A b"): "framework 'A b'",
    }
    for choices, message in refusals.items():
        assert main([*publish, *choices]) == 2
        assert message in capsys.readouterr().err
    assert main(["board", "push-results", "--board", str(lists), "--lists", "nonsense"]) == 2
    assert "'nonsense' must be a dataset of the Hub" in capsys.readouterr().err


def test_a_list_with_a_score_too_few_is_refused(
    hub: HubDouble, lists: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = Ledger(lists).candidates_run(Ledger(lists).candidates()[0]).query_ids[0]
    row = {"query-id": known, "corpus-ids": ["d1", "d2"], "scores": [1.0]}
    hub.commit("owner/odd", repository({("bm25", "test"): [row]}))
    choices = ["--retriever", "hub_list", "--set", "repo=owner/odd"]
    assert main(["bench", "candidates", "mini", *choices, "--board", str(lists)]) == 2
    assert "does not have a score for each passage" in capsys.readouterr().err


# -- results on the pages of models ------------------------------------------------------------------------------------


def test_a_model_gets_one_pull_request_with_its_results_and_links_to_their_cells(
    hub: HubDouble, measured: Path
) -> None:
    push = ["board", "push-results", "--board", str(measured), "--lists", LISTS]
    assert main([*push, "--dry-run"]) == 0 and hub.repo(f"models/{MODEL}").requests == []
    assert main(push) == 0 and main(push) == 0
    repo = hub.repo(f"models/{MODEL}")
    [request] = repo.requests
    assert request["title"] == f"Evaluation results on {LISTS}"
    assert RESULTS not in files(hub, f"models/{MODEL}")
    [entry] = yaml.safe_load(repo.at("refs/pr/1").files[RESULTS])
    [value] = [one.value for one in Board.read(measured).results if one.submission == "acme--reranker"]
    dataset = {"id": LISTS, "task_id": "mini.bm25-20", "revision": hub.repo(LISTS).refs["main"]}
    assert entry["dataset"] == dataset and entry["value"] == round(value, 4)
    assert entry["source"] == {"url": f"{URL}/results/acme--reranker/mini.bm25-20.html", "name": "Ours"}
    assert entry["notes"] == "nDCG@10, top 20 of bm25 reranked, reproduced by exabench"


def test_results_read_back_are_those_of_the_board(
    hub: HubDouble, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare = ["board", "push-results", "--board", str(measured), "--lists", LISTS, "--compare"]
    assert main(compare) == 1  # nothing was pushed yet
    push_results(measured, LISTS)
    capsys.readouterr()
    assert main([*compare, "--json"]) == 0
    [told] = json.loads(capsys.readouterr().out)["values"]
    [one] = [one for one in Board.read(measured).results if one.submission == "acme--reranker"]
    assert (f"{told['value']:.4f}", f"{told['there']:.4f}") == (f"{one.value:.4f}",) * 2
    repo = hub.repo(f"models/{MODEL}")
    changed = repo.at("refs/pr/1").files[RESULTS].replace(b"value: 0.", b"value: 0.9")
    hub.commit(f"models/{MODEL}", {**files(hub, f"models/{MODEL}"), RESULTS: changed})
    assert main(compare) == 1
    assert [value.holds for value in compare_results(measured, LISTS)] == [False]


def test_a_request_that_was_merged_or_closed_is_not_opened_again_and_other_numbers_are(
    hub: HubDouble, measured: Path
) -> None:
    repo = hub.repo(f"models/{MODEL}")
    push_results(measured, LISTS)
    repo.requests[0]["status"] = "closed"
    assert [one.changed for one in push_results(measured, LISTS)] == [False]
    hub.merge(f"models/{MODEL}", 1)
    assert [one.changed for one in push_results(measured, LISTS)] == [False]
    freeze_candidates(Ledger(measured), "mini", "bm25", 10)
    run_board(measured, trusted=True)
    main(["board", "publish-lists", "--board", str(measured), "--repo", LISTS])
    assert [len(one.values) for one in push_results(measured, LISTS) if one.changed] == [2]
    assert len(repo.requests) == 2


@pytest.mark.parametrize("kind", ["lost reply", "500 after", "no answer", "503"])
def test_a_hub_that_fails_gets_no_second_request(hub: HubDouble, measured: Path, kind: str) -> None:
    hub.faults.arm(rest=None, plan={})
    hub.faults.arm(plan={9: kind})
    push_results(measured, LISTS, check=False)
    assert len(hub.repo(f"models/{MODEL}").requests) == 1


def test_a_board_without_an_address_or_with_other_lists_pushes_nothing(
    hub: HubDouble, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push = ["board", "push-results", "--board", str(measured), "--lists"]
    assert main([*push, "owner/none"]) == 2
    assert "exabench board publish-lists --repo owner/none" in capsys.readouterr().err
    assert main(["board", "push-results", "nobody", *push[2:], LISTS]) == 2
    assert "nobody is not a model of this board with a Hub id; choose from: acme--reranker" in capsys.readouterr().err
    manifest = json.loads(files(hub, LISTS)["manifest.json"])
    manifest["lists"]["mini.bm25-20"]["digest"] = "sha256:" + "0" * 64
    hub.commit(LISTS, {**files(hub, LISTS), "manifest.json": json.dumps(manifest).encode()})
    assert main([*push, LISTS]) == 2
    assert "has another list mini.bm25-20" in capsys.readouterr().err
    page = measured / "board.toml"
    page.write_text(page.read_text().replace(f'url = "{URL}"\n', ""))
    assert main([*push, LISTS]) == 2
    assert "board.toml: has no url, which results link to" in capsys.readouterr().err
    assert hub.repo(f"models/{MODEL}").requests == []


def test_a_file_that_is_no_results_counts_as_none_and_a_manifest_that_is_none_is_refused(
    hub: HubDouble, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"models/{MODEL}"
    hub.commit(model, {**files(hub, model), RESULTS: b"just words"})
    assert [one.there for one in compare_results(measured, LISTS)] == [None]
    assert [one.changed for one in push_results(measured, LISTS)] == [True]
    assert [one.holds for one in compare_results(measured, LISTS)] == [True]  # what the request says
    hub.commit(LISTS, {**files(hub, LISTS), "manifest.json": b"[" * 100_000})
    capsys.readouterr()
    assert main(["board", "push-results", "--board", str(measured), "--lists", LISTS]) == 2
    assert "contains something other than candidate lists" in capsys.readouterr().err


def test_a_model_that_is_gone_is_told_and_the_others_are_done(
    hub: HubDouble, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del hub.repos[f"models/{MODEL}"]
    assert main(["board", "push-results", "--board", str(measured), "--lists", LISTS]) == 1
    told = capsys.readouterr()
    assert f"{MODEL} does not exist" in told.out and "1 model accepts no pull request" in told.err


# -- a board that is read from the Hub ---------------------------------------------------------------------------------


def on_the_hub(hub: HubDouble, board: Path) -> str:
    """The commit of a dataset that holds the board's folder."""
    return hub.commit("owner/board", {path: data for path, data in contents(board).items() if "site/" not in path})


def test_a_board_is_read_from_the_hub_at_any_commit(hub: HubDouble, board: Path) -> None:
    first = on_the_hub(hub, board)
    shown = [(row.name, row.values, row.interval, row.group) for row in Board.read(board).rows]
    there = exabench.Board.read("hub:owner/board").rows
    assert [(row.name, row.values, row.interval, row.group) for row in there] == shown
    ledger = Ledger(board)
    ledger.add_submission(dataclasses.replace(ledger.submissions()["acme--good"], withdrawn="A mistake"))
    on_the_hub(hub, board)
    assert [one.name for one in Board.read("hub:owner/board").withdrawn] == ["acme/good"]
    assert Board.read(f"hub:owner/board@{first}").withdrawn == []
    for place, error in {
        "hub:owner": BadInput,
        "hub:owner/board@": BadInput,
        "hub:../x/y": BadInput,
        "hub:owner/none": BadInput,
        "hub:owner/board@a\nb": BadInput,
        "hub:owner/board@\udc80": BadInput,
    }.items():
        with pytest.raises(error):
            Board.read(place)
    hub.commit("owner/other", {"README.md": b"no board"})
    with pytest.raises(BadInput, match="is not a leaderboard"):
        Board.read("hub:owner/other")


def test_a_data_frame_holds_what_the_download_holds_and_says_its_format(board: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    content = Board.read(board)
    frame = content.to_pandas()
    exabench.render(content, tmp_path / "site")
    table = pandas.read_csv(tmp_path / "site" / "data" / "results.csv").drop(columns="data")
    assert list(frame.columns) == list(table.columns) and len(frame) == len(content.results)
    assert frame["value"].tolist() == pytest.approx(table["value"].tolist())
    said = json.loads((tmp_path / "site" / "data" / "board.json").read_text())
    assert frame.attrs["format"] == said["format"] and frame.attrs["title"] == "A small board"


# -- MTEB --------------------------------------------------------------------------------------------------------------


def mteb_result(**changes: Any) -> dict[str, Any]:
    scores = {"ndcg_at_10": 0.7123, "mrr_at_10": 0.6888, "recall_at_100": 0.95, "map_at_1000": 0.67, "accuracy": 0.5}
    about = {"main_score": 0.7123, "hf_subset": "default", "languages": ["eng-Latn"], "mteb_version": "2.1.4"}
    values = {"dataset_revision": "0228b52", "task_name": "SciFact", "mteb_version": "2.1.4", "evaluation_time": 3.5}
    return {**values, "scores": {"test": [{**scores, **about}]}, "kg_co2_emissions": None, **changes}


@pytest.fixture
def mteb(tmp_path: Path) -> Path:
    """A folder as MTEB leaves it: a model's results on a retrieval task and on another kind of task."""
    folder = tmp_path / "results" / "acme__encoder" / ("a" * 40)
    folder.mkdir(parents=True)
    (folder / "SciFact.json").write_text(json.dumps(mteb_result()))
    other = {"main_score": 0.8, "hf_subset": "default", "languages": ["eng-Latn"], "cosine_spearman": 0.8}
    (folder / "STS12.json").write_text(json.dumps(mteb_result(task_name="STS12", scores={"test": [other]})))
    (folder / "model_meta.json").write_text(json.dumps({"name": "acme/encoder", "revision": "a" * 40}))
    return tmp_path / "results"


def reported(board: Path) -> Iterator[dict[str, str]]:
    [table] = [table for table in Board.read(board).reported if table.name == "mteb"]
    for row in table.rows:
        yield dict(zip(table.columns, row, strict=True))


def test_results_of_mteb_are_reported_numbers_with_their_version_and_never_measured_ones(
    board: Path, mteb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(Board.read(board).results)
    assert main(["bench", "import-mteb", str(mteb), "--board", str(board)]) == 0
    told = capsys.readouterr()
    assert "4 rows added, 0 changed, 0 as before" in told.out and "1 file of other kinds of tasks ignored" in told.err
    rows = list(reported(board))
    assert {row["metric"]: row["value"] for row in rows} == {
        "nDCG@10": "0.7123",
        "RR@10": "0.6888",
        "AP@1000": "0.67",
        "R@100": "0.95",
    }
    assert {(row["system"], row["dataset"]) for row in rows} == {("acme/encoder", "scifact")}
    source = f"MTEB 2.1.4: SciFact at 0228b52, split test, subset default; model at {'a' * 40}"
    assert {row["source"] for row in rows} == {source}
    assert len(Board.read(board).results) == before
    assert Ledger(board).reported_sources()["mteb"].title == "Results of MTEB"
    assert main(["board", "check", "--board", str(board)]) == 0


def test_an_import_again_changes_what_differs_and_adds_nothing_twice(
    board: Path, mteb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "import-mteb", str(mteb), "--board", str(board)]
    assert main(command) == 0 and main(command) == 0
    assert "0 rows added, 0 changed, 4 as before" in capsys.readouterr().out
    [file] = mteb.rglob("SciFact.json")
    file.write_text(file.read_text().replace("0.6888", "0.6999"))
    assert main(command) == 0
    assert "0 rows added, 1 changed, 3 as before" in capsys.readouterr().out
    assert len(list(reported(board))) == 4


def test_results_of_older_versions_and_of_several_languages_are_read(board: Path, tmp_path: Path) -> None:
    old = {
        "mteb_dataset_name": "NFCorpus",
        "mteb_version": "1.7.52",
        "test": {"ndcg_at_10": 0.31, "evaluation_time": 9},
    }
    (tmp_path / "old.json").write_text(json.dumps(old))
    subsets = [{"ndcg_at_10": 0.5, "main_score": 0.5, "hf_subset": language} for language in ("de", "fr")]
    (tmp_path / "many.json").write_text(json.dumps(mteb_result(task_name="MLDR", scores={"dev": subsets})))
    files = [str(tmp_path / "old.json"), str(tmp_path / "many.json")]
    assert main(["bench", "import-mteb", *files, "--system", "acme/x", "--board", str(board)]) == 0
    rows = [(row["system"], row["dataset"], row["value"]) for row in reported(board)]
    assert rows == [("acme/x", "MLDR (de)", "0.5"), ("acme/x", "MLDR (fr)", "0.5"), ("acme/x", "nfcorpus", "0.31")]


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"a": 1}', "is not an MTEB result: it has no task_name"),
        ("[]", "is not an MTEB result"),
        ("{", "JSON"),
        (json.dumps(mteb_result(scores=[1])), "its scores are not a table"),
        (json.dumps(mteb_result(scores={"a\nb": [{"ndcg_at_10": 0.5}]})), "not one line of text"),
        (json.dumps(mteb_result(task_name="a\nb")), "it has no task_name"),
        (json.dumps(mteb_result(scores={"test": [{"ndcg_at_10": "high"}]})), "must be a number from 0 to 1"),
        (json.dumps(mteb_result(scores={"test": [{"ndcg_at_10": 71.2}]})), "must be a number from 0 to 1"),
        (json.dumps(mteb_result(scores={"test": [{"main_score": 0.5}]})), "no result of a retrieval task"),
    ],
)
def test_what_is_no_result_of_mteb_is_refused_and_nothing_is_written(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    (tmp_path / "x.json").write_text(content)
    assert main(["bench", "import-mteb", str(tmp_path / "x.json"), "--system", "a/b", "--board", str(board)]) == 2
    assert message in capsys.readouterr().err
    assert not (board / "reported" / "mteb.csv").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "must have the columns system,dataset,first_stage,topk,metric,value,source"),
        ("system,score\na,1\n", "must have the columns system,dataset"),
        ("system,dataset,first_stage,topk,metric,value,source\na,b\n", "row 2 must have 7 cells, not 2"),
    ],
)
def test_a_table_of_that_name_that_no_import_made_is_left_as_it_is(
    board: Path, mteb: Path, capsys: pytest.CaptureFixture[str], table: str, message: str
) -> None:
    file = board / "reported" / "mteb.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(table)
    assert main(["bench", "import-mteb", str(mteb), "--board", str(board)]) == 2
    said = capsys.readouterr().err
    assert f"mteb.csv: {message}" in said and said.count("\n") == 1
    assert file.read_text() == table


def test_two_values_of_one_number_are_refused_and_titles_are_read_before_anything_is_written(
    board: Path, mteb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [file] = mteb.rglob("SciFact.json")
    copy = tmp_path / "SciFact.json"
    copy.write_text(file.read_text().replace("0.6888", "0.6999"))
    command = ["bench", "import-mteb", "--board", str(board), "--system", "acme/encoder"]
    scores = [{"ndcg_at_10": value, "hf_subset": "default"} for value in (0.5, 0.6)]
    (tmp_path / "twice.json").write_text(json.dumps(mteb_result(scores={"test": scores})))
    assert main([*command, str(tmp_path / "twice.json")]) == 2
    assert "nDCG@10 of acme/encoder on scifact is 0.6 here and 0.5 elsewhere" in capsys.readouterr().err
    (board / "reported").mkdir(exist_ok=True)
    (board / "reported" / "tables.toml").write_text("x = [")
    assert main([*command, str(copy)]) == 2
    assert "tables.toml: is not TOML" in capsys.readouterr().err
    assert not (board / "reported" / "mteb.csv").exists()


def test_a_result_whose_model_nobody_names_is_refused(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(mteb_result()))
    assert main(["bench", "import-mteb", str(tmp_path / "x.json"), "--board", str(board)]) == 2
    assert "name the model (--system owner/model)" in capsys.readouterr().err
    assert main(["bench", "import-mteb", str(tmp_path / "none.json"), "--board", str(board)]) == 2
    assert "none.json: does not exist" in capsys.readouterr().err
