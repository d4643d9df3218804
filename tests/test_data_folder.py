"""--data is never passed over in silence: what lies there is found, or one line says what is missing, offline."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
from toys import Given, write_beir

from exabench.cli import main
from exabench.core.files import PACKAGE, read_toml
from exabench.core.nouns import Passage, Query, Task
from exabench.measure.qrels import qrels_text, read_qrels
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection
from exabench.tasks.collections.beir_folder import BeirFolder

GIVEN = Given(
    [Query("1", "bats"), Query("2", "whales")],
    [Passage("d1", "Bats hear.", "Bats"), Passage("d2", "Whales sing.")],
    {"1": {"d1": 1}, "2": {"d2": 1}},
)
OWN = 'name = "animals"\n'


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of collections; whoever asks the network fails the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "run.trec").write_text("1 Q0 d1 1 9 a\n2 Q0 d1 1 9 a\n")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def score(data: Path, name: object, *more: object) -> int:
    arguments = ("bench", "score", data.parent / "run.trec", "--task", name, "--data", data, *more)
    return main([str(argument) for argument in arguments])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_folder_that_is_not_there_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.rmdir()
    assert score(data, "scifact") == 2
    assert str(data) in told(capsys)


def test_a_collection_in_place_of_the_folder_of_all_of_them_is_told(data: Path, capsys) -> None:
    write_beir(data / "scifact", GIVEN)
    assert score(data / "scifact", "scifact", "--metric", "P@1") == 2  # here run.trec is not beside it
    shutil.copy(data.parent / "run.trec", data / "run.trec")
    capsys.readouterr()
    assert score(data / "scifact", "scifact") == 2
    assert f"is itself a collection and has no scifact/; did you mean --data {data}" in told(capsys)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("corpus.jsonl", "scifact: has queries.jsonl and qrels but no corpus.jsonl"),
        ("queries.jsonl", "scifact: has corpus.jsonl and qrels but no queries.jsonl"),
        ("qrels/test.tsv", "scifact: has corpus.jsonl and queries.jsonl but no qrels"),
    ],
)
def test_an_incomplete_folder_is_told_which_file_it_lacks(data: Path, capsys, lacking: str, message: str) -> None:
    (write_beir(data / "scifact", GIVEN) / lacking).unlink()
    assert main(["bench", "candidates", "scifact", "--data", str(data), "--board", str(data / "board")]) == 2
    assert message in told(capsys)
    assert not (data / "board").exists()


def test_scoring_needs_judgements_alone(data: Path, capsys) -> None:
    folder = write_beir(data / "animals", GIVEN)
    (folder / "corpus.jsonl").unlink()
    (folder / "queries.jsonl").unlink()
    assert score(data, "animals", "--metric", "P@1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == {"P@1": 0.5}
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    (folder / "task.toml").write_text('split = "test"\n')
    assert score(data, "animals") == 2
    assert f"split test is not in {folder}; choose from: dev" in told(capsys)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cqadupstack-android", "cqadupstack/android"),
        ("scifact", "SciFact"),
        ("scifact", "beir/scifact"),
        ("msmarco-dev", "msmarco"),
        ("trec-dl-2019", "msmarco"),
        ("trec-covid", "TREC-COVID"),
    ],
)
def test_folders_under_the_names_of_beir_are_found(data: Path, name: str, place: str) -> None:
    write_beir(data / place, GIVEN, task(name).split)
    found = open_collection(task(name), data)
    assert [passage.id for passage in found.passages()] == ["d1", "d2"]
    assert found.qrels(task(name).split) == GIVEN.qrels("test")


def test_packed_files_and_judgements_in_other_layouts_are_read(data: Path) -> None:
    folder = write_beir(data / "animals", GIVEN)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    found = open_collection(task("animals", data=data))
    assert [query.id for query in found.queries()] == ["1", "2"]
    assert found.revision.startswith("sha256:")
    for name in ("test.txt", "test.qrels"):
        (folder / "qrels" / "test.tsv.gz").unlink(missing_ok=True)
        for old in (folder / "qrels").iterdir():
            old.unlink()
        (folder / "qrels" / name).write_text(qrels_text(GIVEN.qrels("test")))
        assert open_collection(task("animals", data=data)).qrels("test") == GIVEN.qrels("test")


def test_a_hub_copy_in_parquet_is_told(data: Path, capsys) -> None:
    (data / "scifact" / "corpus").mkdir(parents=True)
    (data / "scifact" / "corpus" / "corpus-00000-of-00001.parquet").write_bytes(b"PAR1")
    assert score(data, "scifact") == 2
    assert "is a Parquet copy from the Hub; convert it to corpus.jsonl, queries.jsonl and qrels" in told(capsys)


def test_a_task_of_a_board_whose_folder_is_gone_says_so(data: Path, capsys) -> None:
    write_beir(data / "animals", GIVEN)
    board = data.parent / "board"
    assert main(["bench", "candidates", str(data / "animals"), "--depth", "2", "--board", str(board)]) == 0
    (data / "animals").rename(data / "elsewhere")
    capsys.readouterr()
    assert main(["bench", "verify", "--board", str(board)]) == 2
    assert main(["bench", "run", "--board", str(board)]) == 2
    assert "task animals does not exist; give the folder that contains it with --data DIR" in capsys.readouterr().err


def test_texts_lose_a_carriage_return_and_ids_with_blanks_are_named_with_their_line(data: Path, capsys) -> None:
    folder = write_beir(data / "animals", GIVEN)
    lines = [{"_id": "d1", "title": "Bats\r", "text": "Bats hear.\r"}, {"_id": "d 2", "text": "x"}]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert next(open_collection(task("animals", data=data)).passages()) == Passage("d1", "Bats hear.", "Bats")
    assert main(["bench", "candidates", "animals", "--data", str(data), "--board", str(data / "board")]) == 2
    assert "corpus.jsonl:2: an id must not be empty or contain whitespace" in told(capsys)


def test_a_nan_that_nobody_reads_is_no_reason_to_refuse_a_collection(data: Path) -> None:
    folder = write_beir(data / "animals", GIVEN)
    line = '{"_id": "1", "text": "bats", "metadata": {"Gemini": NaN}}\n'
    (folder / "queries.jsonl").write_text(line)
    assert list(open_collection(task("animals", data=data)).queries()) == [Query("1", "bats")]


def test_other_judgements_of_a_public_task_are_refused_at_the_first_use(data: Path, capsys) -> None:
    name = "trec-covid"
    entry = task(name)
    rows = {f"q{number % 50}": {} for number in range(50)}
    for number in range(entry.judgements):
        rows[f"q{number % 50}"][f"d{number}"] = 1
    (data / name / "qrels").mkdir(parents=True)
    (data / name / "qrels" / "test.qrels").write_text(qrels_text(rows))
    assert score(data, name) == 2
    assert "not sha256:6e9aec5d32cb...;" in told(capsys)


def test_mini_comes_from_exabench_whatever_lies_in_data(data: Path) -> None:
    write_beir(data / "mini", GIVEN)
    assert BeirFolder(task("mini"), data).folder == PACKAGE / "mini"
    assert read_qrels(PACKAGE / "mini" / "qrels" / "test.tsv") == open_collection(task("mini"), data).qrels("test")
    assert "mini" in read_toml(PACKAGE / "tasks" / "mini.toml")
    assert isinstance(task("mini"), Task)
