"""A large board: it is built in parallel, the bytes are the same, and what fails leaves the old site."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from benchmarks.board import Crowd
from toys import contents

from exabench.bench.ledger import Ledger, read_result
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.cli import main
from exabench.core.errors import BadInput, CannotWrite

CROWD = 200  # with those of the small board enough results for several processes to read them


@pytest.fixture(scope="module")
def many(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board of many submissions, one of which is withdrawn, with its site; whoever changes it makes a copy."""
    board = Path(shutil.copytree(_board, tmp_path_factory.mktemp("crowd") / "board"))
    crowd = Crowd(board)
    for number in range(CROWD):
        crowd.add(number)
    crowd.withdraw(1)
    render(Board.read(board), board / "site", processes=2)
    return board


def test_the_bytes_are_the_same_however_many_processes_make_them(many: Path, tmp_path: Path) -> None:
    render(Board.read(many), tmp_path / "one", processes=1)
    assert contents(tmp_path / "one") == contents(many / "site")


def test_of_many_lines_the_first_stand_on_the_page_and_all_in_the_data(many: Path) -> None:
    site = many / "site"
    text = (site / "tasks" / "mini.html").read_text()
    competing = CROWD + 1  # with acme/good and the first stage, without what was withdrawn
    assert 100 <= text.count('<th scope="row"><a href="../submissions/') <= 100 + 5
    assert f"first 100 of {competing}" in text
    total = CROWD + 6
    results = (site / "data" / "results.csv").read_text()
    assert len(results.splitlines()) == 1 + total and "its sender asked" in results
    assert "owner1--system00001" not in (site / "data" / "rows.csv").read_text()
    whole = json.loads((site / "data" / "board.json").read_text())
    assert len(whole["results"]) == len(whole["submissions"]) == total
    assert (site / "feed.atom").read_text().count("<entry>") == 100
    files = len(json.loads((site / "data" / "files.json").read_text())["files"])
    assert files > 3 * CROWD and f"The first 100 of {files:,} files" in (site / "verify.html").read_text()


def test_check_finds_every_byte_that_differs(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site, command = board / "site", ["board", "build", "--board", str(board), "--check", "--json"]
    render(Board.read(board), site)
    assert main(command) == 0
    page = bytearray((site / "about.html").read_bytes())
    page[100] ^= 1
    (site / "about.html").write_bytes(page)
    (site / "tasks" / "mini.html").unlink()
    capsys.readouterr()
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out)["differing"] == ["about.html", "tasks/mini.html"]


def test_what_fails_or_ends_in_another_process_is_said_and_leaves_the_old_site(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Path(shutil.copytree(many, tmp_path / "board"))
    read, before = Board.read(own), contents(own / "site")
    (own / "results" / "owner1--system00001" / "mini.bm25-20.json").write_text("{}")
    with pytest.raises(BadInput, match="owner1--system00001"):
        render(read, own / "site", processes=2)
    parent = os.getpid()
    monkeypatch.setattr(Board, "full", lambda board, score: os._exit(9) if os.getpid() != parent else None)
    with pytest.raises(CannotWrite, match="was killed"):
        render(read, own / "site", processes=2)
    assert contents(own / "site") == before and not (own / ".site.staging").exists()


def test_a_summary_says_what_its_result_says_and_one_that_changed_since_is_refused(board: Path) -> None:
    read = Board.read(board)
    for summary in read.results:
        result = read_result(summary.file)
        assert read.full(summary) == result
        name = result.measurement.headline
        told = (summary.value, summary.first_stage, summary.ceiling)
        assert told == (result[name], result.first_stage[name], result.ceiling[name])
        assert dict(zip(summary.queries, summary.values.tolist(), strict=True)) == result.measurement.per_query[name]
    first = read.results[0]
    Ledger(board).add_result(dataclasses.replace(read_result(first.file), command="another"))
    with pytest.raises(BadInput, match="changed while the board was read"):
        read.full(first)
