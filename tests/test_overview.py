"""The overview's columns: what the browser is told is what the page says, in order and without a rule of its own."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from toys import contents

from exabench.bench.ledger import Ledger
from exabench.bench.submissions import submission_text
from exabench.board.pages import render
from exabench.board.ranking import Board


def told(site: Path, path: str) -> Any:
    """What a data file of the overview tells the browser."""
    found = re.fullmatch(r"exabench\.\w+\((.*)\);\n", (site / path).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture
def site(board: Path, tmp_path: Path) -> Path:
    render(Board.read(board), tmp_path / "site")
    return tmp_path / "site"


def test_the_columns_tell_the_rows(board: Path, site: Path) -> None:
    found, rows = told(site, "data/overview.all-tasks.js"), Board.read(board).rows
    lines = found["lines"]
    assert all(len(values) == len(rows) for values in lines.values())
    for i, row in enumerate(rows):
        name = "first stage: bm25" if row.is_first_stage else row.submission.name
        assert (lines["name"][i], lines["slug"][i], lines["group"][i]) == (name, row.submission.slug, row.group)
        assert (lines["candidates"][i], lines["depth"][i]) == (row.candidates, row.depth)
        if row.mean is not None and row.interval is not None:
            bounds = (lines["mean"][i], lines["low"][i], lines["high"][i])
            assert bounds == pytest.approx((row.mean, *row.interval), abs=1e-6)
    assert found["build"] in (site / "verify.html").read_text()
    scores = told(site, "data/overview.all-tasks.tasks.js")
    assert scores["values"] == [[pytest.approx(row.values["mini"], abs=1e-6) for row in rows]]
    assert scores["build"] == found["build"]


def test_the_heat_map_says_what_each_line_gains_in_the_colour_of_its_number(board: Path, site: Path) -> None:
    page = (site / "heat.html").read_text()
    cells = re.findall(r'<td class="n (up|down|level)(\d?)">([+\u2212]?[\d.]+)</td>', page)
    assert len(cells) == 2 * sum(not row.is_first_stage for row in Board.read(board).rows)
    for direction, step, text in cells:
        points = float(text.replace("\u2212", "-"))
        assert step == (str(sum(abs(points) >= limit for limit in (0.5, 2, 5, 10))) if direction != "level" else "")
        assert (direction == "up") == (points >= 0.5)


def test_what_was_withdrawn_is_listed_with_its_reason_and_not_counted(board: Path, tmp_path: Path) -> None:
    one = dataclasses.replace(Ledger(board).submissions()["acme--good"], withdrawn="trained on the test queries")
    (board / "submissions" / "acme--good.toml").write_text(submission_text(one))
    render(Board.read(board), tmp_path / "site")
    page = (tmp_path / "site" / "index.html").read_text()
    assert "trained on the test queries" in page and "<b>0</b> submissions" in page


def test_text_of_strangers_is_harmless_in_the_data(board: Path, tmp_path: Path) -> None:
    (board / "board.toml").unlink()
    Ledger(board).create("T", ["mini"], {"\u202eView": ["mini"]})
    render(Board.read(board), tmp_path / "site")
    for name in ("overview.view", "groups/view.view", "lines"):
        text = (tmp_path / "site" / "data" / f"{name}.js").read_text(encoding="utf-8")
        assert not set("\u202e\u2028\x00") & set(text)


def test_the_site_is_made_without_touching_the_board(board: Path, tmp_path: Path) -> None:
    before = contents(board)
    render(Board.read(board), tmp_path / "site")
    assert contents(board) == before
