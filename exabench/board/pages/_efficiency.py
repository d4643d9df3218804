"""Effectiveness against cost: the efficiency page of a ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from exabench.board.pages._page import WRITTEN, Page, efficiency_page, stamp
from exabench.board.pages.figures import VALUE, CostPoint, frontier
from exabench.board.ranking import Board, CostSummary, Ranking, Row

DRAWN = 200  # points in a figure, those of the front first


def pages(board: Board) -> Iterator[Page]:
    """Effectiveness against cost, for each ranking of the board."""
    for ranking in board.rankings:
        yield Page(efficiency_page(board, ranking), partial(efficiency, board, ranking), "efficiency.html")


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


def efficiency(board: Board, ranking: Ranking) -> dict[str, Any]:
    """The page: a figure for each measure of cost, then the table behind them: its fronts and the best means."""
    rows = [row for row in ranking.rows if row.mean is not None]
    measures = list(MEASURES)
    hardware = sorted({row.spent.hardware for row in rows} - {""})
    for number, place in enumerate(hardware or [""], 1):  # seconds of two machines do not compare
        key = "latency" if number == 1 else f"latency-{number}"
        title = f"Latency on {place}" if place else "Latency"
        measures.append(CostMeasure(key, title, "seconds per query, median", 1, partial(_seconds, place)))

    sections = []
    fronts: list[list[str]] = [[] for _ in rows]  # the keys of the figures in which a row is on the front
    for measure in measures:
        front = pareto_front(rows, measure.of)
        figure = _figure(measure, rows, front)
        sections.append((measure, figure))
        if figure:
            for place_of_row in front:
                fronts[place_of_row].append(measure.key)
    lines = []
    for number, row in enumerate(rows):
        if number < WRITTEN or fronts[number]:
            lines.append((row, ", ".join(fronts[number])))
    return {
        "ranking": ranking,
        "lines": lines,
        "count": len(rows),
        "left_out": len(ranking.rows) - len(rows),
        "sections": sections,
        "stamp": stamp(summary for row in rows for summary in row.results),
    }


def _seconds(place: str, spent: CostSummary) -> float | None:
    return spent.p50 if spent.hardware == place else None


def pareto_front(rows: Sequence[Row], cost: Callable[[CostSummary], float | None]) -> list[int]:
    """The places of rows, cheapest first, that no other beats: none is as cheap and better, or as good and cheaper."""
    paid = []
    for place, row in enumerate(rows):
        price = cost(row.spent)
        if price and row.mean is not None:
            paid.append((price, -row.mean, place))
    front: list[tuple[float, float, int]] = []
    for one in sorted(paid):
        if not front or one[1] < front[-1][1] or one[:2] == front[-1][:2]:
            front.append(one)
    return [place for _, _, place in front]


def _figure(measure: CostMeasure, rows: Sequence[Row], front: Sequence[int]) -> Markup | None:
    """The figure of a measure, or None where no cost is known in it."""
    points = []
    best = set(front)
    for place in (*front, *(place for place in range(len(rows)) if place not in best)):
        row = rows[place]
        cost = measure.of(row.spent)
        if cost and row.mean is not None and row.interval is not None:
            label = f"{row.name} over {row.candidates}"
            short = f"{row.name.split('/')[-1]} ({row.candidates})"
            points.append(CostPoint(label, short, cost / measure.unit, row.mean, row.interval, place in best))
    if not points:
        return None
    levels = dict.fromkeys((row.name, row.mean or 0.0) for row in rows if row.is_first_stage)
    names = ", ".join(rows[place].name for place in front)
    about = f"{VALUE} upwards, {measure.axis} to the right on a logarithmic axis, with 95 % intervals."
    about = f"{about} Filled points are on the front: {names}. The table has them."
    title = f"Mean nDCG@10 against {measure.axis}"
    return frontier(f"f-{measure.key}", points[:DRAWN], list(levels), axis=measure.axis, title=title, about=about)
