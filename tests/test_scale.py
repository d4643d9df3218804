"""A large board: it is built in parallel, the bytes are the same, and what fails leaves the old site."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
from benchmarks.board import Crowd, digests

from exabench.bench.ledger import Ledger, read_result
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.cli import main
from exabench.core.errors import BadInput, CannotWrite


def build(board: Path, site: Path, **how: int) -> set[str]:
    """Build as the command does; returns the files that changed."""
    return {str(file.relative_to(site)) for file in render(Board.read(board), site, **how)}


@pytest.fixture(scope="session")
def _crowd(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    board = Path(shutil.copytree(_board, tmp_path_factory.mktemp("crowd") / "board"))
    crowd = Crowd(board)
    for number in range(300):
        crowd.add(number)
    build(board, board / "site")
    return board


@pytest.fixture
def many(_crowd: Path, tmp_path: Path) -> Path:
    """A board of 300 submissions with its site; the test's own copy."""
    return Path(shutil.copytree(_crowd, tmp_path / "board"))


def test_one_new_submission_writes_its_pages_and_what_shows_the_whole_board(many: Path) -> None:
    site = many / "site"
    before = {path: (site / path).stat().st_mtime_ns for path in digests(site)}
    slug = Crowd(many).add(300)
    changed = build(many, site)
    own = {path for path in changed if slug in path}
    assert len(own) >= 4 and all("/" in path for path in own)
    others = {path for path in changed - own if path.startswith(("submissions/", "results/", "data/results/"))}
    assert others == set()
    assert all((site / path).stat().st_mtime_ns == before[path] for path in before if path not in changed)
    assert build(many, site) == set()


@pytest.mark.parametrize("processes", [2, 3])
def test_the_bytes_are_the_same_however_many_processes_make_them(board: Path, tmp_path: Path, processes: int) -> None:
    render(Board.read(board), tmp_path / "one", processes=1)
    render(Board.read(board), tmp_path / "other", processes=processes)
    assert digests(tmp_path / "other") == digests(tmp_path / "one")


def test_a_table_of_a_page_is_short_and_the_data_files_hold_all(many: Path) -> None:
    site = many / "site"
    text = (site / "tasks" / "mini.html").read_text()
    assert text.count('<th scope="row"><a href="../submissions/') <= 100 + 5 and "first 100 of 302" in text
    assert len((site / "data" / "results.csv").read_text().splitlines()) == 1 + 306
    whole = json.loads((site / "data" / "board.json").read_text())
    assert len(whole["results"]) == 306 and len(whole["submissions"]) == 306
    assert (site / "feed.atom").read_text().count("<entry>") == 100


def test_check_finds_every_byte_that_differs(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site, command = board / "site", ["board", "build", "--board", str(board), "--check", "--json"]
    build(board, site)
    assert main(command) == 0
    page = bytearray((site / "about.html").read_bytes())
    page[100] ^= 1
    (site / "about.html").write_bytes(page)
    (site / "tasks" / "mini.html").unlink()
    capsys.readouterr()
    assert main(command) == 1
    assert json.loads(capsys.readouterr().out)["differing"] == ["about.html", "tasks/mini.html"]


def test_an_edited_result_is_found_and_the_old_site_stays(many: Path) -> None:
    file = many / "results" / "owner1--system00001" / "mini.bm25-20.json"
    file.write_text(file.read_text().replace('"created": "2023', '"created": "2024', 1))
    before = digests(many / "site")
    with pytest.raises(BadInput, match="was edited"):
        build(many, many / "site")
    assert digests(many / "site") == before


def test_what_fails_in_another_process_is_said_and_leaves_the_old_site(many: Path, tmp_path: Path) -> None:
    board = Board.read(many)
    file = many / "results" / "owner1--system00001" / "mini.bm25-20.json"
    file.write_text("{}")
    before = digests(many / "site")
    with pytest.raises(BadInput, match="owner1--system00001"):
        render(board, many / "site", processes=2)
    assert digests(many / "site") == before and not (many / ".site.staging").exists()


def test_a_process_that_is_ended_leaves_the_old_site(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(board, board / "site")
    before = digests(board / "site")
    read, parent = Board.read(board), os.getpid()
    monkeypatch.setattr(Board, "full", lambda board, score: os._exit(9) if os.getpid() != parent else None)
    with pytest.raises(CannotWrite, match="was ended"):
        render(read, board / "site", processes=2)
    assert digests(board / "site") == before


def test_what_is_withdrawn_is_in_no_ranking_and_is_listed(board: Path) -> None:
    crowd = Crowd(board)
    slug = crowd.add(1)
    whole = Board.read(board)
    assert slug in {row.submission.slug for row in whole.rows}
    crowd.withdraw(1)
    left = Board.read(board)
    assert [one.slug for one in left.withdrawn] == [slug]
    assert slug not in {row.submission.slug for row in left.rows}
    assert slug not in {entry.submission.slug for entry in left.entries["mini"]}
    build(board, board / "site")
    site = board / "site"
    assert (site / "submissions" / f"{slug}.html").is_file() and (site / f"results/{slug}/mini.bm25-20.html").is_file()
    assert "its sender asked" in (site / "data" / "results.csv").read_text()
    assert slug not in (site / "data" / "rows.csv").read_text()


def test_a_score_says_what_its_result_says(board: Path) -> None:
    read = Board.read(board)
    for score in read.results:
        result = read_result(score.file)
        assert read.full(score) == result
        name = result.measurement.headline
        assert (score.value, score.first_stage, score.ceiling) == (
            result[name],
            result.first_stage[name],
            result.ceiling[name],
        )
        assert dict(zip(score.queries, score.values.tolist(), strict=True)) == result.measurement.per_query[name]


def test_a_result_that_changed_while_the_board_was_read_is_refused(board: Path) -> None:
    read = Board.read(board)
    score = read.results[0]
    changed = dataclasses.replace(read_result(score.file), command="another")
    Ledger(board).add_result(changed)
    with pytest.raises(BadInput, match="changed while the board was read"):
        read.full(score)
