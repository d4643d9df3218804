"""A task of one's own: a folder, a task.toml, an id of ir_datasets, a Hub repository or a board's description."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys import Given, write_beir

from exabench.bench.candidates import make_candidates
from exabench.bench.verification import check
from exabench.cli import main
from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import read_json, read_toml
from exabench.core.nouns import Passage, Query
from exabench.tasks.catalogue import expand, own_tasks, task

GIVEN = Given(
    [Query("q1", "how bats hear"), Query("q2", "why the sky is blue"), Query("q3", "nobody judged this")],
    [
        Passage("d1", "Bats hear echoes of their own calls.", "Bats"),
        Passage("d2", "Blue light is scattered most, so the sky is blue."),
        Passage("d3", "Whales hear far under water."),
    ],
    {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1}},
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of collections that holds `animals`; the working folder holds nothing."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_beir(tmp_path / "data" / "animals", GIVEN)
    return tmp_path / "data"


def describe(folder: Path, text: str) -> Path:
    file = folder / "task.toml"
    file.write_text(text)
    return file


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_folder_is_named_by_path_or_within_data_and_is_one_task(data: Path) -> None:
    by_path = task(str(data / "animals"))
    assert by_path == task("animals", data=data) == task(by_path)
    assert (by_path.name, by_path.split, by_path.folder) == ("animals", "test", data / "animals")


def test_a_task_file_says_what_the_folder_cannot(data: Path) -> None:
    file = describe(
        data / "animals",
        'name = "fauna"\ntitle = "Fauna"\nlicense = "CC0-1.0"\nlanguage = "de"\nthreshold = 2\nself_match = "drop"\n'
        'text_fields = ["text"]\nheadline = "RR@10"\nbenchmark = false\n',
    )
    found = task(str(file))
    assert found == task("fauna", data=data) == task(str(data / "animals"))
    assert (found.title, found.licence, found.language, found.headline) == ("Fauna", "CC0-1.0", "de", "RR@10")
    assert (found.convention.relevance_threshold, found.convention.self_match) == (2, "drop")
    assert found.convention.text_fields == ("text",) and not found.benchmark


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tilte = 'x'", r"task\.toml: has an unknown key 'tilte'; did you mean title"),
        ("threshold = 0", r"task\.toml: threshold: expected `int` >= 1"),
        ("threshold = '2'", r"task\.toml: threshold: expected `int"),
        ("text_fields = ['body']", r"task\.toml: .*choose from: title, text|task\.toml: .*'body'"),
        ("self_match = 'maybe'", r"task\.toml: .*choose from: keep, drop"),
        ("headline = 'nGCD@10'", r"task\.toml: headline: "),
        ("split = '../dev'", r"task\.toml: split '\.\./dev' is not a name of a split"),
        ("licence = 'MIT'\nlicense = 'MIT'", r"task\.toml: has both licence and license; keep one"),
        ("name = 'My Task'", r"task\.toml: name 'My Task' may contain only a-z, 0-9, - and \+"),
        ("split = 'dev'", r"task\.toml: split dev is not in .*animals; choose from: test"),
        ("qrels_digest = ''", r"task\.toml: qrels_digest: expected `str` matching"),
        ("query_field = 'description'", r"task\.toml: query_field is for ir_datasets sources"),
        ("source = 'irds:'", r"task\.toml: source: 'irds:' must read irds:ID"),
        ("source = 'hub:nobody'", r"'hub:nobody' must read hub:OWNER/NAME"),
        ("name = 'quora'", r"quora is a built-in task with another description; give this one a name"),
    ],
)
def test_a_task_file_that_is_wrong_is_one_line(data: Path, text: str, message: str) -> None:
    describe(data / "animals", text)
    with pytest.raises(BadInput, match=message) as caught:
        task(str(data / "animals"))
    assert "\n" not in str(caught.value)


def test_names_in_other_places_are_plain(data: Path) -> None:
    nfcorpus = task("irds:beir/nfcorpus/test")
    assert (nfcorpus.name, nfcorpus.ir_datasets) == ("beir-nfcorpus-test", "beir/nfcorpus/test")
    assert task("irds:beir/arguana").convention == task("arguana").convention
    commit = "0123456789" * 4
    on_hub = task(f"hub:zeta-alpha-ai/NanoSciFact@{commit}")
    assert (on_hub.name, on_hub.hub) == (
        "zeta-alpha-ai-nanoscifact",
        {"repo": "zeta-alpha-ai/NanoSciFact", "revision": commit},
    )
    for wrong in ("irds:", "irds:a b", "hub:noslash", "hub:owner/name@main"):
        with pytest.raises(BadInput, match="must read"):
            task(wrong)


@pytest.mark.parametrize(
    "name",
    ["SciFact", "beir/scifact", "BeIR/scifact", "beir/scifact/test", "mteb/scifact", "beir-v1.0.0-scifact", "SCIFACT"],
)
def test_names_of_other_tools_are_names_of_the_table(name: str) -> None:
    assert task(name) is task("scifact")


def test_an_unknown_name_is_answered_with_the_nearest_also_of_ones_own(data: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean animals"):
        task("animal", data=data)
    with pytest.raises(BadInput, match=r"is neither a folder"):
        task(str(data / "plants"))


def test_a_path_with_a_name_of_the_table_is_that_task_and_is_held_against_its_judgements(data: Path) -> None:
    write_beir(data / "scifact", GIVEN)
    assert task(str(data / "scifact")).convention == task("scifact").convention
    with pytest.raises(BadInput, match="has 2 queries where the table says 300"):
        make_candidates(str(data / "scifact"), "bm25", 2)
    describe(data / "scifact", 'name = "my-scifact"\n')
    candidates, _ = make_candidates(str(data / "scifact"), "bm25", 2)
    assert (candidates.task, candidates.queries) == ("my-scifact", 2)


def test_two_folders_that_would_be_one_task_are_told_apart_by_a_name(data: Path) -> None:
    for name in ("My_Set", "my set"):
        write_beir(data / name, GIVEN)
    with pytest.raises(BadInput, match="has the same name, my-set, as .*My_Set; rename one of them"):
        own_tasks(data)
    describe(data / "My_Set", 'name = "first"\n')
    assert list(own_tasks(data)) == ["first", "animals", "my-set"]


def test_two_collections_of_one_name_are_not_taken_for_one_task_and_a_link_has_its_own_name(data: Path) -> None:
    write_beir(data / "more" / "animals", GIVEN)
    (data / "linked").symlink_to(data / "animals")
    with pytest.raises(BadInput, match="data/animals and .*more/animals are both named animals; rename one of them"):
        expand([str(data / "animals"), str(data / "more" / "animals")])
    by_other_path = data / "more" / ".." / "animals"
    found = expand([str(data / "animals"), "animals", str(by_other_path), str(data / "linked")], data=data)
    assert [one.name for one in found] == ["animals", "linked"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "the task name is empty; exabench bench tasks lists them"),
        ("  ", "the task name is empty; exabench bench tasks lists them"),
        ("{data}/animals/corpus.jsonl", "corpus.jsonl: is a file of the collection .*animals; name the folder"),
        ("{data}/animals/qrels/test.tsv", "test.tsv: is a file of the collection .*animals; name the folder"),
        ("{data}/animals/qrels", "qrels: is part of the collection .*animals; name that folder"),
        ("{data}/notes.txt", r"notes.txt: is neither a task\.toml nor a folder in BEIR layout"),
        ("hf:someone/some", r"'hf:someone/some' is not a task; write irds:ID or hub:OWNER/NAME\[@COMMIT\]"),
        ("https://huggingface.co/datasets/a/b", "is not a task; for a Hub dataset write hub:a/b"),
        ("IRDS:", "'irds:' must read irds:ID"),
        ("animls", "unknown task 'animls'; did you mean animals"),
    ],
)
def test_what_names_no_task_is_told_with_what_was_meant(data: Path, name: str, message: str) -> None:
    (data / "notes.txt").write_text("what we found")
    write_beir(data / "broken", GIVEN)
    describe(data / "broken", "not TOML")  # another folder's fault is not this name's
    with pytest.raises((BadInput, UnknownName), match=message):
        task(name.format(data=data), data=data)


def test_suites_names_and_custom_tasks_are_expanded_together(data: Path) -> None:
    found = expand(["trec-dl", "animals", "mini"], data=data)
    assert [one.name for one in found] == ["trec-dl-2019", "trec-dl-2020", "animals", "mini"]
    assert expand("mini") == [task("mini")] == expand(task("mini"))


def test_a_frozen_custom_task_is_described_on_its_board_and_found_there_without_data(data: Path, capsys) -> None:
    describe(data / "animals", 'title = "Animals"\nlicence = "CC0-1.0"\nrelevance_threshold = 2\n')
    board = data.parent / "work" / "board"
    assert run("bench", "candidates", data / "animals", "--depth", 3, "--board", board) == 0
    assert read_toml(board / "tasks" / "animals.toml") == {
        "name": "animals",
        "title": "Animals",
        "licence": "CC0-1.0",
        "relevance_threshold": 2,
        "source": "../../../data/animals",
    }
    assert task("animals", board=board) == task("animals", data=data)
    locked = read_json(board / "lock.json")["judgements"]["animals"]
    assert (locked["queries"], locked["judgements"]) == (2, 3)
    assert run("bench", "run", "--board", board) == 0
    assert run("bench", "verify", "--board", board) == 0
    assert check(board) == []
    assert run("board", "build", "--board", board) == 0
    capsys.readouterr()

    describe(data / "animals", 'title = "Animals"\nlicence = "CC0-1.0"\n')
    assert run("bench", "candidates", data / "animals", "--board", board) == 2
    assert "describes animals differently (relevance_threshold)" in capsys.readouterr().err


def test_a_threshold_beside_a_task_is_taken_and_one_below_1_is_refused(tmp_path: Path, data: Path, capsys) -> None:
    file = tmp_path / "run.trec"
    file.write_text("q1 Q0 d3 1 9 a\nq1 Q0 d1 2 8 a\nq2 Q0 d2 1 9 a\n")
    values = []
    for threshold in (1, 2):
        options = ("--task", data / "animals", "--threshold", threshold, "--metric", "P@10", "--json")
        assert run("bench", "score", file, *options) == 0
        values.append(json.loads(capsys.readouterr().out)["metrics"]["P@10"])
    assert values == [pytest.approx(0.15), pytest.approx(0.05)]
    assert run("bench", "score", file, "--task", "mini", "--threshold", 0) == 2
    assert "threshold 0 would count passages judged not relevant" in capsys.readouterr().err


def test_a_new_board_describes_the_custom_tasks_that_it_is_made_with(data: Path) -> None:
    tasks = ("--task", "animals", "--task", "trec-dl", "--data", data)
    assert run("board", "init", "--board", "board", *tasks) == 0
    assert read_toml("board/board.toml")["tasks"] == ["animals", "trec-dl"]
    assert [one.name for one in expand("animals", board="board")] == ["animals"]
    assert run("board", "build", "--board", "board") == 0
