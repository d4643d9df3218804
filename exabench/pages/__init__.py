"""The pages of a leaderboard: a Board becomes a folder of HTML and data files that needs no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exabench.nouns import FIRST_STAGE, Progress, silent
from exabench.pages import _dataset_views, _efficiency, _model_views, _task_views, _views, downloads
from exabench.pages._format import FILTERS, harmless
from exabench.pages._paths import (
    dataset_page,
    efficiency_page,
    model_file,
    model_page,
    ranking_page,
    reported_page,
    result_data,
    result_page,
    submission_page,
    task_page,
)
from exabench.pages._publish import publish
from exabench.pages._views import View
from exabench.statistics import ALPHA, RESAMPLES

if TYPE_CHECKING:
    from exabench.board import Board

_HERE = Path(__file__).parent
REPORTS = ("curves.csv", "curves.svg", "recipe.toml", "training.json")  # of a training; its card is for elsewhere
_STATIC = ("style.css", "board.js", "icon.svg")


def render(board: Board, to: str | Path, *, progress: Progress = silent) -> list[Path]:
    """Build the site of a board in the folder `to`; returns the files that changed (or went).

    The same board gives the same bytes. Files that are not the site's own are left alone; where anything
    fails, the old site stays whole. Raises BadInput or CannotWrite.
    """
    return publish(pages_of(board), Path(to), progress)


def pages_of(board: Board) -> dict[str, Callable[[], bytes]]:
    """Every file of the site by its path, each made when called."""
    view, environment = View(board), _environment()
    pages: dict[str, Callable[[], bytes]] = {}

    def add(path: str, template: str, make: Callable[..., Mapping[str, Any]], *given: Any) -> None:
        pages[path] = lambda: _page(environment, board, path, template, make(view, *given))

    for ranking in board.rankings:
        add(ranking_page(board, ranking), "overview.html", _views.overview, ranking)
        add(efficiency_page(board, ranking), "efficiency.html", _efficiency.efficiency, ranking)
    add("about.html", "about.html", _about)
    add("downloads.html", "downloads.html", _downloads)
    add("reported/index.html", "reported_index.html", _task_views.reported_index)
    for slug in sorted(board.submissions):
        add(submission_page(slug), "submission.html", _model_views.submission, board.submissions[slug])
    for result in view.results:
        add(result_page(result), "result.html", _views.result, result)
        pages[result_data(result)] = partial(downloads.result_json, view, result)
    for task in {task.name: task for task in (*board.tasks, *view.single_tasks)}.values():
        add(task_page(task.name), "composite.html" if task.members else "task.html", _task_views.task_page, task)
    for table in board.reported:
        add(reported_page(table.name), "reported.html", _task_views.reported_page, table)
    if board.datasets:
        add("datasets/index.html", "datasets.html", _dataset_views.datasets)
    for release in board.datasets:
        add(dataset_page(release.name), "dataset.html", _dataset_views.dataset, release)
    if board.trainings:
        add("models/index.html", "models.html", _model_views.models)
    for slug in sorted(board.trainings):
        add(model_page(slug), "model.html", _model_views.model, slug)
    sent = {model_file(slug, name): one.files[name] for slug, one in board.trainings.items() for name in REPORTS}
    pages |= {path: partial(bytes, data) for path, data in sent.items()}
    return pages | _data_files(view) | {f"static/{name}": (_HERE / "static" / name).read_bytes for name in _STATIC}


def _data_files(view: View) -> dict[str, Callable[[], bytes]]:
    return {
        "data/board.json": partial(downloads.board_json, view),
        "data/rows.csv": partial(downloads.rows_csv, view),
        "data/results.csv": partial(downloads.results_csv, view),
        "data/results.parquet": partial(downloads.results_parquet, view),
        "feed.atom": partial(downloads.feed, view),
    }


def _about(view: View) -> dict[str, Any]:
    tasks = view.single_tasks
    numbers = {"resamples": RESAMPLES, "alpha": ALPHA, "tasks": tasks, "states": _views.STATES}
    return {**numbers, "stamp": ("", view.version)}


def _downloads(view: View) -> dict[str, Any]:
    return {"tasks": view.board.tasks, "stamp": ("", view.version)}


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=harmless,
    )
    environment.filters.update(FILTERS)
    paths = (
        dataset_page,
        model_page,
        model_file,
        ranking_page,
        efficiency_page,
        submission_page,
        result_page,
        result_data,
        task_page,
        reported_page,
    )
    environment.globals.update({function.__name__: function for function in paths})
    environment.globals["FIRST_STAGE"] = FIRST_STAGE
    return environment


def _page(environment: Environment, board: Board, path: str, template: str, values: Mapping[str, Any]) -> bytes:
    root = "../" * path.count("/")
    text = environment.get_template(template).render(board=board, path=path, root=root, **values)
    return text.encode()
