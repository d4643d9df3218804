"""Where each page lies in the site; a name that could lead elsewhere is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exabench.errors import BadInput

if TYPE_CHECKING:
    from exabench.board import Board, Ranking, Score
    from exabench.nouns import Result

MANIFEST = "files.json"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")


def is_safe(path: str) -> bool:
    """Is it a relative path of plain names, the same on every system and in every address?"""
    return all(_PART.fullmatch(part) for part in path.split("/"))


def ranking_page(board: Board, ranking: Ranking) -> str:
    """The page of an overview; the board's first one is the front page."""
    return "index.html" if ranking == board.rankings[0] else _checked(f"views/{_part(ranking.slug)}.html")


def efficiency_page(board: Board, ranking: Ranking) -> str:
    """The page of an overview's effectiveness against its cost."""
    return "efficiency.html" if ranking == board.rankings[0] else _checked(f"efficiency/{_part(ranking.slug)}.html")


def submission_page(slug: str) -> str:
    """The page of a submission."""
    return _checked(f"submissions/{_part(slug)}.html")


def list_name(result: Score | Result) -> str:
    """The name of the candidate list that a result is over."""
    return result.candidates if isinstance(result.candidates, str) else result.candidates.name


def result_page(result: Score | Result) -> str:
    """The page of a result."""
    return _checked(f"results/{_stem(result)}.html")


def result_data(result: Score | Result) -> str:
    """The per-query values of a result."""
    return _checked(f"data/results/{_stem(result)}.json")


def task_page(name: str) -> str:
    """The page of a task."""
    return _checked(f"tasks/{_part(name)}.html")


def reported_page(name: str) -> str:
    """The page of a table of reported numbers; `index` is the page that lists them."""
    if name.lower() == "index":
        raise BadInput("cannot be the name of a reported table; give the file another", id=name)
    return _checked(f"reported/{_part(name)}.html")


def dataset_page(name: str) -> str:
    """The page of a dataset; `index` is the page that lists them."""
    if name.lower() == "index":
        raise BadInput("cannot be the name of a dataset; give it another", id=name)
    return _checked(f"datasets/{_part(name)}.html")


def model_page(slug: str) -> str:
    """The page of a trained model: the report of its training."""
    return _checked(f"models/{_part(slug)}.html")


def model_file(slug: str, name: str) -> str:
    """A file of the report of a training, as it was sent."""
    return _checked(f"models/{_part(slug)}/{name}")


def _stem(result: Score | Result) -> str:
    return f"{_part(result.submission)}/{_part(result.task)}.{_part(list_name(result))}"


def _part(name: str) -> str:
    if "/" in name:
        raise BadInput("cannot be the name of a page: it holds a slash", id=name)
    return name


def _checked(path: str) -> str:
    if not is_safe(path):
        raise BadInput("cannot be the name of a page: use letters, digits and . _ + - (at most 200)", id=path)
    return path
