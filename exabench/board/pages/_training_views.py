"""The pages of trained models, from the reports of their trainings, and what training data shares with a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from exabench.board.pages._format import count
from exabench.board.pages._page import Page, Values, dataset_page, model_file, model_page
from exabench.board.ranking import Board
from exabench.core.files import flatten_to_text
from exabench.core.nouns import Task
from exabench.hub.cards import model_settings

REPORTS = ("curves.csv", "recipe.toml", "training.json")  # of a training; its card is for elsewhere


def pages(board: Board) -> Iterator[Page]:
    """The list of trained models, where there are any; each one's page, and the files of its report."""
    if board.trainings:
        yield Page("models/index.html", dict, "models.html")
    for slug, report in board.trainings.items():
        yield Page(model_page(slug), partial(model, board, slug), "model.html")
        for name in REPORTS:
            yield Page(model_file(slug, name), partial(bytes, report.files[name]))


def model(board: Board, slug: str) -> Values:
    """The report of one training."""
    training = board.trainings[slug].values
    return {
        "submission": board.submissions[slug],
        "settings": model_settings(training["recipe"]),
        "options": list(flatten_to_text(training["options"])),
        "kept": dict(training["dev"]["values"]).get(training["best"]),
    }


class Overlap(NamedTuple):
    """A table of a dataset against a task: rows that share something, of how many, and how many share what.

    `rows` is None where leaks were not looked for, 0 where the report names none of this task. `page` is the
    dataset's, or that of the model which was trained on a release that the board does not hold.
    """

    name: str
    table: str
    page: str
    rows: int | None
    total: int | None
    shared: str


def overlaps(board: Board, one: Task) -> list[Overlap]:
    """Every table of the board's datasets, then what models learnt from elsewhere; those that share most first.

    A report may hold anything: what is not as exabench writes it counts for nothing.
    """
    reports = {}
    for release in board.datasets:
        for name, table in release.tables.items():
            place = (release.name, name, dataset_page(release.name))
            reports[place] = (table.report.get("leaks"), table.report.get("rows"))
    for slug in board.trainings:
        for learnt in board.training_tables(slug):
            if not learnt.same:
                reports[learnt.told["name"], learnt.told["table"], model_page(slug)] = (learnt.told["leaks"], None)

    listed = []
    for place, (leaks, total) in reports.items():
        overlapping = None
        shared = []
        by_task = leaks.get("benchmarks") if isinstance(leaks, Mapping) else None
        if isinstance(by_task, Mapping):
            overlapping = 0
            counts = by_task.get(one.name)
            if not isinstance(counts, Mapping):
                counts = {}
            for key, value in sorted(counts.items()):
                if type(value) is not int:
                    continue
                if key == "rows":
                    overlapping = value
                else:
                    shared.append(f"{key} {count(value)}")
        listed.append(Overlap(*place, overlapping, total if isinstance(total, int) else None, ", ".join(shared)))
    # A table that was not checked sorts with those that share nothing.
    listed.sort(key=lambda o: (-1 if o.rows is None else -o.rows - 1, o.name, o.table, o.page))
    return listed
