"""First stages that others made: lists of ir_datasets, configs of the Hub, prebuilt Lucene indexes, runs to fuse."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_client import point_at
from hub_double import HubDouble

from exabench.bench.candidates import make_candidates
from exabench.bench.ledger import Ledger
from exabench.cli import main
from exabench.core.errors import BadInput, OutsideFailed, UnknownName
from exabench.core.nouns import Query, Task
from exabench.measure.runs import run_in_order, run_text, write_run
from exabench.parts.assembly import retriever
from exabench.parts.retrievers.fusion import Fusion
from exabench.parts.retrievers.hub_list import HubList
from exabench.parts.retrievers.run_file import RunFile
from exabench.parts.retrievers.scoreddocs import ScoredDocs

QUERIES = [Query(id, "") for id in ("q1", "q2", "nobody")]

# -- published on the Hub ----------------------------------------------------------------------------------------------

CARD = """---
configs:
- {config_name: bm25, data_files: [{split: NanoToy, path: bm25.jsonl}, {split: NanoOther, path: other.jsonl}]}
- {config_name: relevance, data_files: [{split: train, path: relevance.jsonl}]}
- {config_name: queries, data_files: [{split: NanoToy, path: queries.jsonl}]}
---
"""
LISTS = [{"query-id": "q1", "corpus-ids": ["b", "a", "c"]}, {"query-id": "q2", "corpus-ids": ["c"]}]
OTHER = [{"query-id": "q1", "corpus-ids": ["a", "a"]}]
RELEVANCE = [{"query-id": "q1", "positive-corpus-ids": ["a"], "bm25-ranked-ids": ["c", "a"]}]


def published(**changes: list[dict[str, object]]) -> dict[str, bytes]:
    """The files of a dataset with candidate lists, laid out as NanoBEIR's and HAKARI-Bench's."""
    tables = {
        "bm25": LISTS,
        "other": OTHER,
        "relevance": RELEVANCE,
        "queries": [{"_id": "q1", "text": "one"}],
        **changes,
    }
    files = {"README.md": CARD.encode()}
    for name, rows in tables.items():
        files[f"{name}.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    return files


@pytest.fixture
def hub(tmp_path, monkeypatch):
    config = pytest.importorskip("datasets").config
    with HubDouble() as double:
        point_at(double.url, tmp_path / "home", monkeypatch)
        monkeypatch.setattr(config, "HF_ENDPOINT", double.url)
        monkeypatch.setattr(config, "HF_DATASETS_CACHE", str(tmp_path / "home" / "datasets"))
        yield double


def test_lists_of_a_hub_config_are_the_rankings_at_a_commit_that_is_recorded(hub):
    commit = hub.commit("owner/lists", published())
    stage = HubList(repo="owner/lists", split="NanoToy")
    run = stage.search(QUERIES, 2)
    assert {q: run.ranking(q) for q in run} == {"q1": ["b", "a"], "q2": ["c"]}
    assert stage.parameters["revision"] == commit
    hub.commit("owner/lists", published(bm25=LISTS[:1]))
    again = HubList(**stage.parameters)
    assert run_text(again.search(QUERIES, 2), "t") == run_text(run, "t"), "a new head changes nothing"


def test_another_column_may_hold_the_lists(hub):
    hub.commit("owner/lists", published())
    stage = HubList(repo="owner/lists", config="relevance", column="bm25-ranked-ids")
    assert stage.search(QUERIES, 10).ranking("q1") == ["c", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "NanoToi"}, "unknown split of owner/lists 'NanoToi'; did you mean NanoToy"),
        ({"config": "bm52"}, "unknown config of owner/lists 'bm52'; did you mean bm25"),
        (
            {"config": "queries", "split": "NanoToy"},
            "has _id, text where a candidate list has query-id and corpus-ids",
        ),
        ({"config": "relevance"}, "lists are in positive-corpus-ids, bm25-ranked-ids .--set column=NAME"),
        ({"split": "NanoOther"}, "lists a passage twice for a query .id 'q1'"),
    ],
)
def test_a_config_of_another_shape_is_told_with_what_there_is(hub, options, message):
    hub.commit("owner/lists", published())
    with pytest.raises(BadInput, match=message):
        HubList(repo="owner/lists", **options).search(QUERIES, 10)


def test_the_split_is_that_of_the_tasks_name_or_the_only_one(hub):
    hub.commit("owner/lists", published())
    nano = Task("nano-toy", "Nano", aliases=("NanoToy",))
    assert retriever("hub_list", (), task=nano, repo="owner/lists").parameters["split"] == "NanoToy"
    own = Task("elsewhere", "Elsewhere", hub={"repo": "owner/lists"})
    relevance = retriever("hub_list", (), task=own, config="relevance", column="bm25-ranked-ids")
    assert (relevance.parameters["repo"], relevance.parameters["split"]) == ("owner/lists", "train")
    with pytest.raises(BadInput, match="has several splits: choose one with --set split=NanoToy|NanoOther"):
        retriever("hub_list", (), task=own)


def test_published_lists_are_frozen_and_made_again_from_their_commit(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, run = make_candidates("mini", "bm25", 10)
    lists = [{"query-id": query, "corpus-ids": run.ranking(query)} for query in run]
    commit = hub.commit("owner/lists", published(bm25=lists))
    freeze = ["bench", "candidates", "mini", "--board", "board"]
    choices = ["--retriever", "hub_list", "--set", "repo=owner/lists", "--set", "split=NanoToy"]
    assert main([*freeze, *choices, "--name", "bm25-of-others-10"]) == 0
    hub.commit("owner/lists", published())
    capsys.readouterr()
    assert main([*freeze, "--again", "bm25-of-others-10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same"]
    [candidates] = Ledger(tmp_path / "board").candidates("mini")
    assert candidates.parameters["revision"] == commit
    assert Ledger(tmp_path / "board").candidates_run(candidates).ranking("q01") == run.ranking("q01")


def test_a_dataset_that_is_none_is_no_list(hub):
    with pytest.raises(BadInput, match="hub_list needs the name of a dataset, not ''"):
        HubList()
    with pytest.raises(BadInput, match="Hub dataset owner/nothing: does not exist"):
        HubList(repo="owner/nothing")


# -- of ir_datasets ----------------------------------------------------------------------------------------------------

SCOREDDOCS = """
import sys
import ir_datasets
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import TrecScoredDocs
from ir_datasets.util import LocalDownload
from exabench.core.errors import ExabenchError
from exabench.core.nouns import Query, Task
from exabench.parts.assembly import retriever
ir_datasets.registry.register("toy", Dataset(TrecScoredDocs(LocalDownload(sys.argv[1]))))
try:
    stage = retriever("scoreddocs", (), task=Task("toy", "Toy", ir_datasets="toy"))
    run = stage.search([Query("q1", ""), Query("q2", "")], int(sys.argv[2]))
    print({query: run.ranking(query) for query in run}, stage.parameters["ranked"], stage.parameters["id"])
except ExabenchError as error:
    print(error)
"""


def scoreddocs(file: Path, depth: int) -> str:
    """What the scoreddocs in a file give: a process of its own registers the collection."""
    done = subprocess.run(
        [sys.executable, "-c", SCOREDDOCS, str(file), str(depth)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_scoreddocs_are_a_ranking_where_they_have_scores(tmp_path):
    file = tmp_path / "scored.run"
    file.write_text("q1 Q0 a 1 2.5 t\nq1 Q0 b 2 3.5 t\nother Q0 a 1 1 t\n")
    assert scoreddocs(file, 1) == "{'q1': ['b']} True toy"


def test_scoreddocs_without_scores_are_taken_whole_or_not_at_all(tmp_path):
    file = tmp_path / "unscored.run"  # MS MARCO's top 1000 are such pairs
    file.write_text("q1\ta\nq1\tb\nq2\tc\n")
    assert "have no scores, so they cannot be cut at 1; use all of them, with --depth 2" in scoreddocs(file, 1)
    assert scoreddocs(file, 2) == "{'q1': ['b', 'a'], 'q2': ['c']} False toy"


def test_a_collection_without_scoreddocs_is_told_with_its_relatives():
    with pytest.raises(
        BadInput, match="ir_datasets msmarco-passage/dev has no scoreddocs; .* msmarco-passage/dev/small"
    ):
        ScoredDocs(id="msmarco-passage/dev")
    with pytest.raises(BadInput, match="ir_datasets vaswani has no scoreddocs; nor has any other of vaswani"):
        ScoredDocs(id="vaswani")
    with pytest.raises(UnknownName, match="unknown ir_datasets id 'msmarco-passage/dev/smal'; did you mean"):
        ScoredDocs(id="msmarco-passage/dev/smal")
    with pytest.raises(BadInput, match="name a collection, as in --set id="):
        retriever("scoreddocs", (), task=Task("toy", "Toy"))


# -- fused runs --------------------------------------------------------------------------------------------------------

A, B = {"q1": ["a", "b", "c"]}, {"q1": ["c", "d"]}


@pytest.mark.parametrize("names", [("bm25/run.trec", "dense/run.trec"), ("x.trec", "x.txt"), ("y.trec", "y.trec.gz")])
def test_fusion_records_every_run_by_its_path_and_digest(tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    for name, rankings in zip(names, (A, B), strict=True):
        write_run(run_in_order("run", rankings), name)
    stage = Fusion(runs=names)
    alone = [RunFile(file=name).parameters for name in names]
    assert stage.parameters["runs"] == {one["file"]: one["digest"] for one in alone}
    assert list(stage.parameters["runs"]) == list(names)
    absolute = Fusion(runs=[str(tmp_path / name) for name in names])
    assert absolute.parameters == stage.parameters, "paths are recorded from the working folder on"


def test_the_same_run_is_not_fused_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(run_in_order("a", A), "a.trec")
    shutil.copy("a.trec", "copy.trec")
    for runs in (["a.trec", "a.trec"], ["a.trec", "./a.trec"], ["a.trec", "copy.trec"]):
        with pytest.raises(BadInput, match="is the same run as a.trec; fuse each run once"):
            Fusion(runs=runs)


# -- prebuilt indexes --------------------------------------------------------------------------------------------------


def test_an_index_that_pyserini_has_not_is_told_with_the_nearest_before_any_download():
    for name, near in (
        ("msmarco-v1-passge", "msmarco-v1-passage"),
        ("flatt", "flat"),
        ("./nowhere", "choose from|did you"),
    ):
        with pytest.raises(UnknownName, match=f"unknown index '{name}'; .*({near})"):
            retriever("pyserini", (), index=name)


def test_a_prebuilt_index_is_named_with_its_md5_and_asks_nothing_before_the_first_search(monkeypatch, tmp_path):
    stage = retriever("pyserini", (), index="msmarco-passage", cache=str(tmp_path))
    assert stage.parameters["md5"] == "678876e8c99a89933d553609a0fd8793"
    assert stage.parameters["documents"] == 8_841_823
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(OutsideFailed, match="prebuilt index msmarco-passage cannot be downloaded .*check the network"):
        stage.search(QUERIES, 10)
    assert [file for file in tmp_path.iterdir() if not file.name.endswith(".lock")] == []
