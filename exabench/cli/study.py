"""`exabench study`: one question, put to many trainings: run its cells, and compare them in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exabench.cli._command import (
    EXISTING_FOLDER,
    CommandGroup,
    Count,
    answer,
    answer_list,
    completing,
    data_option,
    dry_run_option,
    key_option,
    note,
    progress,
    set_option,
    table,
    to_option,
)
from exabench.core.files import json_text
from exabench.core.recipe import recipes

if TYPE_CHECKING:
    from exabench.bench.study_reports import StudyReport
    from exabench.studies.estimate import StudyEstimate

study_argument = click.argument(
    "study", shell_complete=completing(lambda: recipes("study")), help="Name of a study, or a TOML file."
)
FORMS = ("text", "markdown", "csv", "latex", "json")


@click.group(
    cls=CommandGroup,
    examples=("exabench study run mini-losses --to my-study", "exabench study report mini-losses --to my-study"),
)
def study() -> None:
    """Compare trainings that differ in a few settings."""


@study.command("list", examples=("exabench study list",))
def list_() -> None:
    """List the studies that come with exabench."""
    from exabench.studies.page import read_study

    told = {}
    rows = []
    for name in recipes("study"):
        found = read_study(name)
        tasks = ", ".join(dict.fromkeys(task.task for task in found.page.tasks))
        told[name] = {
            "title": found.page.title,
            "question": found.page.question,
            "checks": found.page.checks,
            "settings": list(found.settings),
            "cells": [str(cell) for cell in found.cells],
            "tasks": [task.task for task in found.page.tasks],
        }
        rows.append((name, found.page.title, found.page.checks, len(found.settings), len(found.cells), tasks))
    answer_list(told, ("study", "title", "checks", "settings", "cells", "tasks"), rows)


@study.command(
    examples=(
        "exabench study run mini-losses --to my-study",
        "exabench study run losses --data collections --dry-run",
        "exabench study run losses --data collections --only ranknet --only lce@1",
    )
)
@study_argument
@to_option("Work folder; a rerun resumes there.  [default: exabench-study/<study>]")
@click.option("--only", multiple=True, metavar="CELL", help="A setting, or a cell as in lce@1; repeatable.")
@click.option("--device", help="cpu, cuda:1, ...  [default: a GPU if there is one]")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run cells in local processes or on Ray.",
)
@click.option("--workers", type=Count(0), default=0, help="Number of workers, a cell each; 0: one per GPU.")
@dry_run_option
@set_option
@key_option
@data_option
def run(
    study: str,
    to: Path | None,
    only: tuple[str, ...],
    device: str | None,
    engine: str,
    workers: int,
    dry_run: bool,
    pairs: tuple[str, ...],
    data: Path | None,
) -> None:
    """Run every cell of STUDY that is not done: build its data, train its model, rerank the lists of every task.

    A cell is a setting with one seed. After an interruption the same command resumes; of a changed page only the
    changed cells are run. --set changes a key of the page: --set seeds=[1].
    """
    from exabench.studies.page import read_study

    page = read_study(study, pairs)
    folder = to or Path("exabench-study") / page.name
    if dry_run:
        from exabench.studies.estimate import estimate_study

        with progress("plan") as report:
            found = estimate_study(page, folder, data=data, only=only, progress=report)
        _answer_estimate(found)
        return
    from exabench.studies.running import run_study

    devices = [device] if device else []
    with progress(page.name) as report:
        done = run_study(
            page, folder, data=data, only=only, devices=devices, engine=engine, workers=workers, progress=report
        )
    chosen = page.chosen(only)
    value = {
        "folder": folder,
        "run": [str(cell) for cell in done],
        "cells": {str(cell): cell.key for cell in chosen},
    }
    rows = []
    for cell in chosen:
        rows.append((str(cell), cell.key, "run now" if cell in done else "done before"))
    text = table(("cell", "folder in cells/", ""), rows, left=3)
    answer(value, text, f"next: exabench study report {study} --to {folder}")


def _answer_estimate(found: StudyEstimate) -> None:
    """The cells of a study, and what is known of their cost."""
    from exabench.studies.estimate import estimate_lines

    rows = []
    for cell in found.cells:
        about = "at most " if cell.at_most else ""
        groups = "not known"
        if cell.groups is not None:
            groups = f"{about}{cell.groups:,}"
        steps = "not known"
        if cell.steps is not None:
            steps = f"{about}{cell.steps:,}"
        hours = ""
        if cell.hours is not None:
            hours = f"{cell.hours:.1f}"
        rows.append((cell.cell, cell.key, cell.state, groups, steps, hours))
    text = table(("cell", "folder in cells/", "state", "groups", "steps", "hours"), rows, left=3)
    answer(found.as_json(), text, *estimate_lines(found), "nothing was run or written")


@study.command(
    examples=(
        "exabench study report mini-losses --to my-study",
        "exabench study report losses --to my-study --format latex",
        "exabench study report losses --to my-study --board leaderboard",
    )
)
@study_argument
@to_option("Work folder of the study.  [default: exabench-study/<study>]")
@click.option(
    "--format", "form", type=click.Choice(FORMS), default="text", show_default=True, help="The form of the table."
)
@click.option("--board", type=EXISTING_FOLDER, help="Leaderboard folder.")
@set_option
@key_option
def report(study: str, to: Path | None, form: str, board: Path | None, pairs: tuple[str, ...]) -> None:
    """Compare the cells of STUDY: means over seeds, paired tests with Holm's correction, published figures.

    Writes report.json into the work folder; with --board also BOARD/studies/<study>/report.json, which the board's
    pages show.
    """
    from exabench.core.records import as_builtins
    from exabench.studies.page import read_study
    from exabench.studies.reporting import REPORT, report_study

    page = read_study(study, pairs)
    folder = to or Path("exabench-study") / page.name
    found = report_study(page, folder, board=board)
    value = as_builtins(found)
    text = _text_of(found)
    if form == "markdown":
        text = found.markdown().rstrip()
    if form == "csv":
        text = found.csv().rstrip()
    if form == "latex":
        text = found.latex().rstrip()
    if form == "json":
        text = json_text(value).rstrip()
    answer(value, text, f"wrote {folder / REPORT}")
    if board is not None:
        note(f"filed on {board}; `exabench board build --board {board}` shows it")


def _text_of(found: StudyReport) -> str:
    """The table and what is said under it."""
    lines = [found.title]
    if found.question:
        lines.append(found.question)
    lines += ["", table(found.header, found.shown_rows(), left=3)]
    remarks = found.remarks()
    if remarks:
        lines += ["", *remarks]
    return "\n".join(lines)
