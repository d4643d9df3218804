"""The pages of each ranking: its overview and heat map, with data for the browser, and effectiveness against cost."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from exabench.bench.contamination import exposure_of
from exabench.board.pages._format import training
from exabench.board.pages._page import (
    WRITTEN,
    Page,
    Values,
    efficiency_page,
    heat_page,
    overview_data,
    ranking_page,
    scores_data,
    script,
    stamp,
)
from exabench.board.pages.downloads import row_record, short
from exabench.board.pages.figures import VALUE, CostPoint, ListScores, frontier, panels
from exabench.board.ranking import Board, CostSummary, Ranking, ResultSummary, Row, group_by, members
from exabench.core.licences import is_open_for_software
from exabench.core.nouns import FIRST_STAGE, Submission, Task
from exabench.measure.metric_values import mean

DRAWN = 40  # lines of a candidate list in the overview's figure; its table holds all
POINTS = 200  # points in a figure of costs, those of the front first
SHOWN = 20_000  # cells of tasks that an overview shows before it is asked for them
_STEPS = (0.005, 0.02, 0.05, 0.1)  # from which a difference has the next colour, as in overview.js and heat.html


class Column(NamedTuple):
    """One column of the overview: `kind` is "" for text, "number" (more first) or "up" (less first)."""

    key: str
    label: str
    kind: str = ""
    about: str = ""
    shown: int = 1  # from the start


COLUMNS = (
    Column("group", "Group", "up", "rank group: the data cannot tell its members from the best of the group"),
    Column("name", "Submission"),
    Column(
        "mean", "Mean nDCG@10", "number", "mean of the headline metric over the tasks x 100, with its 95 % interval"
    ),
    Column("gain", "Over first stage", "number"),
    Column("stage", "First stage"),
    Column("depth", "Depth", "number"),
    Column("zero", "Zero-shot", "", "does the training data meet no task? unknown where it is not declared"),
    Column("state", "State"),
    Column("owner", "Owner", "", "who sent it, and how many submissions of theirs are in this table"),
    Column("flops", "TFLOPs per query", "up"),
    Column("parameters", "Parameters, millions", "up"),
    Column("latency", "Seconds per query", "up"),
    Column("licence", "Licence"),
    Column("training", "Training data"),
    Column("date", "Date"),
    Column("kind", "Kind", shown=0),
    Column("family", "Family", shown=0),
)


def pages(board: Board) -> Iterator[Page]:
    """For each ranking an overview, its heat map, the two script files that hold the columns of both, and its costs."""
    for ranking in board.rankings:
        yield Page(heat_page(board, ranking), partial(heat, board, ranking), "heat.html")
        yield Page(ranking_page(board, ranking), partial(overview, board, ranking), "overview.html")
        yield Page(overview_data(ranking), partial(columns_script, board, ranking))
        yield Page(scores_data(ranking), partial(scores_script, board, ranking))
        yield Page(efficiency_page(board, ranking), partial(efficiency, ranking), "efficiency.html")


def overview(board: Board, ranking: Ranking) -> Values:
    """An overview: the board seen through the tasks of one ranking."""
    # An owner's submissions are counted, not their lines.
    owners = {row.submission.slug: row.submission.owner for row in ranking.rows}
    lines = [(row, exposure(board, ranking.tasks, row.submission)) for row in ranking.rows[:WRITTEN]]

    # The figure: one panel for each task, one column in it for each candidate list.
    by_list = group_by(ranking.rows, lambda row: row.candidates)
    drawn = []
    for t in ranking.tasks:
        lists = []
        for _, rows in sorted(by_list.items()):
            best = None
            first_stage = None
            others = []
            for row in rows:
                value = row.values.get(t.name)
                if value is None:
                    continue
                best = best or row
                if row.is_first_stage:
                    first_stage = value
                else:
                    others.append(value)
            if best:  # lists without a result on this task have no column
                # The ceiling belongs to the candidates, so any finished row has it.
                ceiling = mean(summary.ceiling for summary in best.results if summary.task in members(t))
                lists.append(ListScores(best.stage, f"top {best.depth}", first_stage, ceiling, others[:DRAWN]))
        if lists:
            drawn.append((t.name, lists))
    about = "For each task and candidate list: the first stage, those who reranked it, and the ceiling."
    about = f"{about} The vertical axis is the headline metric x 100. The scores are in the table above."
    figure = panels("scores", drawn, "Score by first stage and depth", about)
    return {
        "ranking": ranking,
        "columns": COLUMNS,
        "lines": lines,
        "owners": Counter(owners.values()),
        "shows_tasks": _shows_tasks(ranking),
        "scores": figure,
        "stamp": _stamp(ranking.rows),
    }


def _stamp(rows: Sequence[Row]) -> tuple[str, str]:
    shown: list[ResultSummary] = []
    for row in rows:
        shown += row.results
    return stamp(shown)


def exposure(board: Board, tasks: Sequence[Task], submission: Submission) -> str:
    """Does the training data meet a task? For each y(es), n(o) or u(nknown); a first stage was trained on nothing."""
    if submission.slug == FIRST_STAGE:
        return "n" * len(tasks)
    training = board.trainings.get(submission.slug)
    return "".join(exposure_of(submission, task, training)[0] for task in tasks)


def columns_script(board: Board, ranking: Ranking) -> bytes:
    """The columns of an overview, which every reader of it loads: a value for each line."""
    columns: dict[str, list[Any]] = {}
    for row in ranking.rows:
        sent = row.submission
        record = row_record(row)
        for key in ("submission", "flops_paper", "wanted"):  # no table in the browser shows them
            del record[key]
        record |= {
            "name": row.name,
            "slug": sent.slug,
            "owner": sent.owner,
            "open": int(is_open_for_software(sent.licence)),
            "training_data": training(sent, 3),
            "exposure": exposure(board, ranking.tasks, sent),
            "family": sent.family,
            "why": row.spent.why,
        }
        # By column: a key is written once, not once for each line. overview.js renames some (difference: gain).
        for key, value in record.items():
            if isinstance(value, float):
                value = short(value)
            columns.setdefault(key, []).append(value)
    return script(
        "overview",
        {
            "build": board.build_digest[:12],
            "columns": COLUMNS,
            "tasks": [[t.name, int(not t.members)] for t in ranking.tasks],
            "showTasks": int(_shows_tasks(ranking)),
            "firstStage": FIRST_STAGE,
            "lines": columns,
        },
    )


def scores_script(board: Board, ranking: Ranking) -> bytes:
    """The columns of an overview's tasks, loaded when a reader asks for one."""
    values = []
    for t in ranking.tasks:
        values.append([short(row.values.get(t.name)) for row in ranking.rows])
    return script("scores", {"build": board.build_digest[:12], "values": values})


def _shows_tasks(ranking: Ranking) -> bool:
    """Are there few enough cells to show a column for each task at once?"""
    return len(ranking.rows) * len(ranking.tasks) <= SHOWN


def heat(board: Board, ranking: Ranking) -> Values:
    """The first lines against their first stage; the browser turns to the others and to other baselines."""
    first_stages = {}
    rows = []
    for row in ranking.rows:
        if row.is_first_stage:
            first_stages[row.candidates] = row.values
        else:
            rows.append(row)
    lines = []
    for row in rows[:WRITTEN]:
        before = first_stages.get(row.candidates, {})
        cells = []
        for t, met in zip(ranking.tasks, exposure(board, ranking.tasks, row.submission), strict=True):
            # Without both values there is nothing to hold a dagger either.
            cell: tuple[float | None, str] = (None, "")
            if t.name in row.values and t.name in before:
                cell = (row.values[t.name] - before[t.name], met)
            cells.append(cell)
        lines.append((row, cells))
    return {
        "ranking": ranking,
        "lines": lines,
        "shade": shade,
        "count": len(rows),
        "stamp": _stamp(ranking.rows),
    }


def shade(difference: float | None) -> str:
    """The class of a cell's colour; a hatched one where there is no difference."""
    if difference is None:
        return "gap"
    step = bisect_right(_STEPS, abs(difference))
    if step == 0:
        return "level"
    direction = "up" if difference > 0 else "down"
    return f"{direction}{step}"


class CostMeasure(NamedTuple):
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


def efficiency(ranking: Ranking) -> Values:
    """The page: a figure for each measure of cost, then the table behind them: its fronts and the best means."""
    rows = []
    places = set()
    for row in ranking.rows:
        if row.mean is not None:
            rows.append(row)
            places.add(row.spent.hardware)
    hardware = sorted(places - {""})
    measures = list(MEASURES)
    for number, place in enumerate(hardware or [""], 1):  # seconds of two machines do not compare
        key = "latency"
        if number > 1:
            key = f"{key}-{number}"
        title = "Latency"
        if place:
            title = f"{title} on {place}"
        measures.append(CostMeasure(key, title, "seconds per query, median", 1, partial(_seconds, place)))

    sections = []
    # Rows hold a dictionary and cannot be keys: places stand for them.
    fronts: list[list[str]] = [[] for _ in rows]  # the keys of the figures in which a row is on the front
    levels = dict.fromkeys((row.name, row.mean or 0.0) for row in rows if row.is_first_stage)
    for measure in measures:
        # The front comes first, so that a long list of points loses none of it.
        front = pareto_front(rows, measure.of)
        order = dict.fromkeys((*front, *range(len(rows))))
        points = []
        for number in order:
            row = rows[number]
            cost = measure.of(row.spent)
            if cost and row.mean is not None and row.interval is not None:
                label = f"{row.name} over {row.candidates}"
                model = row.name.split("/")[-1]
                brief = f"{model} ({row.candidates})"
                points.append(CostPoint(label, brief, cost / measure.unit, row.mean, row.interval, number in front))
        figure = None
        if points:  # some cost is known in this measure
            names = ", ".join(rows[number].name for number in front)
            about = f"{VALUE} upwards, {measure.axis} to the right on a logarithmic axis, with 95 % intervals."
            about = f"{about} Filled points are on the front: {names}. The table has them."
            title = f"Mean nDCG@10 against {measure.axis}"
            key = f"f-{measure.key}"
            figure = frontier(key, points[:POINTS], list(levels), axis=measure.axis, title=title, about=about)
        sections.append((measure, figure))
        for number in front:
            fronts[number].append(measure.key)
    lines = []
    for number, row in enumerate(rows):
        if number < WRITTEN or fronts[number]:
            lines.append((row, ", ".join(fronts[number])))
    return {
        "ranking": ranking,
        "lines": lines,
        "count": len(rows),
        "sections": sections,
        "stamp": _stamp(rows),
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
