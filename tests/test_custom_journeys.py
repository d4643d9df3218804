"""A custom task goes the ways of every other: built from, leaked, trained for, evaluated on, sent, taken, verified."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import fits
import pytest
from hub_client import point_at
from hub_double import HubDouble
from models import classifier_folder
from toys import contents, toml, write_submission

import exabench
from exabench.bench.contamination import exposure_of
from exabench.cli import main
from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import PACKAGE, read_json
from exabench.core.nouns import Submission
from exabench.data.auditing import audit
from exabench.data.building import Sources, build
from exabench.data.releases import rows
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection
from exabench.training import train

BUILD = """
builder = "mined"
dataset = "own"
table = "bats-mined"
title = "Bats"
licence = "cc0-1.0"
seed = 0
shard = 50
options = { task = "TASK", split = "train", negatives = 2, depth = 20, seed = 0, retrievers = { bm25 = "bm25" } }
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the embedded collection as the custom task `bats`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PACKAGE / "mini", tmp_path / "data" / "bats")
    (tmp_path / "data" / "bats" / "task.toml").write_text('title = "Bats"\nlicence = "CC0-1.0"\n')
    return tmp_path / "data"


def command(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("name", ["bats", "../data/bats", "data/bats/task.toml"])
def test_a_set_is_built_from_a_custom_task_and_its_leaks_are_found(tmp_path: Path, data: Path, name: str) -> None:
    recipe = tmp_path / "recipes" / "bats.toml"
    recipe.parent.mkdir()
    recipe.write_text(BUILD.replace("TASK", name))
    release = build(recipe, tmp_path / "work", sources=Sources(data, tmp_path / "replies.sqlite"))
    assert release.tables["bats-mined"].counts["good"] > 0
    made = list(rows(tmp_path / "work" / "release", "bats-mined", "train"))
    assert {row["source"] for row in made} == {"folder bats in BEIR layout"}
    found = audit(tmp_path / "work" / "release", data=data).tables["bats-mined"]
    assert "bats" in found["leaks"]["benchmarks"]  # judged passages stand among the rows
    assert "bats" in found["against people"]


def test_a_model_is_trained_for_a_custom_task(tmp_path: Path, data: Path) -> None:
    release = fits.write_release(tmp_path / "release", {"listwise": ("listwise", {"train": fits.listwise()})})
    model = classifier_folder(tmp_path / "bert")
    changes: dict[str, Any] = {
        "model": str(model),
        "dev": {"every": 2, "task": "../data/bats", "split": "train", "queries": 2, "depth": 3},
        "check": [{"task": "bats", "candidates": "bm25", "depth": 3, "metric": "nDCG@10"}],
        "steps": {"steps": 2},
    }
    recipe = fits.recipe(tmp_path / "recipes" / "toy.toml", [{"release": str(release), "table": "listwise"}], **changes)
    trained = train(recipe, tmp_path / "run", data=data)
    assert [one.task for one in trained.checks] == ["bats"] and trained.dev
    changes["check"][0]["task"] = "cats"
    fits.recipe(recipe, [{"release": str(release), "table": "listwise"}], **changes)
    with pytest.raises(UnknownName, match="unknown task 'cats'"):
        train(recipe, tmp_path / "other", data=data)
    assert not (tmp_path / "other").exists()


def test_python_takes_a_custom_task_by_name_by_path_and_as_a_value(data: Path) -> None:
    found = exabench.evaluate("unchanged", ["bats", "mini"], data=data, depth=5)
    same = exabench.evaluate("unchanged", task(str(data / "bats")), depth=5)
    assert found["bats"]["nDCG@10"] == same["bats"]["nDCG@10"] == found["mini"]["nDCG@10"]
    _, run = exabench.make_candidates(str(data / "bats"), "bm25", 5)
    assert exabench.score(run, task=str(data / "bats"))["nDCG@10"] == found["bats"]["nDCG@10"]
    [one] = exabench.compare(run, run, task="bats", data=data)
    assert one.task == "bats"


def test_training_data_called_like_a_custom_task_meets_it(data: Path) -> None:
    def sent(*names: str) -> Submission:
        return Submission("us/m", "model", "mit", names)

    bats = task("bats", data=data)
    assert [exposure_of(sent(name), bats) for name in ("us/bats-train", "Bats", "whales")] == ["yes", "yes", "no"]
    nfcorpus = task("irds:beir/nfcorpus/test")
    assert exposure_of(sent("mteb/nfcorpus"), nfcorpus) == exposure_of(sent("BeIR/nfcorpus"), nfcorpus) == "yes"


def filed(tmp_path: Path, data: Path) -> tuple[Path, Path, Path]:
    """A board over the custom task, a submission, and a run over the board's list."""
    board = tmp_path / "board"
    assert command("bench", "candidates", "bats", "--depth", 5, "--data", data, "--board", board) == 0
    run = tmp_path / "mine.trec.gz"
    shutil.copy(board / "candidates" / "bats" / "bm25-5.trec.gz", run)
    return board, write_submission(tmp_path / "mine", name="us/mine"), run


def test_a_queue_takes_a_run_over_a_custom_task(tmp_path: Path, data: Path) -> None:
    board, submission, run = filed(tmp_path, data)
    to = board / "pending" / "us--mine"
    (to / "runs").mkdir(parents=True)
    shutil.copy(submission, to / "submission.toml")
    shutil.copy(run, to / "runs" / "bats.bm25-5.trec.gz")
    assert command("bench", "run", "--pending", "--board", board) == 0
    assert (board / "results" / "us--mine" / "bats.bm25-5.json").is_file()
    assert command("bench", "run", "--board", board) == 0
    assert command("bench", "verify", "--board", board) == 0
    assert command("board", "check", "--board", board) == 0


def test_a_run_over_a_custom_task_is_sent_to_a_board_on_the_hub(tmp_path: Path, data: Path, monkeypatch) -> None:
    board, submission, run = filed(tmp_path, data)
    with HubDouble() as hub:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        hub.organisations["us"] = ["tester"]
        hub.commit("datasets/us/board", contents(board))
        send = ("bench", "submit", submission, "--run", f"bats={run}", "--repo", "us/board")
        assert command(*send) == 0
        assert len(hub.repo("datasets/us/board").requests) == 1


def test_several_workers_compute_results_of_a_custom_task(tmp_path: Path, data: Path) -> None:
    board, submission, run = filed(tmp_path, data)
    assert command("bench", "submit", submission, "--run", f"bats={run}", "--board", board) == 0
    assert command("bench", "run", "--workers", 2, "--board", board, "--data", data) == 0
    slugs = {file.parent.name for file in board.glob("results/*/bats.bm25-5.json")}
    assert {"exabench--oracle", "exabench--unchanged", "us--mine"} <= slugs


class TrecQuery(NamedTuple):
    """A topic of TREC, as ir_datasets gives it."""

    query_id: str
    title: str
    description: str
    narrative: str

    def default_text(self) -> str:
        return self.title


def test_the_field_of_a_query_that_is_searched_with_is_the_tasks(tmp_path: Path, monkeypatch) -> None:
    topic = TrecQuery("301", "International Organized Crime", "Identify organizations that participate", "...")
    dataset = SimpleNamespace(queries_iter=lambda: iter([topic]), docs_iter=lambda: iter(()))
    monkeypatch.setattr("ir_datasets.load", lambda id: dataset)
    file = tmp_path / "robust.toml"
    for field, text in (("", topic.title), ("description", topic.description)):
        file.write_text(toml({"source": "irds:disks45/nocr/trec-robust-2004", "query_field": field}))
        [query] = open_collection(task(str(file))).queries()
        assert query.text == text
    file.write_text(toml({"source": "irds:disks45/nocr/trec-robust-2004", "query_field": "desc"}))
    with pytest.raises(BadInput, match="no query field 'desc'; its fields: query_id, title, description, narrative"):
        open_collection(task(str(file)))


class Document(NamedTuple):
    """A document of ir_datasets."""

    doc_id: str
    text: str


def no_reading() -> None:
    raise AssertionError("the whole corpus was read")


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """ir_datasets with one data set, whose documents can be looked up by id and not be read from end to end."""
    store = SimpleNamespace(get_many_iter=lambda ids: (Document(id, f"about {id}") for id in ids))
    judged = [SimpleNamespace(query_id="1", doc_id=id, relevance=grade) for id, grade in (("a", 1), ("b", 0))]
    dataset = SimpleNamespace(
        queries_iter=lambda: iter([TrecQuery("1", "bats", "", "")]),
        qrels_iter=lambda: iter(judged),
        docs_iter=no_reading,
        docs_store=lambda: store,
    )
    monkeypatch.setattr("ir_datasets.load", lambda id: dataset)


def test_texts_are_looked_up_by_id_where_the_source_can(tmp_path: Path, large: None) -> None:
    (tmp_path / "bm25.trec").write_text("1 Q0 b 1 9 x\n1 Q0 a 2 8 x\n")
    seen = []

    def score(query: str, passages: list[str]) -> list[float]:
        seen.extend(passages)
        return [float(text.endswith("a")) for text in passages]

    options = {"file": str(tmp_path / "bm25.trec")}
    found = exabench.evaluate(score, "irds:huge", retriever="run_file", depth=2, retriever_options=options)
    assert found["huge"]["RR@10"] == 1.0 and set(seen) == {"about a", "about b"}


def test_a_source_other_than_the_folder_that_was_given_is_told(tmp_path: Path, large: None, capsys) -> None:
    (tmp_path / "run.trec").write_text("1 Q0 b 1 9 x\n1 Q0 a 2 8 x\n")
    (tmp_path / "collections").mkdir()
    options = ("--data", tmp_path / "collections", "--metric", "P@1")
    assert command("bench", "score", tmp_path / "run.trec", "--task", "irds:huge", *options) == 0
    told = f"huge is not in {tmp_path / 'collections'}; it was read from ir_datasets huge"
    assert told in capsys.readouterr().err


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["vaswani", "renamed"])
def test_a_real_collection_as_a_custom_task_goes_through_a_whole_board(tmp_path: Path, real_data: Path, name) -> None:
    folder = real_data / "vaswani"
    if name == "renamed":
        folder = tmp_path / "renamed"
        shutil.copytree(real_data / "scifact", folder)
    board = tmp_path / "board"
    assert command("bench", "candidates", folder, "--depth", 10, "--board", board) == 0
    run = tmp_path / "mine.trec.gz"
    shutil.copy(board / "candidates" / name / "bm25-10.trec.gz", run)
    submission = write_submission(tmp_path / "mine", name="us/mine")
    assert command("bench", "submit", submission, "--run", f"{name}={run}", "--board", board) == 0
    assert command("bench", "run", "--board", board) == 0
    assert command("bench", "verify", "--board", board) == 0
    assert command("board", "build", "--board", board) == 0
    value = read_json(board / "results" / "us--mine" / f"{name}.bm25-10.json")["measurement"]["metrics"]["nDCG@10"]
    if name == "renamed":  # what the table's SciFact has
        _, same = exabench.make_candidates("scifact", "bm25", 10, data=real_data)
        assert value == exabench.score(same, task="scifact", data=real_data)["nDCG@10"]
