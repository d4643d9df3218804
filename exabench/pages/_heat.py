"""The heat map of a ranking: what every line gains over its first stage, task by task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from exabench.pages._format import MINUS, NOTHING, signed
from exabench.pages._overview import exposure
from exabench.pages._page import Page
from exabench.pages._paths import heat_page
from exabench.pages._views import WRITTEN, Line, View, stamp

if TYPE_CHECKING:
    from exabench.board import Ranking

STEPS = (0.005, 0.02, 0.05, 0.1)  # differences from which a cell takes its next colour; overview.js has them, too


@dataclass(frozen=True, slots=True)
class Shade:
    """One cell: its number, the class of its colour, and whether the training data meets the task."""

    text: str
    kind: str
    met: str = ""


def pages(view: View) -> Iterator[Page]:
    """A heat map for each ranking of the board; it reads the same data as the overview."""
    for ranking in view.board.rankings:
        yield Page(heat_page(view.board, ranking), partial(heat, view, ranking), "heat.html")


def heat(view: View, ranking: Ranking) -> dict[str, Any]:
    """The first lines against their first stage; the browser turns to the others and to other baselines."""
    lines = [line for line in view.lines(ranking) if not line.row.is_first_stage]
    return {
        "ranking": ranking,
        "heat": True,
        "lines": [(line, shade(line.gain), _shades(view, ranking, line)) for line in lines[:WRITTEN]],
        "count": len(lines),
        "tasks": ranking.tasks,
        "legend": _legend(),
        "stamp": stamp(result for row in ranking.rows for result in row.results),
    }


def _shades(view: View, ranking: Ranking, line: Line) -> list[Shade]:
    before = {row.candidates: row.values for row in ranking.rows if row.is_first_stage}
    old = before.get(line.row.candidates, {})
    own = line.row.values
    shades = []
    for t, letter in zip(ranking.tasks, exposure(view.board, ranking.tasks, line.row.submission), strict=True):
        difference = own[t.name] - old[t.name] if t.name in own and t.name in old else None
        shades.append(shade(difference, letter))
    return shades


def shade(difference: float | None, met: str = "") -> Shade:
    """The cell of a difference; a hatched one where there is none."""
    if difference is None:
        return Shade(NOTHING, "gap")
    step = sum(abs(difference) >= limit for limit in STEPS)
    direction = "up" if difference > 0 else "down"
    return Shade(signed(difference), f"{direction}{step}" if step else "level", met)


def _legend() -> list[tuple[str, str]]:
    """The class of each colour and what it stands for, the largest loss first."""
    words = [f"{100 * limit:g}" for limit in STEPS]
    legend = [("level", f"within {words[0]}")]
    for step, low in enumerate(words, 1):
        for direction, sign in (("up", "+"), ("down", MINUS)):
            text = f"{sign}{low} and more" if step == len(words) else f"{sign}{low} to {sign}{words[step]}"
            legend.insert(0 if direction == "down" else len(legend), (f"{direction}{step}", text))
    return legend
