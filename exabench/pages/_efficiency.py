"""Effectiveness against cost: what the efficiency page of a ranking shows, worked out as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from exabench.pages import figures
from exabench.pages._columns import WRITTEN, Table
from exabench.pages._page import Page
from exabench.pages._paths import efficiency_page
from exabench.pages._views import Line, View, stamp

if TYPE_CHECKING:
    from exabench.board import Ranking, Spent

DRAWN = 200  # points in a figure, those of the front first


def pages(view: View) -> Iterator[Page]:
    """Effectiveness against cost, for each ranking of the board."""
    for ranking in view.board.rankings:
        make = partial(efficiency, view, ranking)
        yield Page(efficiency_page(view.board, ranking), make, "efficiency.html", (view.everything,))


@dataclass(frozen=True)
class Measure:
    """One way to say what a line cost."""

    key: str
    title: str
    axis: str
    unit: float
    of: Callable[[Spent], float | None]


MEASURES = (
    Measure("exact", "FLOPs per query", "TFLOPs per query", 1e12, lambda spent: spent.flops_exact),
    Measure("paper", "FLOPs as published", "TFLOPs per query, E2R-FLOPs", 1e12, lambda spent: spent.flops_paper),
    Measure("parameters", "Parameters", "parameters, millions", 1e6, lambda spent: spent.parameters),
)


@dataclass(frozen=True)
class Section:
    """One figure of the page, or none where nobody's cost is known in that measure."""

    measure: Measure
    figure: Markup | None
    front: tuple[Line, ...]


def efficiency(view: View, ranking: Ranking) -> dict[str, Any]:
    """The page: a figure for each measure of cost, then the table behind them: its fronts and the best means."""
    table = Table(view, ranking)
    lines = [line for line in table.lines if line.row.mean is not None]
    sections = [_section(measure, lines) for measure in MEASURES] + _latencies(lines)
    fronts: dict[int, list[str]] = {}
    for section in sections:
        for line in section.front:
            fronts.setdefault(id(line), []).append(section.measure.key)
    written = [line for place, line in enumerate(lines) if place < WRITTEN or id(line) in fronts]
    return {
        "ranking": ranking,
        "lines": [(line, ", ".join(fronts.get(id(line), ()))) for line in written],
        "count": len(lines),
        "left_out": len(table.lines) - len(lines),
        "sections": sections,
        "stamp": stamp(result for line in lines for result in line.row.results),
    }


def pareto(lines: Sequence[Line], cost: Callable[[Spent], float | None]) -> tuple[Line, ...]:
    """Those lines, cheapest first, that no other beats: none is as cheap and better, or as good and cheaper."""
    paid = [(cost(line.row.spent) or 0.0, line.row.mean or 0.0, line) for line in lines]
    paid = sorted((one for one in paid if one[0] > 0), key=lambda one: (one[0], -one[1]))
    front: list[tuple[float, float, Line]] = []
    for one in paid:
        if not front or one[1] > front[-1][1] or one[:2] == front[-1][:2]:
            front.append(one)
    return tuple(line for _, _, line in front)


def _latencies(lines: Sequence[Line]) -> list[Section]:
    """A figure for each hardware, because seconds of two machines do not compare."""
    places = sorted({line.row.spent.hardware for line in lines} - {""}) or [""]
    return [_section(_latency(place, i), lines) for i, place in enumerate(places, 1)]


def _latency(place: str, number: int) -> Measure:
    def seconds(spent: Spent) -> float | None:
        return spent.p50 if spent.hardware == place else None

    key = "latency" if number == 1 else f"latency-{number}"
    return Measure(key, f"Latency on {place}" if place else "Latency", "seconds per query, median", 1, seconds)


def _section(measure: Measure, lines: Sequence[Line]) -> Section:
    front = pareto(lines, measure.of)
    best = set(map(id, front))
    others = (line for line in lines if id(line) not in best)
    made = (_point(measure, line, id(line) in best) for line in chain(front, others))
    points = list(islice(filter(None, made), DRAWN))
    if not points:
        return Section(measure, None, ())
    levels = [(line.name, line.row.mean) for line in lines if line.row.is_first_stage and line.row.mean is not None]
    about = f"{figures.VALUE} upwards, {measure.axis} to the right on a logarithmic axis, with 95 % intervals."
    about = f"{about} Filled points are on the front: {', '.join(line.name for line in front)}. The table has them."
    title = f"Mean nDCG@10 against {measure.axis}"
    levels = list(dict.fromkeys(levels))  # a first stage cut at two depths often has one score
    figure = figures.frontier(f"f-{measure.key}", points, levels, axis=measure.axis, title=title, about=about)
    return Section(measure, figure, front)


def _point(measure: Measure, line: Line, best: bool) -> figures.Point | None:
    cost, row = measure.of(line.row.spent), line.row
    if not cost or row.mean is None or row.interval is None:
        return None
    label, short = f"{line.name} over {row.candidates}", f"{line.name.split('/')[-1]} ({row.candidates})"
    return figures.Point(label, short, cost / measure.unit, row.mean, row.interval, best)
