"""The overviews of a board's rankings and their heat maps, with the data of both for the browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from exabench.bench.contamination import exposed
from exabench.board.pages._format import NOTHING, first_stage, signed, training_shortly
from exabench.board.pages._page import Page, script
from exabench.board.pages._paths import heat_page, overview_data, ranking_page, scores_data
from exabench.board.pages._views import WRITTEN, Line, View, stamp
from exabench.board.pages.downloads import row_record, short
from exabench.board.pages.figures import ListScores, panels
from exabench.core.licences import is_open_for_software
from exabench.core.nouns import FIRST_STAGE, Submission, Task
from exabench.measure.metric_values import mean

if TYPE_CHECKING:
    from exabench.board.ranking import Board, Ranking, Row

DRAWN = 40  # lines of a candidate list in the overview's figure; its table holds all
SHOWN = 20_000  # cells of tasks that an overview shows before it is asked for them


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the overview: `kind` is "" for text, "number" (more first) or "up" (less first)."""

    key: str
    label: str
    kind: str = ""
    about: str = ""
    shown: bool = True


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
    Column("kind", "Kind", shown=False),
    Column("family", "Family", shown=False),
)


def pages(view: View) -> Iterator[Page]:
    """For each ranking an overview, its heat map, and the two script files that hold the columns of both."""
    for ranking in view.board.rankings:
        yield Page(heat_page(view.board, ranking), partial(heat, view, ranking), "heat.html")
        yield Page(ranking_page(view.board, ranking), partial(overview, view, ranking), "overview.html")
        yield Page(overview_data(ranking), partial(columns_script, view, ranking))
        yield Page(scores_data(ranking), partial(scores_script, view, ranking))


def overview(view: View, ranking: Ranking) -> dict[str, Any]:
    """An overview: the board seen through the tasks of one ranking."""
    board = view.board
    lines = view.lines(ranking)
    senders = {line.row.submission.slug: line.row.submission.owner for line in lines}
    shown_tasks = ranking.tasks if _shows_tasks(ranking) else ()
    return {
        "ranking": ranking,
        "columns": [column for column in COLUMNS if column.shown],
        "lines": [(line, exposure(board, ranking.tasks, line.row.submission)) for line in lines[:WRITTEN]],
        "cells": partial(_cells, shown_tasks),
        "count": len(lines),
        "owners": Counter(senders.values()),
        "zero_shot": zero_shot,
        "tasks": ranking.tasks,
        "shown_tasks": shown_tasks,
        "submissions": sum(s.kind != "baseline" and not s.withdrawn for s in board.submissions.values()),
        "withdrawn": sorted(board.withdrawn, key=lambda s: s.name),
        "scores": _figure(ranking),
        "stamp": stamp(result for row in ranking.rows for result in row.results),
    }


def exposure(board: Board, tasks: Sequence[Task], submission: Submission) -> str:
    """Does the training data meet a task? For each y(es), n(o) or u(nknown); a first stage was trained on nothing."""
    if submission.slug == FIRST_STAGE:
        return "n" * len(tasks)
    training = board.trainings.get(submission.slug)
    return "".join(exposed(submission, t, training)[0] for t in tasks)


def zero_shot(letters: str) -> str:
    """Does what was learnt meet none of these tasks? "yes", "no" where it meets one, "unknown" otherwise."""
    if "y" in letters:
        return "no"
    return "unknown" if "u" in letters else "yes"


def columns_script(view: View, ranking: Ranking) -> bytes:
    """The columns of an overview, which every reader of it loads: a value for each line."""
    cells = [_line(view.board, ranking, line) for line in view.lines(ranking)]
    return script(
        "overview",
        {
            "build": view.everything[:12],
            "columns": [[c.key, c.label, c.kind, c.about, int(c.shown)] for c in COLUMNS],
            "tasks": [[t.name, int(not t.members)] for t in ranking.tasks],
            "showTasks": int(_shows_tasks(ranking)),
            "firstStage": FIRST_STAGE,
            "lines": {key: [line[key] for line in cells] for key in cells[0]} if cells else {},
        },
    )


def scores_script(view: View, ranking: Ranking) -> bytes:
    """The columns of an overview's tasks, loaded when a reader asks for one."""
    values = [[short(row.values.get(t.name)) for row in ranking.rows] for t in ranking.tasks]
    return script("scores", {"build": view.everything[:12], "values": values})


def _line(board: Board, ranking: Ranking, line: Line) -> dict[str, Any]:
    """A line's record of the downloads, floats shortened, with what the browser needs besides."""
    sent = line.row.submission
    record = {key: short(value) if isinstance(value, float) else value for key, value in row_record(line).items()}
    for key in ("submission", "flops_paper", "wanted"):  # no table in the browser shows them
        del record[key]
    return {
        **record,
        "name": line.name,
        "slug": sent.slug,
        "owner": sent.owner,
        "open": int(is_open_for_software(sent.licence)),
        "training_data": training_shortly(sent),
        "exposure": exposure(board, ranking.tasks, sent),
        "family": sent.family,
        "why": line.row.spent.why,
    }


def _shows_tasks(ranking: Ranking) -> bool:
    """Are there few enough cells to show a column for each task at once?"""
    return len(ranking.rows) * len(ranking.tasks) <= SHOWN


def _cells(tasks: Sequence[Task], row: Row) -> list[tuple[Task, float | None, Any]]:
    """For each task its value, and the result behind it: none for the mean of several."""
    by_task = {result.task: result for result in row.results}
    return [(t, row.values.get(t.name), by_task.get(t.name)) for t in tasks]


def _figure(ranking: Ranking) -> Markup:
    """Score by first stage and depth: a panel for each task, in it the lines over each candidate list."""
    by_list: dict[str, list[Row]] = {}
    for row in ranking.rows:
        by_list.setdefault(row.candidates, []).append(row)
    drawn = []
    for t in ranking.tasks:
        lists = []
        for _, rows in sorted(by_list.items()):
            finished = [row for row in rows if t.name in row.values]
            if finished:  # lists without a result on this task have no column
                lists.append(_list_scores(t, finished))
        if lists:
            drawn.append((t.name, lists))
    about = "For each task and candidate list: the first stage, those who reranked it, and the ceiling."
    about = f"{about} The vertical axis is the headline metric x 100. The scores are in the table above."
    return panels("scores", drawn, "Score by first stage and depth", about)


def _list_scores(t: Task, rows: Sequence[Row]) -> ListScores:
    stage = next((row.values[t.name] for row in rows if row.is_first_stage), None)
    others = [row.values[t.name] for row in rows if not row.is_first_stage]
    members = t.members or (t.name,)
    ceiling = mean(result.ceiling for result in rows[0].results if result.task in members)
    name = first_stage(rows[0].candidates)
    return ListScores(name, f"top {rows[0].depth}", stage, ceiling, tuple(others[:DRAWN]))


_STEPS = (
    0.005,
    0.02,
    0.05,
    0.1,
)  # differences from which a cell takes its next colour; overview.js and heat.html have them, too


@dataclass(frozen=True, slots=True)
class Shade:
    """One cell: its number, the class of its colour, and whether the training data meets the task."""

    text: str
    kind: str
    met: str = ""


def heat(view: View, ranking: Ranking) -> dict[str, Any]:
    """The first lines against their first stage; the browser turns to the others and to other baselines."""
    lines = [line for line in view.lines(ranking) if not line.row.is_first_stage]
    return {
        "ranking": ranking,
        "heat": True,
        "lines": [(line, shade(line.gain), _shades(view, ranking, line)) for line in lines[:WRITTEN]],
        "count": len(lines),
        "tasks": ranking.tasks,
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
    step = sum(abs(difference) >= limit for limit in _STEPS)
    direction = "up" if difference > 0 else "down"
    return Shade(signed(difference), f"{direction}{step}" if step else "level", met)
