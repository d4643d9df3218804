"""The pages of each contest: its overview and its heat map, with data for the browser."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from exabench.bench.contamination import exposure_of
from exabench.board.pages._citing import cite_table
from exabench.board.pages._format import training
from exabench.board.pages._page import (
    WRITTEN,
    Page,
    Values,
    heat_page,
    overview_data,
    overview_page,
    result_page,
    scores_data,
    script,
    stamp,
)
from exabench.board.pages.downloads import row_record, short
from exabench.board.ranking import Board, Contest, Ranking, Row
from exabench.board.summaries import ResultSummary
from exabench.core.licences import is_open_for_software
from exabench.core.nouns import FIRST_STAGE, Task

SHOWN = 20_000  # cells of tasks that an overview shows before it is asked for them
_STEPS = (0.005, 0.02, 0.05, 0.1)  # from which a difference has the next colour, as in overview.js and heat.html


class Column(NamedTuple):
    """One column of the overview, of a field of its rows' records.

    `kind` is "" for text, "number" (more first) or "up" (less first).
    """

    key: str
    label: str
    field: str
    kind: str = ""
    about: str = ""
    shown: int = 1  # from the start


COLUMNS = (
    Column("name", "System", "system"),
    Column("group", "Group", "group", "up", "systems of one group are not significantly different from its best"),
    Column("mean", "Mean", "mean", "number", "mean of the headline metric over the tasks, and 95% interval"),
    Column("gain", "Over first stage", "difference", "number"),
    Column("kind", "Type", "type"),
    Column("stage", "First stage", "first_stage"),
    Column("depth", "Depth", "depth", "number"),
    Column("parameters", "Parameters, M", "parameters", "up", "parameters in millions"),
    Column("flops", "TFLOPs / query", "flops_exact", "up"),
    Column("latency", "Seconds / query", "seconds_p50", "up"),
    Column("zero", "Zero-shot", "exposure", "", "was it trained on none of the tasks? unknown if not disclosed"),
    Column("licence", "Licence", "licence"),
    Column("training", "Training data", "training_data"),
    Column("link", "Model", "link", "", "where the model is"),
    Column("owner", "Owner", "owner"),
    Column("state", "State", "states"),
    Column("date", "Date", "date", shown=0),
    Column("family", "Family", "family", shown=0),
    Column("more", "More queries", "more_queries", "up", "that would separate it from the next of its group", 0),
)
_ALWAYS = ("name", "mean")
_SAME_IN_A_CONTEST = ("stage", "depth")
_OF_RERANKERS = ("gain", "flops", "parameters", "latency")  # a first stage has none, or 0
_COMPARED = ("depth", "flops", "latency")  # they say little until two rows differ in them


def pages(board: Board) -> Iterator[Page]:
    """For each contest its overview, its heat map, and two data files of both."""
    for ranking in board.rankings:
        for contest in ranking.tables:
            yield Page(heat_page(board, ranking, contest), partial(heat, board, ranking, contest), "heat.html")
            page = overview_page(board, ranking, contest)
            yield Page(page, partial(overview, board, ranking, contest), "overview.html")
            yield Page(overview_data(ranking, contest), partial(columns_script, board, ranking, contest))
            yield Page(scores_data(ranking, contest), partial(scores_script, board, ranking, contest))


def overview(board: Board, ranking: Ranking, contest: Contest) -> Values:
    """An overview: the board seen through the tasks of one ranking and one candidate list, or all."""
    rows = contest.shown
    shown = _stamp(rows)
    return {
        "ranking": ranking,
        "contest": contest,
        "columns": _filled_columns(ranking, contest, overview_records(board, ranking, contest)),
        "lines": list(zip(rows, overview_records(board, ranking, contest), strict=True))[:WRITTEN],
        "count": len(rows),
        "shows_tasks": _shows_tasks(ranking),
        "citation": cite_table(board, ranking, contest, shown[0]),
        "stamp": shown,
    }


def _stamp(rows: Sequence[Row]) -> tuple[str, str]:
    shown: list[ResultSummary] = []
    for row in rows:
        shown += row.results
    return stamp(shown)


def exposure(board: Board, tasks: Sequence[Task], row: Row) -> str:
    """Was the system trained on a task? For each task y(es), n(o) or u(nknown)."""
    sent = row.submission
    if row.is_first_stage:
        sent = replace(sent, training_data=row.credit.training_data)
    training = board.trainings.get(sent.slug)
    return "".join(exposure_of(sent, task, training)[0] for task in tasks)


def overview_records(board: Board, ranking: Ranking, contest: Contest) -> list[dict[str, Any]]:
    """What an overview says of each row, with what a browser filters by."""
    records = []
    for row in contest.shown:
        sent = row.submission
        record = row_record(row)
        for key in ("submission", "flops_paper", "wanted"):  # no table in the browser shows them
            del record[key]
        records.append(
            record
            | {
                "slug": sent.slug,
                # A submission has a page, a first stage only its results: all of them are one submission.
                "page": result_page(row.results[0]) if row.is_first_stage else "",
                "open": int(is_open_for_software(record["licence"])),
                "training_data": training(row.credit, 3),
                "exposure": exposure(board, ranking.tasks, row),
                "family": sent.family,
                "why": row.spent.why,
            }
        )
    return records


def _filled_columns(ranking: Ranking, contest: Contest, records: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns in which some row of an overview says something."""
    rerankers = [record for record in records if record["slug"] != FIRST_STAGE]
    filled = []
    for column in COLUMNS:
        if contest.candidates and column.key in _SAME_IN_A_CONTEST:
            continue
        if column.key == "mean":
            column = column._replace(label=ranking.mean_of)
        asked = rerankers if column.key in _OF_RERANKERS else records
        said = {record[column.field] for record in asked} - {None, ""}
        if column.key in _COMPARED and len(said) == 1:
            column = column._replace(shown=0)
        if column.key in _ALWAYS or said:
            filled.append(column)
    return filled


def columns_script(board: Board, ranking: Ranking, contest: Contest) -> bytes:
    """The columns of an overview, which every reader of it loads: a value for each row."""
    records = overview_records(board, ranking, contest)
    columns: dict[str, list[Any]] = {}
    for record in records:
        # By column: a key is written once, not once for each row.
        for key, value in record.items():
            if isinstance(value, float):
                value = short(value)
            columns.setdefault(key, []).append(value)
    return script(
        "overview",
        {
            "build": board.build_digest[:12],
            "columns": _filled_columns(ranking, contest, records),
            "tasks": [[t.name, int(not t.members)] for t in ranking.tasks],
            "showTasks": int(_shows_tasks(ranking)),
            "firstStage": FIRST_STAGE,
            "list": contest.candidates,
            "lines": columns,
        },
    )


def scores_script(board: Board, ranking: Ranking, contest: Contest) -> bytes:
    """The columns of an overview's tasks, loaded when a reader asks for one."""
    rows = contest.shown
    values = []
    for t in ranking.tasks:
        values.append([short(row.values.get(t.name)) for row in rows])
    return script("scores", {"build": board.build_digest[:12], "values": values})


def _shows_tasks(ranking: Ranking) -> bool:
    """Are there few enough cells to show a column for each task at once?"""
    return len(ranking.rows) * len(ranking.tasks) <= SHOWN


def heat(board: Board, ranking: Ranking, contest: Contest) -> Values:
    """The first rows of a contest against their first stage; the browser turns to the others and to other baselines."""
    first_stages = {}
    rows = []
    for row in contest.shown:
        if row.is_first_stage:
            first_stages[row.candidates] = row.values
        else:
            rows.append(row)
    lines = []
    for row in rows[:WRITTEN]:
        before = first_stages.get(row.candidates, {})
        cells = []
        for t, met in zip(ranking.tasks, exposure(board, ranking.tasks, row), strict=True):
            # Without both values there is nothing to hold a dagger either.
            cell: tuple[float | None, str] = (None, "")
            if t.name in row.values and t.name in before:
                cell = (row.values[t.name] - before[t.name], met)
            cells.append(cell)
        lines.append((row, cells))
    return {
        "ranking": ranking,
        "contest": contest,
        "lines": lines,
        "shade": shade,
        "count": len(rows),
        "stamp": _stamp(rows),
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
