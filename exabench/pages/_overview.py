"""The overviews of a board's rankings: the front page and those of its views, each with its data for the browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from exabench.metrics._measure import mean
from exabench.nouns import Task
from exabench.pages import figures
from exabench.pages._columns import COLUMNS, WRITTEN, Table, heat_page, overview_data, scores_data
from exabench.pages._exposed import zero_shot
from exabench.pages._format import first_stage
from exabench.pages._page import Group, Page
from exabench.pages._paths import ranking_page
from exabench.pages._views import View, stamp

if TYPE_CHECKING:
    from exabench.board import Ranking, Row

DRAWN = 40  # lines in the overview's figure; its table holds all


def pages(view: View) -> Iterator[Group]:
    """An overview for each ranking of the board, and the two script files that hold its columns."""
    for ranking in view.board.rankings:
        yield Group(overview_data(ranking), (view.everything,), partial(_pages, view, ranking))


def _pages(view: View, ranking: Ranking) -> Iterator[Page]:
    table = Table(view, ranking)
    yield Page(ranking_page(view.board, ranking), partial(overview, table), "overview.html")
    yield Page(overview_data(ranking), table.main)
    yield Page(scores_data(ranking), table.scores)


def overview(table: Table) -> dict[str, Any]:
    """An overview: the board seen through the tasks of one ranking."""
    board, ranking = table.view.board, table.ranking
    return {
        "ranking": ranking,
        "columns": [column for column in COLUMNS if column.shown],
        "lines": [(line, table.exposures.of(line.row.submission)) for line in table.lines[:WRITTEN]],
        "cells": partial(_cells, ranking.tasks if table.shows_tasks else ()),
        "count": len(table.lines),
        "owners": table.owners,
        "zero_shot": zero_shot,
        "tasks": ranking.tasks,
        "shown_tasks": ranking.tasks if table.shows_tasks else (),
        "data": overview_data(ranking),
        "scores_data": scores_data(ranking),
        "heat_page": heat_page(board, ranking),
        "submissions": sum(s.kind != "baseline" and not s.withdrawn for s in board.submissions.values()),
        "withdrawn": sorted(board.withdrawn, key=lambda s: s.name),
        "scores": _scores(ranking),
        "stamp": stamp(result for row in ranking.rows for result in row.results),
    }


def _cells(tasks: Sequence[Task], row: Row) -> list[tuple[Task, float | None, Any]]:
    """For each task its value, and the result behind it: none for the mean of several."""
    mine = {result.task: result for result in row.results}
    return [(t, row.values.get(t.name), mine.get(t.name)) for t in tasks]


def _scores(ranking: Ranking) -> Markup:
    over: dict[str, list[Row]] = {}
    for row in ranking.rows:
        over.setdefault(row.candidates, []).append(row)
    stages = {row.candidates: row for row in ranking.rows if row.is_first_stage}
    named = [
        (t.name, [g for name in sorted(over) if (g := _group(t, over[name], stages.get(name)))]) for t in ranking.tasks
    ]
    about = "For each task and candidate list: the first stage, those who reranked it, and the ceiling."
    about = f"{about} The vertical axis is the headline metric x 100. The scores are in the table above."
    return figures.panels("scores", [pair for pair in named if pair[1]], "Score by first stage and depth", about)


def _group(t: Task, rows: Sequence[Row], stage: Row | None) -> figures.Group | None:
    """A candidate list in the panel of a task: the first stage, and the best lines over it."""
    best = list(islice((row for row in rows if t.name in row.values), DRAWN + 1))
    if not best:
        return None
    others = tuple(row.values[t.name] for row in best if row is not stage)[:DRAWN]
    before = stage.values.get(t.name) if stage else None
    return figures.Group(first_stage(rows[0].candidates), f"top {rows[0].depth}", before, _ceiling(best[0], t), others)


def _ceiling(row: Row, t: Task) -> float:
    wanted = set(t.members or (t.name,))
    return mean(r.ceiling for r in row.results if r.task in wanted)
