"""Where each page lies in the site; a name that could lead elsewhere is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from exabench.core.errors import BadInput

if TYPE_CHECKING:
    from exabench.board.ranking import Board, Ranking, Score

MANIFEST = "files.json"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")


def is_safe(path: str) -> bool:
    """Is it a relative path of plain names, the same on every system and in every address?"""
    return all(_PART.fullmatch(part) for part in path.split("/"))


def _place(pattern: str, *names: str) -> str:
    """The path of a pattern with these names in it. Raises BadInput where a name could lead elsewhere."""
    for name in names:
        if "/" in name:
            raise BadInput("cannot be the name of a page: it holds a slash", id=name)
    path = pattern.format(*names)
    if not is_safe(path):
        raise BadInput("cannot be the name of a page: use letters, digits and . _ + - (at most 200)", id=path)
    return path


def _named(pattern: str) -> Callable[..., str]:
    """Makes the path of something from its names."""

    def place(*names: str) -> str:
        if names[0].lower() == "index":
            raise BadInput("cannot be the name of a page: `index` is the page that lists them", id=names[0])
        return _place(pattern, *names)

    return place


def _ranked(front: str, pattern: str) -> Callable[[Board, Ranking], str]:
    """Makes the path of a ranking's page; the board's first ranking has the one at the front."""
    return lambda board, ranking: front if ranking == board.rankings[0] else _place(pattern, ranking.slug)


def _of_result(pattern: str) -> Callable[[Score], str]:
    """Makes the path of a result's file from its submission, its task and its candidate list."""
    return lambda result: _place(pattern, result.submission, result.task, result.candidates)


PLACES: dict[str, Callable[..., str]] = {}
"""What templates make links with."""

ranking_page = PLACES["ranking_page"] = _ranked("index.html", "views/{}.html")
heat_page = PLACES["heat_page"] = _ranked("heat.html", "heat/{}.html")
efficiency_page = PLACES["efficiency_page"] = _ranked("efficiency.html", "efficiency/{}.html")
submission_page = PLACES["submission_page"] = _named("submissions/{}.html")
task_page = PLACES["task_page"] = _named("tasks/{}.html")
reported_page = PLACES["reported_page"] = _named("reported/{}.html")
dataset_page = PLACES["dataset_page"] = _named("datasets/{}.html")
rows_page = _named("datasets/{}/rows-{}.html")
model_page = PLACES["model_page"] = _named("models/{}.html")
model_file = PLACES["model_file"] = _named("models/{}/{}")
result_page = PLACES["result_page"] = _of_result("results/{}/{}.{}.html")
result_data = PLACES["result_data"] = _of_result("data/results/{}/{}.{}.json")
vector_data = _of_result("data/queries/{}/{}.{}.js")
queries_data = _of_result("data/queries/{1}.{2}.js")  # of every result over a candidate list
ranking_data = PLACES["ranking_data"] = _of_result("data/rankings/{}/{}.{}.js")
list_data = PLACES["list_data"] = _of_result("data/rankings/{1}.{2}")


def owner_page(owner: str) -> str:
    """The page of who sends submissions; owners whose names differ in case only share it."""
    return _place("owners/{}.html", owner.lower())


def overview_data(ranking: Ranking) -> str:
    """The columns of an overview, for the browser."""
    return _place("data/overview.{}.js", ranking.slug)


def scores_data(ranking: Ranking) -> str:
    """The columns of an overview's tasks."""
    return _place("data/overview.{}.tasks.js", ranking.slug)


PLACES.update({"owner_page": owner_page, "overview_data": overview_data, "scores_data": scores_data})
