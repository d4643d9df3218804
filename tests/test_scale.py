"""A large board: what is read and made again is what changed, the bytes are those of a build from nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from benchmarks.board import Crowd, digests

from exabench.board import Board, Vectors
from exabench.board._reading import Inputs
from exabench.cli import main
from exabench.errors import BadInput, CannotWrite
from exabench.ledger import Ledger, read_result
from exabench.pages import differences, index_of, render
from exabench.pages._page import Group, Page
from exabench.pages._publish import Site, differing, publish


def settle(board: Path) -> None:
    """Set every input's time back, so that the next build may trust it: one just written is always read again."""
    for file in board.rglob("*"):
        if file.is_file() and file.stat().st_mtime_ns > 1_500_000_000 * 10**9:
            os.utime(file, ns=(1_400_000_000 * 10**9 + file.stat().st_mtime_ns % 10**17,) * 2)


def build(board: Path, site: Path, **how: int) -> set[str]:
    """Build with an index, as the command does; returns the files that changed."""
    index = index_of(site)
    return {str(file.relative_to(site)) for file in render(Board.read(board, index=index), site, index=index, **how)}


@pytest.fixture(scope="session")
def _crowd(_board: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    board = Path(shutil.copytree(_board, tmp_path_factory.mktemp("crowd") / "board"))
    crowd = Crowd(board)
    for number in range(300):
        crowd.add(number)
    settle(board)
    build(board, board / "site")
    return board


@pytest.fixture
def many(_crowd: Path, tmp_path: Path) -> Path:
    """A board of 300 submissions with its site and its index; the test's own copy."""
    board = Path(shutil.copytree(_crowd, tmp_path / "board"))
    Board.read(board, index=index_of(board / "site"))  # a copy has other inodes, so its inputs are read once more
    return board


def test_any_sequence_of_changes_ends_in_the_bytes_of_a_build_from_nothing(board: Path, tmp_path: Path) -> None:
    draw, crowd, site = random.Random(5), Crowd(board), board / "site"
    there: set[int] = set()
    for step in range(5):
        for _ in range(draw.randint(1, 4)):
            number = draw.randrange(8)
            if number not in there or draw.random() < 0.3:
                crowd.add(number, draw.randrange(10**6))
                there.add(number)
            elif draw.random() < 0.5:
                crowd.withdraw(number) if "withdrawn" not in crowd.toml(number).read_text() else None
            else:
                crowd.remove(number)
                there.remove(number)
        if draw.random() < 0.5:
            settle(board)
        build(board, site)
        render(Board.read(board), tmp_path / f"fresh{step}")
        assert digests(site) == digests(tmp_path / f"fresh{step}"), f"step {step}"


def test_one_new_submission_opens_its_files_and_makes_its_pages_alone(many: Path) -> None:
    site = many / "site"
    before = {path: (site / path).stat().st_mtime_ns for path in digests(site)}
    slug = Crowd(many).add(300)
    index = index_of(site)
    read = Inputs(Ledger(many), index)
    assert (read.read, len(read.scores)) == (2, 307)
    changed = build(many, site)
    own = {path for path in changed if slug in path}
    assert len(own) >= 4 and all("/" in path for path in own)
    others = {path for path in changed - own if path.startswith(("submissions/", "results/", "data/results/"))}
    assert {path.split("/")[-1].split("--")[0] for path in others} <= {slug.split("--")[0]}, "its owner's pages alone"
    assert all((site / path).stat().st_mtime_ns == before[path] for path in before if path not in changed)
    assert differences(Board.read(many), site) == []


def test_of_a_large_file_only_the_lines_of_what_is_new_are_made(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slug, opened, whole = Crowd(many).add(300), set[str](), Board.full
    monkeypatch.setattr(Board, "full", lambda board, one: opened.add(one.submission) or whole(board, one))
    changed = build(many, many / "site", processes=1)
    assert {"data/board.json", "data/results.csv", "data/results.parquet", "data/rows.csv"} <= changed
    assert opened == {slug}


def test_a_build_of_nothing_new_opens_no_result_and_writes_nothing(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(many)
    build(many, many / "site")
    monkeypatch.setattr("exabench.board._reading.read_result", lambda file, **_: pytest.fail(f"{file} was opened"))
    monkeypatch.setattr("exabench.board.read_result", lambda file, **_: pytest.fail(f"{file} was opened"))
    assert build(many, many / "site") == set()


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


def damages(file: Path) -> list[Callable[[], object]]:
    data = file.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 255
    return [
        file.unlink,
        lambda: file.write_bytes(data[: len(data) // 2]),
        lambda: file.write_bytes(bytes(flipped)),
        lambda: file.write_bytes(b"[]"),
    ]


@pytest.mark.parametrize(
    "name", ["inputs.npz", "pages.json", "records.arrow", "rows.arrow", "submissions.arrow", "inputs.arrow"]
)
def test_a_damaged_index_costs_time_and_no_byte(board: Path, tmp_path: Path, name: str) -> None:
    site = board / "site"
    settle(board)
    build(board, site)
    Crowd(board).add(1)
    render(Board.read(board), tmp_path / "fresh")
    for damage in damages(index_of(site) / name):
        damage()
        build(board, site)
        assert digests(site) == digests(tmp_path / "fresh")


def test_an_index_of_another_exabench_is_not_used(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(board)
    build(board, board / "site")
    assert Inputs(Ledger(board), index_of(board / "site")).read == 0
    monkeypatch.setattr("exabench.board._index.package_digest", lambda: "another")
    assert Inputs(Ledger(board), index_of(board / "site")).read == 12


def test_a_page_that_was_edited_or_lost_is_made_again(board: Path) -> None:
    site = board / "site"
    build(board, site)
    before = digests(site)
    (site / "about.html").write_text("longer or shorter")
    (site / "tasks" / "mini.html").unlink()
    assert build(board, site) == {"about.html", "tasks/mini.html"}
    assert digests(site) == before


@pytest.mark.parametrize("first", ["a", "b"])
def test_a_file_may_go_from_one_group_to_another(tmp_path: Path, first: str) -> None:
    def site(**groups: str) -> Site:
        def page(path: str) -> Page:
            return Page(f"{path}.txt", path.encode)

        listed = [Group(name, (paths,), partial(map, page, paths)) for name, paths in groups.items()]
        listed.sort(key=lambda group: group.name != first)
        return Site(listed, [], lambda page: bytes(page.make()), lambda names: None, "settings")

    place, index = tmp_path / "site", tmp_path / "index"
    publish(site(a="fg", b="h"), place, index=index)
    after = site(a="f", b="gh")
    assert publish(after, place, index=index) == []
    assert differing(after, place) == [] and (place / "g.txt").read_text() == "g"


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


def test_an_edited_result_is_found_whatever_the_index_says(many: Path) -> None:
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
    shutil.rmtree(index_of(many / "site"))
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
        assert (
            dict(zip(read.queries(score), read.values(score).tolist(), strict=True))
            == (result.measurement.per_query[name])
        )


def test_a_result_takes_eight_bytes_a_query() -> None:
    vectors = Vectors()
    for number in range(100):
        table = vectors.table(tuple(f"q{i}" for i in range(48)))
        vectors.add(str(number), table, np.arange(48) / 48 + number)
    assert sum(row.nbytes for row in vectors.of_table(0).values()) == 100 * 48 * 8 and len(vectors.tables) == 1
    assert vectors.row("99").tolist() == [99 + i / 48 for i in range(48)]


def test_a_result_that_changed_while_the_board_was_read_is_refused(board: Path) -> None:
    read = Board.read(board)
    score = read.results[0]
    changed = dataclasses.replace(read_result(score.file), command="another")
    Ledger(board).add_result(changed)
    with pytest.raises(BadInput, match="changed while the board was read"):
        read.full(score)
