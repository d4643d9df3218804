"""The page of each contest on which what its systems got stands against what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from exabench.board.pages._page import WRITTEN, Page, Values, efficiency_page, stamp, submission_page
from exabench.board.pages.figures import CostPoint, frontier
from exabench.board.ranking import Board, Contest, CostSummary, Ranking, Row
from exabench.board.summaries import ResultSummary

POINTS = 200  # points in a figure, those of the front first


class CostMeasure(NamedTuple):
    """One way to say what a system cost."""

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


def pages(board: Board) -> Iterator[Page]:
    """A page for each contest: over different first stages, whose own cost no one counted, costs do not compare."""
    for ranking in board.rankings:
        for contest in ranking.contests or ranking.tables:
            page = efficiency_page(board, ranking, contest)
            yield Page(page, partial(efficiency, board, ranking, contest), "efficiency.html")


def efficiency(board: Board, ranking: Ranking, contest: Contest) -> Values:
    """The page: a figure for each measure of cost, then the table behind them: its fronts and the best means."""
    rows = []
    shown: list[ResultSummary] = []
    places = set()
    for row in contest.rows:
        if row.mean is not None:
            rows.append(row)
            shown += row.results
            places.add(row.spent.hardware)
    hardware = sorted(places - {""})
    measures = list(MEASURES)
    for number, place in enumerate(hardware, 1):  # seconds of two machines do not compare
        key = "latency"
        if number > 1:
            key = f"{key}-{number}"
        of = partial(_seconds, place)
        measures.append(CostMeasure(key, f"Latency on {place}", "seconds per query", 1, of))

    root = "../" * efficiency_page(board, ranking, contest).count("/")
    sections = []
    # Rows hold a dictionary and cannot be keys: places stand for them.
    fronts: list[list[str]] = [[] for _ in rows]  # the keys of the figures in which a row is on the front
    for measure in measures:
        costs = [_cost(row, measure) for row in rows]
        if not any(costs):  # no one's cost is known in this measure
            continue
        # The front comes first, so that a long list of points loses none of it.
        front = pareto_front(rows, costs)
        points = []
        for number in dict.fromkeys((*front, *range(len(rows)))):
            row = rows[number]
            cost = costs[number]
            if cost is not None and row.mean is not None and row.interval is not None:
                page = root + submission_page(row.submission.slug)
                brief = row.name.split("/")[-1]
                is_best = number in front
                points.append(CostPoint(row.name, brief, page, cost / measure.unit, row.mean, row.interval, is_best))
        names = ", ".join(rows[number].name for number in front)
        value = f"{ranking.mean_of} × 100"
        about = f"{value} upwards, {measure.axis} to the right on a logarithmic axis, with 95% intervals."
        about = f"{about} Filled points are on the front: {names}. The table has the numbers."
        title = f"{ranking.mean_of} against {measure.axis}, over {contest.title}"
        key = f"f-{measure.key}"
        figure = frontier(key, points[:POINTS], axis=measure.axis, value=value, title=title, about=about)
        sections.append((measure, figure))
        for number in front:
            fronts[number].append(measure.key)
    lines = []
    for number, row in enumerate(rows):
        if number < WRITTEN or fronts[number]:
            lines.append((row, ", ".join(fronts[number])))
    return {
        "ranking": ranking,
        "contest": contest,
        "lines": lines,
        "count": len(rows),
        "sections": sections,
        "stamp": stamp(shown),
    }


def _seconds(place: str, spent: CostSummary) -> float | None:
    return spent.p50 if spent.hardware == place else None


def _cost(row: Row, measure: CostMeasure) -> float | None:
    """What a row cost: a first stage reranked nothing, by any measure."""
    return 0.0 if row.is_first_stage else measure.of(row.spent)


def pareto_front(rows: Sequence[Row], costs: Sequence[float | None]) -> list[int]:
    """The places of rows, cheapest first, that no other beats: none is as cheap and better, or as good and cheaper.

    `costs` are theirs, None where one is not known.
    """
    known = []
    for place, (row, cost) in enumerate(zip(rows, costs, strict=True)):
        if cost is not None and row.mean is not None:
            known.append((cost, -row.mean, place))
    front: list[tuple[float, float, int]] = []
    for one in sorted(known):
        if not front or one[1] < front[-1][1] or one[:2] == front[-1][:2]:
            front.append(one)
    return [place for _, _, place in front]
