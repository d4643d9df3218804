"""Where each page lies in the site; a name that could lead elsewhere is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from exabench.errors import BadInput

if TYPE_CHECKING:
    from exabench.board import Board, Ranking, Score

MANIFEST = "files.json"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")


def is_safe(path: str) -> bool:
    """Is it a relative path of plain names, the same on every system and in every address?"""
    return all(_PART.fullmatch(part) for part in path.split("/"))


def ranking_page(board: Board, ranking: Ranking) -> str:
    """The page of an overview; the board's first one is the front page."""
    return "index.html" if ranking == board.rankings[0] else _place("views", ranking.slug)


def heat_page(board: Board, ranking: Ranking) -> str:
    """The page of an overview's heat map."""
    return "heat.html" if ranking == board.rankings[0] else _place("heat", ranking.slug)


def efficiency_page(board: Board, ranking: Ranking) -> str:
    """The page of an overview's effectiveness against its cost."""
    return "efficiency.html" if ranking == board.rankings[0] else _place("efficiency", ranking.slug)


def overview_data(ranking: Ranking) -> str:
    """The columns of an overview, for the browser."""
    return _place("data", f"overview.{ranking.slug}", ending=".js")


def scores_data(ranking: Ranking) -> str:
    """The columns of an overview's tasks."""
    return _place("data", f"overview.{ranking.slug}.tasks", ending=".js")


def submission_page(slug: str) -> str:
    """The page of a submission."""
    return _place("submissions", slug)


def owner_page(owner: str) -> str:
    """The page of who sends submissions; owners whose names differ in case only share it."""
    return _place("owners", owner.lower())


def result_page(result: Score) -> str:
    """The page of a result."""
    return _place("results", result.submission, _stem(result))


def result_data(result: Score) -> str:
    """The per-query values of a result."""
    return _place("data/results", result.submission, _stem(result), ending=".json")


def vector_data(result: Score) -> str:
    """The headline values of a result, for the pages that compare."""
    return _place("data/queries", result.submission, _stem(result), ending=".js")


def queries_data(result: Score) -> str:
    """The ids of the queries of a candidate list."""
    return _place("data/queries", _stem(result), ending=".js")


def ranking_data(result: Score) -> str:
    """The reranked top tens of a result."""
    return _place("data/rankings", result.submission, _stem(result), ending=".js")


def list_data(result: Score) -> str:
    """The folder of a candidate list's queries, first-stage order, grades and texts."""
    return _place("data/rankings", _stem(result), ending="")


def task_page(name: str) -> str:
    """The page of a task."""
    return _place("tasks", name)


def reported_page(name: str) -> str:
    """The page of a table of reported numbers; `index` is the page that lists them."""
    if name.lower() == "index":
        raise BadInput("cannot be the name of a reported table; give the file another", id=name)
    return _place("reported", name)


def dataset_page(name: str) -> str:
    """The page of a dataset; `index` is the page that lists them."""
    if name.lower() == "index":
        raise BadInput("cannot be the name of a dataset; give it another", id=name)
    return _place("datasets", name)


def rows_page(release: str, table: str) -> str:
    """The page of a table's first rows."""
    return _place("datasets", release, f"rows-{table}")


def model_page(slug: str) -> str:
    """The page of a trained model: the report of its training."""
    return _place("models", slug)


def model_file(slug: str, name: str) -> str:
    """A file of the report of a training, as it was sent."""
    return _place("models", slug, name, ending="")


PLACES: Mapping[str, Callable[..., str]] = {
    name: function for name, function in globals().items() if name.endswith(("_page", "_data", "_file"))
}
"""What templates make links with."""


def _stem(result: Score) -> str:
    return f"{result.task}.{result.candidates}"


def _place(folder: str, *names: str, ending: str = ".html") -> str:
    """A path below `folder`. Raises BadInput where a name could lead elsewhere."""
    for name in names:
        if "/" in name:
            raise BadInput("cannot be the name of a page: it holds a slash", id=name)
    path = "/".join((folder, *names)) + ending
    if not is_safe(path):
        raise BadInput("cannot be the name of a page: use letters, digits and . _ + - (at most 200)", id=path)
    return path
