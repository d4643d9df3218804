"""The pages of studies: what every setting of a training got, what was tested, and what was published."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from exabench.bench.study_reports import MACHINERY, NOT_AVAILABLE, StudyCell, StudyComparison, StudyReport, StudyRow
from exabench.board.pages._page import Page, Values, study_page
from exabench.board.pages.figures import ListScores, ScorePoint, scores
from exabench.board.ranking import Board, group_by


class StudyLine(NamedTuple):
    """A row of a study's table, the test against the baseline where there is one, and its anchor on the page."""

    anchor: str
    row: StudyRow
    tested: StudyComparison | None


class CellLine(NamedTuple):
    """A cell of a study; `slug` is the submission of its model where the board has that, else empty."""

    cell: StudyCell
    slug: str


def pages(board: Board) -> Iterator[Page]:
    """The list of studies, where there are any, and each one's page."""
    if board.studies:
        yield Page("studies/index.html", dict, "studies.html")
    for report in board.studies:
        yield Page(study_page(report.name), partial(study, board, report), "study.html")


def study(board: Board, report: StudyReport) -> Values:
    """The page of one study."""
    lines = []
    for place, row in enumerate(report.rows, 1):
        lines.append(StudyLine(f"row-{place}", row, report.against_baseline(row)))
    lists = []
    for task, of_task in group_by(lines, lambda line: line.row.task).items():
        points = []
        for line in of_task:
            row = line.row
            points.append(ScorePoint(row.setting, f"#{line.anchor}", row.value, (row.low, row.high), row.first_stage))
        lists.append(ListScores(task, of_task[0].row.metric, points))
    about = "The mean over seeds x 100 to the right, with 95% intervals over queries; hollow points are first stages."
    # A model of the board is one of the study's where the same recipe, on the same data, made it.
    slugs = {training.values["fingerprint"]: slug for slug, training in board.trainings.items()}
    cells = []
    for cell in report.cells:
        cells.append(CellLine(cell, slugs.get(cell.fingerprint, "")))
    return {
        "report": report,
        "lines": lines,
        "figure": scores("study", lists, f"{report.title}: every setting on every task", about),
        "cells": cells,
        "datasets": {release.name for release in board.datasets},
        "machinery": MACHINERY,
        "not_available": NOT_AVAILABLE,
    }
