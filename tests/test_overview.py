"""The overview's columns: what the browser is told is what the page says, in order and without a rule of its own."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from toys import contents

from exabench.board import Board
from exabench.pages import _heat, _overview
from exabench.pages._columns import Table, natural
from exabench.pages._format import NOTHING, hundredths, score, signed, signed_hundredths
from exabench.pages._heat import shade
from exabench.pages._views import View


def told(data: bytes) -> Any:
    """What a data file of the overview tells the browser."""
    found = re.fullmatch(r"exabench\.\w+\((.*)\);\n", data.decode(), re.DOTALL)
    assert found
    return json.loads(found[1])


def summed(steps: list[int | None]) -> list[int | None]:
    total, sums = 0, []
    for step in steps:
        total += step or 0
        sums.append(None if step is None else total)
    return sums


@pytest.fixture
def table(board: Path) -> Table:
    """The small board's only ranking."""
    view = View(Board.read(board))
    return Table(view, view.board.rankings[0])


def shown(number: int) -> str:
    """A score as overview.js shows it: halves up."""
    return f"{(abs(number) + 5) // 10 / 10:.1f}"


def test_hundredths_show_the_same_tenths_as_the_exact_number() -> None:
    draw = random.Random(7)
    for value in [0.59245, 0.59255, 0.0, 1.0, 0.0005, 0.00049, *(draw.random() for _ in range(20_000))]:
        assert shown(hundredths(value)) == score(value), value
        assert abs(hundredths(value) - 10_000 * value) <= 1


def test_hundredths_of_a_difference_keep_its_sign() -> None:
    draw = random.Random(8)
    for value in [0.0, 0.00049, -0.00049, *(draw.uniform(-1, 1) for _ in range(20_000))]:
        assert signed_hundredths(hundredths(value)) == signed(value), value


def test_names_are_in_the_order_of_their_numbers() -> None:
    names = ["b", "a10", "A2", "a02", "a", "a1"]
    assert sorted(names, key=natural) == ["a", "a1", "A2", "a02", "a10", "b"]
    natural("9" * 10_000)  # longer than Python would read as a number


def test_the_columns_tell_the_rows(table: Table) -> None:
    found, rows = told(table.main()), table.ranking.rows
    names = [found["names"][place] for place in found["who"]]
    assert names == [line.name for line in table.lines]
    assert summed(found["mean"]) == [None if row.mean is None else hundredths(row.mean) for row in rows]
    assert summed(found["group"]) == [row.group for row in rows]
    assert [found["lists"][place] for place in found["list"]] == [
        [row.candidates, row.candidates.rpartition("-")[0], row.depth] for row in rows
    ]
    for i, row in enumerate(rows):
        if row.mean is not None and row.interval is not None:
            low, high = hundredths(row.mean) - found["below"][i], hundredths(row.mean) + found["above"][i]
            assert (shown(low), shown(high)) == tuple(map(score, row.interval))
    assert all(len(found[key]) == len(rows) for key in ("state", "date", "gain", "finished", "flops", "latency", "why"))
    assert found["build"] == table.view.everything[:12]


def test_the_scores_and_their_nudges_give_what_the_heat_map_says(table: Table) -> None:
    values, nudges = (told(table.scores())[key] for key in ("values", "nudges"))
    before = {row.candidates: row.values for row in table.ranking.rows if row.is_first_stage}
    starts = {row.candidates: i for i, row in enumerate(table.ranking.rows) if row.is_first_stage}
    for place, task in enumerate(table.ranking.tasks):
        for i, row in enumerate(table.ranking.rows):
            exact = row.values[task.name] - before[row.candidates][task.name]
            rough = values[place][i] - values[place][starts[row.candidates]] + nudges[place][i]
            assert shade(rough) == shade(hundredths(exact))


def test_a_cell_takes_its_colour_from_its_number() -> None:
    kinds = [shade(value).kind for value in (0, 49, -49, 50, -50, 199, 200, 500, -1000, 9999)]
    assert kinds == ["level", "level", "level", "up1", "down1", "up1", "up2", "up3", "down4", "up4"]
    assert shade(None) == _heat.Shade(NOTHING, "gap")


def test_both_pages_and_their_data_are_there_for_every_ranking(table: Table) -> None:
    paths = [page.path for module in (_overview, _heat) for group in module.pages(table.view) for page in group.pages()]
    assert paths == ["index.html", "data/overview.all-tasks.js", "data/overview.all-tasks.tasks.js", "heat.html"]


def test_what_was_withdrawn_is_listed_with_its_reason_and_not_counted(table: Table) -> None:
    board = table.view.board
    gone = dataclasses.replace(board.submissions["acme--good"], withdrawn="trained on the test queries")
    view = View(dataclasses.replace(board, submissions={**board.submissions, "acme--good": gone}))
    values = _overview.overview(Table(view, board.rankings[0]))
    assert [one.withdrawn for one in values["withdrawn"]] == ["trained on the test queries"]
    assert values["submissions"] == 0


def test_text_of_strangers_is_harmless_in_the_data(table: Table) -> None:
    row = next(row for row in table.ranking.rows if not row.is_first_stage)
    hostile = "\u202egnp\u2028</script>\x00"
    object.__setattr__(row.submission, "licence", hostile)
    text = table.main().decode()
    assert hostile not in text and not set("\u202e\u2028\x00") & set(text)


def test_the_columns_are_the_same_bytes_every_time(board: Path) -> None:
    views = [View(Board.read(board)) for _ in range(2)]
    one, other = (Table(view, view.board.rankings[0]) for view in views)
    assert (one.main(), one.scores()) == (other.main(), other.scores())
    assert contents(board)
