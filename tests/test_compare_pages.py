"""Pages that a browser fills: what they are told is exact, is what they say, belongs to its result, is harmless."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from compared import HEADLINE, result, write_board, write_submission
from toys import contents

from exabench.bench.comparison import compare_submissions
from exabench.bench.ledger import Ledger
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.nouns import FIRST_STAGE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_board(tmp_path_factory.mktemp("compared"), ["nfcorpus", "scifact", "cqadupstack"]).folder


@pytest.fixture(scope="module")
def board(folder: Path) -> Board:
    return Board.read(folder)


@pytest.fixture(scope="module")
def files(board: Board, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return made(board, tmp_path_factory.mktemp("site"))


def handed_over(data: bytes, function: str) -> Any:
    """What a data file, which is one line, gives to the function it calls."""
    match = re.fullmatch(rf"exabench\.{function}\((.*)\);\n", data.decode())
    assert match, data[:80]
    return json.loads(match[1])


def made(board: Board, to: Path) -> dict[str, bytes]:
    """Every file of a board's site."""
    render(board, to)
    return contents(to)


def test_the_values_of_a_result_are_those_of_its_file_to_the_last_bit(
    folder: Path, board: Board, files: dict[str, bytes]
) -> None:
    compared = 0
    for slug in board.submissions:
        for one in Ledger(folder).results(slug):
            name = f"{one.task}.{one.candidates.name}.js"
            vector = handed_over(files[f"data/queries/{slug}/{name}"], "vector")
            assert vector["of"] == [slug, one.task, one.candidates.name]
            own = one.measurement.per_query[HEADLINE]
            assert vector["values"] == [own[query] for query in sorted(own)]
            ids = handed_over(files[f"data/queries/{name}"], "queries")["ids"]
            assert (ids == sorted(own)) == (slug != "acme--odd" or one.task != "fiqa")
            compared += 1
    assert compared > 50


def test_the_lines_name_every_result_of_the_board(board: Board, files: dict[str, bytes]) -> None:
    given = handed_over(files["data/lines.js"], "lines")
    found = {(slug, candidates, task) for slug, _, candidates, tasks in given["lines"] for task in given["sets"][tasks]}
    assert found == {(one.submission, one.candidates, one.task) for one in board.results}
    assert [FIRST_STAGE, f"{FIRST_STAGE.replace('--', '/')} (first stage)"] in [line[:2] for line in given["lines"]]
    assert [task["name"] for task in given["tasks"]] == [task.name for task in board.tasks]


def test_the_columns_of_an_overview_tell_its_rows(board: Board, files: dict[str, bytes]) -> None:
    found, rows = handed_over(files["data/overview.all-tasks.js"], "overview"), board.rows
    lines = found["lines"]
    assert all(len(values) == len(rows) for values in lines.values())
    for i, row in enumerate(rows):
        name = f"first stage: {row.stage}" if row.is_first_stage else row.submission.name
        assert (lines["system"][i], lines["slug"][i], lines["group"][i]) == (name, row.submission.slug, row.group)
        assert (lines["candidates"][i], lines["depth"][i]) == (row.candidates, row.depth)
        bounds = (lines["mean"][i], lines["low"][i], lines["high"][i])
        assert bounds == pytest.approx((row.mean, *(row.interval or (None, None))), abs=1e-6)
    scores = handed_over(files["data/overview.all-tasks.tasks.js"], "scores")
    for t, values in zip(board.tasks, scores["values"], strict=True):
        assert values == [pytest.approx(row.values.get(t.name), abs=1e-6) for row in rows]
    assert scores["build"] == found["build"] and found["build"] in files["verify.html"].decode()


def test_the_heat_map_says_what_each_line_gains_in_the_colour_of_its_number(files: dict[str, bytes]) -> None:
    cells = re.findall(r'<td class="n (up|down|level)(\d?)">([+\u2212]?[\d.]+)</td>', files["heat.html"].decode())
    assert len({direction + step for direction, step, _ in cells}) > 4
    for direction, step, text in cells:
        points = float(text.replace("\u2212", "-"))
        if abs(points) not in (0.5, 2, 5, 10):  # a number shown on a limit may lie a little below it
            assert step == (str(sum(abs(points) >= limit for limit in (0.5, 2, 5, 10))) if direction != "level" else "")
            assert (direction == "up") == (points >= 0.5)


def test_groups_are_those_of_the_board(board: Board, files: dict[str, bytes]) -> None:
    for ranking in board.rankings:
        contests = {f"{ranking.slug}.{one.candidates}": one.rows for one in ranking.contests}
        for key, ranked in {ranking.slug: ranking.rows, **contests}.items():
            rows = handed_over(files[f"data/groups/view.{key}.js"], "groups")["rows"]
            wanted = [([row.submission.slug], row.candidates, row.group) for row in ranked if row.mean is not None]
            assert [(row[0], row[1], row[4]) for row in rows] == wanted and wanted
    for name, contests in board.contests.items():
        for contest in contests:
            rows = handed_over(files[f"data/groups/task.{name}.{contest.candidates}.js"], "groups")["rows"]
            ranked = [row for row in contest.rows if row.mean is not None]
            for row, told in zip(ranked, rows, strict=True):
                assert told[3] == pytest.approx(row.mean, abs=1e-6)
                assert (told[4], told[5]) == (row.group, pytest.approx(row.limit, rel=1e-5))


def test_the_data_show_the_numbers_of_the_command(folder: Path, files: dict[str, bytes]) -> None:
    lines = csv.DictReader(io.StringIO(files["data/results.csv"].decode()))
    found = {(line["submission"], line["task"], line["candidates"]): line for line in lines}
    for one in compare_submissions("acme/strong", FIRST_STAGE, folder, candidates="bm25-100"):
        line = found["acme/strong", one.task.partition(" ")[0], "bm25-100"]
        assert float(line["p"]) == pytest.approx(one.test.p, rel=1e-12)
        assert float(line["p_holm"]) == pytest.approx(one.corrected, rel=1e-12)
        assert float(line["difference"]) == pytest.approx(one.test.difference, abs=1e-15)


def test_without_scripts_the_groups_of_the_first_twenty_lines_are_a_table(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "board")
    ledger.create("Many", ["scifact"], {})
    for i in range(23):
        write_submission(ledger, f"acme/line{i:02}")
        ledger.add_result(result(f"acme--line{i:02}", "scifact", "bm25-100", {"a": 0.5, "b": i / 100}))
    board = Board.read(tmp_path / "board")
    render(board, tmp_path / "site")
    text = (tmp_path / "site" / "significance.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<td class="n group">\d+</td>', text)) == 20
    assert "the first 20 of 23 systems" in text
    assert "acme/line22" in text and "acme/line02<" not in text
    assert "exabench bench compare" in (tmp_path / "site" / "compare.html").read_text(encoding="utf-8")


def test_what_strangers_wrote_cannot_leave_its_string(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "board")
    ledger.create('</script>"); alert(1); ("', ["scifact"], {"<b>View</b>": ["scifact"]})
    write_submission(ledger, "acme/one")
    nasty = ['");alert(1);("', "</script><script>", "line\u2028end", "\u202eturned", "quote'\\", "\U0001f468"]
    ledger.add_result(result("acme--one", "scifact", "bm25-100", {query: 0.5 for query in nasty}))
    files = made(Board.read(tmp_path / "board"), tmp_path / "site")
    for path, data in files.items():
        if path.startswith(("data/lines", "data/groups", "data/queries", "data/overview")):
            told = handed_over(data, "(?:lines|groups|queries|vector|overview|scores)")
            assert not set("\u202e\u2028\x00") & set(json.dumps(told, ensure_ascii=False)), path
    ids = handed_over(files["data/queries/scifact.bm25-100.js"], "queries")["ids"]
    assert len(ids) == len(nasty) and not any(mark in "".join(ids) for mark in "\u2028\u202e")
