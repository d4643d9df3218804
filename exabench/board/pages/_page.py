"""Files of the site: their content before it is made, and where they lie.

A name that could lead elsewhere is refused. Data for the browser are scripts: a page that was opened from a folder may
load these, and may read no other file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from exabench.board.pages._format import clean_texts
from exabench.board.ranking import Board, Contest, Ranking
from exabench.board.summaries import ResultSummary, newest_day
from exabench.core.errors import BadInput

WRITTEN = 100  # lines of a table in a page itself; data files, and the browser, hold all
MANIFEST = "files.json"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
STATES = {
    "reproduced": "exabench ran the reranker on the frozen candidates and measured its ranking.",
    "re-computed": "A run file was submitted, or the candidate list was itself made elsewhere. exabench checked the "
    "file and computed every number from it; how it was produced is not verified.",
    "reported": "Printed elsewhere and not measured here. Such numbers are in no ranking.",
}


Values: TypeAlias = dict[str, Any]
"""The variables of a template."""


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the site at `path`.

    With a `template`, `make` gives the values that fill it; without one, the bytes themselves.
    """

    path: str
    make: Callable[[], Values | bytes]
    template: str = ""


def compact_json(value: Any, sort_keys: bool = False) -> str:
    """JSON without spaces, its texts made harmless."""
    shown = clean_texts(value)
    return json.dumps(shown, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def script(function: str, *values: Any) -> bytes:
    """A script of one call, `exabench.<function>(values)`."""
    return f"exabench.{function}({compact_json(values)[1:-1]});\n".encode()


def stamp(summaries: Sequence[ResultSummary]) -> tuple[str, str]:
    """The newest date, and the newest version of exabench, among the results that a page shows."""
    versions = {summary.result.versions.get("exabench", "") for summary in summaries}
    # By number: 0.10 is newer than 0.9.
    newest = max(versions, key=lambda text: ([int(n) for n in re.findall(r"\d+", text)], text), default="")
    return newest_day(summaries), newest


def is_safe(path: str) -> bool:
    """Is it a relative path of plain names, the same on every system and in every address?"""
    return all(_PART.fullmatch(part) for part in path.split("/"))


def _place(pattern: str, *names: str) -> str:
    """The path of a pattern with these names in it. Raises BadInput where a name could lead elsewhere."""
    for name in names:
        if "/" in name:
            raise BadInput("cannot be the name of a page: it contains a slash", id=name)
    path = pattern.format(*names)
    if not is_safe(path):
        raise BadInput("cannot be the name of a page: use letters, digits and . _ + - (at most 200)", id=path)
    return path


def _path_by_names(pattern: str) -> Callable[..., str]:
    """A function from names to the path of a page."""

    def place(*names: str) -> str:
        if names[0].lower() == "index":
            raise BadInput("cannot be the name of a page: `index` is the page that lists them", id=names[0])
        return _place(pattern, *names)

    return place


def _path_by_contest(front: str, pattern: str) -> Callable[[Board, Ranking, Contest], str]:
    """A function from a contest to the path of its page; the board's first contest has the one at the front.

    A contest over no list is the ranking over all lists.
    """

    def place(board: Board, ranking: Ranking, contest: Contest) -> str:
        first = board.rankings[0]
        if ranking.slug == first.slug and contest.candidates == first.tables[0].candidates:
            return front
        return _place(pattern, _name_of(ranking, contest))

    return place


def _path_by_result(pattern: str) -> Callable[[ResultSummary], str]:
    """A function from a result to the path of a file, by its submission, its task and its candidate list."""
    return lambda summary: _place(pattern, summary.submission, summary.task, summary.candidates)


overview_page = _path_by_contest("index.html", "views/{}.html")
heat_page = _path_by_contest("heat.html", "heat/{}.html")
efficiency_page = _path_by_contest("efficiency.html", "efficiency/{}.html")


def ranking_page(board: Board, ranking: Ranking) -> str:
    """The page of a ranking's first contest."""
    return overview_page(board, ranking, ranking.tables[0])


submission_page = _path_by_names("submissions/{}.html")
task_page = _path_by_names("tasks/{}.html")
reported_page = _path_by_names("reported/{}.html")
dataset_page = _path_by_names("datasets/{}.html")
rows_page = _path_by_names("datasets/{}/rows-{}.html")
study_page = _path_by_names("studies/{}.html")
model_page = _path_by_names("models/{}.html")
model_file = _path_by_names("models/{}/{}")
result_page = _path_by_result("results/{}/{}.{}.html")
result_data = _path_by_result("data/results/{}/{}.{}.json")
vector_data = _path_by_result("data/queries/{}/{}.{}.js")
queries_data = _path_by_result("data/queries/{1}.{2}.js")  # of every result over a candidate list
ranking_data = _path_by_result("data/rankings/{}/{}.{}.js")
list_data = _path_by_result("data/rankings/{1}.{2}")


def owner_page(owner: str) -> str:
    """The page of who sends submissions; owners whose names differ in case only share it."""
    return _place("owners/{}.html", owner.lower())


def overview_data(ranking: Ranking, contest: Contest | None = None) -> str:
    """The columns of a contest's overview, for the browser; without a contest, those of all lists."""
    return _place("data/overview.{}.js", _name_of(ranking, contest))


def scores_data(ranking: Ranking, contest: Contest | None = None) -> str:
    """The columns of an overview's tasks."""
    return _place("data/overview.{}.tasks.js", _name_of(ranking, contest))


def _name_of(ranking: Ranking, contest: Contest | None) -> str:
    if contest and contest.candidates:
        return f"{ranking.slug}.{contest.candidates}"
    return ranking.slug


PLACES = {name: place for name, place in globals().items() if re.fullmatch(r"[a-z]+_(page|data|file)", name)}
"""The functions above by name: what templates make links with."""
