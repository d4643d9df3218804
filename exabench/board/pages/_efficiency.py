"""Effectiveness against cost: the efficiency page of a ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from exabench.board.pages._page import Page
from exabench.board.pages._paths import efficiency_page
from exabench.board.pages._views import WRITTEN, Line, View, stamp
from exabench.board.pages.figures import VALUE, CostPoint, frontier

if TYPE_CHECKING:
    from exabench.board.ranking import CostSummary, Ranking

DRAWN = 200  # points in a figure, those of the front first


def pages(view: View) -> Iterator[Page]:
    """Effectiveness against cost, for each ranking of the board."""
    for ranking in view.board.rankings:
        make = partial(efficiency, view, ranking)
        yield Page(efficiency_page(view.board, ranking), make, "efficiency.html")


@dataclass(frozen=True)
class CostMeasure:
    """One way to say what a line cost."""

    key: str
    title: str
    axis: str
    unit: float
    of: Callable[[CostSummary], float | None]


MEASURES = (
    CostMeasure("exact", "FLOPs per query", "TFLOPs per query", 1e12, lambda spent: spent.flops_exact),
    CostMeasure("paper", "FLOPs as published", "TFLOPs per query, E2R-FLOPs", 1e12, lambda spent: spent.flops_paper),
    CostMeasure("parameters", "Parameters", "parameters, millions", 1e6, lambda spent: spent.parameters),
)


@dataclass(frozen=True)
class Section:
    """One figure of the page, or none where nobody's cost is known in that measure."""

    measure: CostMeasure
    figure: Markup | None
    front: Sequence[Line]


def efficiency(view: View, ranking: Ranking) -> dict[str, Any]:
    """The page: a figure for each measure of cost, then the table behind them: its fronts and the best means."""
    every = view.lines(ranking)
    lines = [line for line in every if line.row.mean is not None]
    sections = [_section(measure, lines) for measure in (*MEASURES, *_latencies(lines))]
    fronts: dict[Line, list[str]] = {}
    for section in sections:
        for line in section.front:
            fronts.setdefault(line, []).append(section.measure.key)
    written = [line for place, line in enumerate(lines) if place < WRITTEN or line in fronts]
    return {
        "ranking": ranking,
        "lines": [(line, ", ".join(fronts.get(line, ()))) for line in written],
        "count": len(lines),
        "left_out": len(every) - len(lines),
        "sections": sections,
        "stamp": stamp(result for line in lines for result in line.row.results),
    }


def pareto(lines: Sequence[Line], cost: Callable[[CostSummary], float | None]) -> list[Line]:
    """Those lines, cheapest first, that no other beats: none is as cheap and better, or as good and cheaper."""
    paid = []
    for line in lines:
        price = cost(line.row.spent)
        if price and line.row.mean is not None:
            paid.append((price, line.row.mean, line))
    front: list[tuple[float, float, Line]] = []
    for one in sorted(paid, key=lambda one: (one[0], -one[1])):
        if not front or one[1] > front[-1][1] or one[:2] == front[-1][:2]:
            front.append(one)
    return [line for _, _, line in front]


def _latencies(lines: Sequence[Line]) -> Iterator[CostMeasure]:
    """A measure for each hardware, because seconds of two machines do not compare."""
    places = sorted({line.row.spent.hardware for line in lines} - {""})
    for number, place in enumerate(places or [""], 1):
        key = "latency" if number == 1 else f"latency-{number}"
        title = f"Latency on {place}" if place else "Latency"
        yield CostMeasure(key, title, "seconds per query, median", 1, partial(_seconds, place))


def _seconds(place: str, spent: CostSummary) -> float | None:
    return spent.p50 if spent.hardware == place else None


def _section(measure: CostMeasure, lines: Sequence[Line]) -> Section:
    front = pareto(lines, measure.of)
    best = set(front)
    points = []
    for line in [*front, *(line for line in lines if line not in best)]:
        row = line.row
        cost = measure.of(row.spent)
        if cost and row.mean is not None and row.interval is not None:
            label = f"{line.name} over {row.candidates}"
            short = f"{line.name.split('/')[-1]} ({row.candidates})"
            points.append(CostPoint(label, short, cost / measure.unit, row.mean, row.interval, line in best))
    if not points:
        return Section(measure, None, ())
    levels = {(line.name, line.row.mean or 0.0): None for line in lines if line.row.is_first_stage}
    about = f"{VALUE} upwards, {measure.axis} to the right on a logarithmic axis, with 95 % intervals."
    about = f"{about} Filled points are on the front: {', '.join(line.name for line in front)}. The table has them."
    title = f"Mean nDCG@10 against {measure.axis}"
    key = f"f-{measure.key}"
    figure = frontier(key, points[:DRAWN], list(levels), axis=measure.axis, title=title, about=about)
    return Section(measure, figure, front)
