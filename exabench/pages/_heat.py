"""The heat map of a ranking: what every line gains over its first stage, task by task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from exabench.pages._columns import WRITTEN, Table, heat_page, overview_data, scores_data
from exabench.pages._format import hundredths, signed_hundredths
from exabench.pages._page import Page
from exabench.pages._views import Line, View, stamp

if TYPE_CHECKING:
    from exabench.board import Board, Ranking

STEPS = (50, 200, 500, 1000)  # hundredths of a point where a cell takes its next colour; overview.js has them, too


@dataclass(frozen=True, slots=True)
class Shade:
    """One cell: its number, the class of its colour, and whether the training data meets the task."""

    text: str
    kind: str
    met: str = ""


def pages(view: View) -> Iterator[Page]:
    """A heat map for each ranking of the board; it reads the same data as the overview."""
    for ranking in view.board.rankings:
        make = partial(heat, Table(view, ranking))
        yield Page(heat_page(view.board, ranking), make, "heat.html", (view.everything,))


def heat(table: Table) -> dict[str, Any]:
    """The first lines against their first stage; the browser turns to the others and to other baselines."""
    board, ranking = table.view.board, table.ranking
    lines = [line for line in table.lines if not line.row.is_first_stage]
    before = {row.candidates: row.values for row in ranking.rows if row.is_first_stage}
    return {
        "ranking": ranking,
        "heat": True,
        "lines": [(line, _mean(line), _shades(table, line, before)) for line in lines[:WRITTEN]],
        "count": len(lines),
        "tasks": ranking.tasks,
        "data": overview_data(ranking),
        "scores_data": scores_data(ranking),
        "here": _here(board),
        "legend": _legend(),
        "stamp": stamp(result for row in ranking.rows for result in row.results),
    }


def _here(board: Board) -> Any:
    def page(_: Board, ranking: Ranking) -> str:
        return heat_page(board, ranking)

    return page


def _mean(line: Line) -> Shade:
    return shade(None if line.gain is None else hundredths(line.gain))


def _shades(table: Table, line: Line, before: Mapping[str, Mapping[str, float]]) -> list[Shade]:
    own, old = line.row.values, before.get(line.row.candidates, {})
    shades = []
    for t, letter in zip(table.ranking.tasks, table.exposures.of(line.row.submission), strict=True):
        has_both = t.name in own and t.name in old
        shades.append(shade(hundredths(own[t.name] - old[t.name]) if has_both else None, letter))
    return shades


def shade(difference: int | None, met: str = "") -> Shade:
    """The cell of a difference in hundredths of a point; a hatched one where there is none."""
    if difference is None:
        return Shade("\N{EN DASH}", "gap")
    step = sum(abs(difference) >= limit for limit in STEPS)
    kind = f"{'up' if difference > 0 else 'down'}{step}" if step else "level"
    return Shade(signed_hundredths(difference), kind, met)


def _legend() -> list[tuple[str, str]]:
    words = [f"{limit / 100:g}" for limit in STEPS]
    up, down = _apart("+", words), _apart("\N{MINUS SIGN}", words)
    below = [(f"down{step}", text) for step, text in enumerate(down, 1)][::-1]
    return [*below, ("level", f"within {words[0]}"), *((f"up{step}", text) for step, text in enumerate(up, 1))]


def _apart(sign: str, words: list[str]) -> list[str]:
    """What each colour on one side of zero stands for."""
    between = [f"{sign}{low} to {sign}{high}" for low, high in zip(words, words[1:], strict=False)]
    return [*between, f"{sign}{words[-1]} and more"]
