"""A board locks the judgements of its tasks; corrected ones are taken over by one command, with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toys import Given, write_beir

from exabench.bench.ledger import Ledger, read_result
from exabench.cli import main
from exabench.core.files import read_json, read_toml
from exabench.core.nouns import Passage, Query

GIVEN = Given(
    [Query("q1", "how bats hear"), Query("q2", "why the sky is blue"), Query("q3", "whales")],
    [
        Passage("d1", "Bats hear echoes of their own calls.", "Bats"),
        Passage("d2", "Blue light is scattered most, so the sky is blue."),
        Passage("d3", "Whales hear far under water."),
    ],
    {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1}},
)
CORRECTED = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td3\t1\nq3\td3\t1\n"


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A board with results over one list of the custom task `animals`, which lies in the folder data/."""
    monkeypatch.chdir(tmp_path)
    folder = write_beir(tmp_path / "data" / "animals", GIVEN)
    (folder / "task.toml").write_text('title = "Animals"\nlicence = "CC0-1.0"\n')
    assert exabench("bench", "candidates", "data/animals", "--depth", 3, "--board", "board") == 0
    assert exabench("bench", "run", "--board", "board") == 0
    capsys.readouterr()
    return tmp_path / "board"


def exabench(*words: object) -> int:
    return main([str(word) for word in words])


def files(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_commands_that_print_write_nothing(board: Path, tmp_path: Path, capsys) -> None:
    (board / "lock.json").unlink()
    before = files(tmp_path)
    run = board / "runs" / "exabench--oracle" / "animals.bm25-3.trec.gz"
    assert exabench("bench", "score", run, "--task", "animals", "--data", "data") == 0
    assert exabench("bench", "compare", run, run, "--task", "animals", "--data", "data", "--board", board) == 0
    assert exabench("bench", "verify", "--board", board) == 0
    assert exabench("bench", "judgements", "animals", "--board", board) == 0
    assert exabench("bench", "tasks", "animals", "--board", board) == 0
    assert files(tmp_path) == before


def test_scoring_beside_a_board_writes_no_lock(board: Path, tmp_path: Path) -> None:
    board.rename(tmp_path / "leaderboard")
    (tmp_path / "leaderboard" / "lock.json").unlink()
    before = files(tmp_path)
    run = tmp_path / "leaderboard" / "runs" / "exabench--oracle" / "animals.bm25-3.trec.gz"
    assert exabench("bench", "score", run, "--task", "animals") == 0  # the board says where it lies
    assert exabench("bench", "compare", run, run, "--task", "animals") == 0
    assert files(tmp_path) == before


def test_runs_are_scored_by_the_tasks_of_any_board(board: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = board.resolve() / "runs" / "exabench--oracle" / "animals.bm25-3.trec.gz"
    here = ("--task", "animals", "--board", board.resolve())
    assert exabench("bench", "score", run, *here, "--json") == 0
    assert json.loads(capsys.readouterr().out)["task"] == "animals"
    assert exabench("rerank", "reversed", "--run", run, *here, "-o", "reversed.trec") == 0


def test_other_judgements_are_refused_with_the_name_of_the_lock_file_and_the_way_out(board: Path, capsys) -> None:
    (board.parent / "data" / "animals" / "qrels" / "test.tsv").write_text(CORRECTED)
    run = board / "runs" / "exabench--oracle" / "animals.bm25-3.trec.gz"
    for command in (("run", "--board", board), ("compare", run, run, "--task", "animals", "--board", board)):
        assert exabench("bench", *command) == 2
        message = capsys.readouterr().err
        assert f"has other judgements than {board / 'lock.json'} says: their digest is sha256:" in message
        advice = (
            f"`exabench bench judgements animals --board {board}` shows what differs and accepts corrected judgements"
        )
        assert advice in message


def test_what_differs_is_shown_and_taken_over_with_a_reason_in_the_change_log(board: Path, capsys) -> None:
    (board.parent / "data" / "animals" / "qrels" / "test.tsv").write_text(CORRECTED)
    before = files(board)
    assert exabench("bench", "judgements", "animals", "--board", board, "--json") == 0
    changes = json.loads(capsys.readouterr().out)
    assert (changes["locked"]["judgements"], changes["found"]["judgements"]) == (3, 3)
    assert (changes["added"], changes["removed"]) == (["q3"], ["q2"])
    assert {"query": "q1", "passage": "d1", "before": 2, "after": 1} in changes["grades"]
    [one] = changes["lists"]
    assert one["candidates"] == "bm25-3" and one["after"] < one["before"]
    assert files(board) == before

    accept = ("bench", "judgements", "animals", "--board", board, "--accept")
    assert exabench(*accept) == 2
    assert "give the reason with --reason" in capsys.readouterr().err
    assert files(board) == before
    assert exabench(*accept, "--reason", "q2 had been judged twice") == 0
    assert "next: exabench bench run --board" in capsys.readouterr().err
    assert exabench("bench", "verify", "exabench/oracle", "--board", board) == 1
    advice = f"`exabench bench run exabench--oracle --board {board}` recomputes"
    assert advice in capsys.readouterr().out
    assert exabench("bench", "run", "--board", board) == 0
    assert exabench("bench", "verify", "--board", board) == 0
    assert exabench("board", "check", "--board", board) == 0
    reasons = {change.reason for change in Ledger(board).changes() if change.before is not None}
    assert len(reasons) == 1 and "judgements sha256:" in min(reasons) and "(q2 had been judged twice)" in min(reasons)
    assert exabench("bench", "judgements", "animals", "--board", board) == 0
    assert "the judgements match the locked ones" in capsys.readouterr().err


def test_judgements_taken_over_twice_between_two_runs_are_one_change_with_both_reasons(board: Path) -> None:
    accept = ("bench", "judgements", "animals", "--board", board, "--accept", "--reason")
    before = read_result(board / "results/exabench--oracle/animals.bm25-3.json").qrels_digest
    file = board.parent / "data" / "animals" / "qrels" / "test.tsv"
    for text, reason in ((CORRECTED, "q2 had been judged twice"), (CORRECTED.replace("q1\td1\t1", "q1\td1\t2"), "d1")):
        file.write_text(text)
        assert exabench(*accept, reason) == 0
    assert exabench("bench", "run", "--board", board) == 0
    after = read_result(board / "results/exabench--oracle/animals.bm25-3.json").qrels_digest
    told = [one.reason for one in Ledger(board).changes() if "judgements" in one.reason]
    assert told and set(told) == {f"judgements {before[:19]} became {after[:19]} (q2 had been judged twice; d1)"}


def test_judgements_of_the_table_are_not_for_a_board_to_change(board: Path, tmp_path: Path, capsys) -> None:
    write_beir(tmp_path / "data" / "scifact", GIVEN)
    accept = ("--accept", "--reason", "why not", "--data", "data", "--board", board)
    assert exabench("bench", "judgements", "scifact", *accept) == 2
    assert "has 2 queries where the table says 300" in capsys.readouterr().err


def test_a_frozen_task_is_listed_and_what_else_stands_in_the_page_stays(board: Path, capsys) -> None:
    page = board / "board.toml"
    text = '# ours\ntitle = "Ours"\ntasks = [\n    "animals",\n]\nurl = "https://x.org/"  # here\n'
    page.write_text(text + '[views]\nA = ["animals"]\n')
    assert exabench("bench", "candidates", "mini", "--depth", 5, "--board", board) == 0
    assert "mini was added to the tasks of" in capsys.readouterr().err
    assert read_toml(page)["tasks"] == ["animals", "mini"] and read_toml(page)["views"] == {"A": ["animals"]}
    assert page.read_text().startswith("# ours\n") and 'url = "https://x.org/"  # here' in page.read_text()
    page.write_text('title = "Ours"\ntasks = ["animals"] # mini comes later\nurl = ""\n')
    assert exabench("bench", "candidates", "mini", "--depth", 5, "--board", board) == 0
    assert page.read_text() == 'title = "Ours"\ntasks = ["animals", "mini"] # mini comes later\nurl = ""\n'
    page.write_text('title = "Ours"\ntasks = [\n  "animals",  # the first\n]\n')
    capsys.readouterr()
    assert exabench("bench", "candidates", "mini", "--depth", 5, "--board", board) == 0
    assert "does not list mini: add it to tasks" in capsys.readouterr().err


def test_pages_show_counts_and_licence_of_a_custom_task(board: Path) -> None:
    assert read_json(board / "lock.json")["judgements"]["animals"]["passages"] == 3
    assert exabench("board", "build", "--board", board) == 0
    page = (board / "site" / "tasks" / "animals.html").read_text()
    for shown in ("<b>2</b> queries", "<b>3</b> judgements", "<b>3</b> passages"):
        assert shown in page
    overview = (board / "site" / "index.html").read_text().partition('id="tasks"')[2]
    assert '<td class="n">2</td><td class="n">3</td><td class="n">3</td>' in overview
    assert "<dt>Licence</dt><dd>CC0-1.0</dd>" in page and "<dt>Public source</dt><dd>none is recorded</dd>" in page


def test_one_task_is_described_with_counts_digest_source_and_licence(board: Path, capsys) -> None:
    digest = read_json(board / "lock.json")["judgements"]["animals"]["digest"]
    assert exabench("bench", "tasks", "data/animals", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["queries"], facts["judgements"], facts["passages"], facts["licence"]) == (2, 3, 3, "CC0-1.0")
    assert facts["judgements digest"] == digest and facts["read from"].endswith("animals")
    assert exabench("bench", "tasks", "SciFact", "--board", "nowhere", "--json") == 0
    assert json.loads(capsys.readouterr().out)["queries"] == 300
    assert exabench("bench", "tasks", "--data", "data", "--board", board, "--json") == 0
    assert "animals" in json.loads(capsys.readouterr().out)["tasks"]


def test_runs_are_frozen_submitted_and_verified_by_judgements_alone(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_beir(tmp_path / "data" / "licensed", GIVEN)
    (folder / "corpus.jsonl").unlink()
    (folder / "queries.jsonl").unlink()
    (tmp_path / "bm25.trec").write_text("q1 Q0 d3 1 9 a\nq1 Q0 d1 2 8 a\nq2 Q0 d2 1 9 a\n")
    (tmp_path / "mine.trec").write_text("q1 Q0 d1 1 9 a\nq1 Q0 d3 2 8 a\nq2 Q0 d2 1 9 a\n")
    (tmp_path / "mine.toml").write_text(
        'name = "us/mine"\nkind = "run"\nlicence = "mit"\nlink = "https://example.org"\ncontact = "a@example.org"\n'
        "training_data = []\n"
    )
    more = ("--data", "data", "--board", "board")
    assert exabench("bench", "candidates", "licensed", "--from", "bm25.trec", "--depth", 2, *more) == 0
    assert exabench("bench", "submit", "mine.toml", "--run", "licensed=mine.trec", *more) == 0
    assert exabench("bench", "run", *more) == 0
    assert exabench("bench", "verify", *more) == 0
    assert exabench("board", "build", "--board", "board") == 0
