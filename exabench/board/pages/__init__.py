"""The pages of a leaderboard: a Board becomes a folder of HTML and data files that needs no server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exabench.board.pages import (
    _compare,
    _efficiency,
    _feeds,
    _overview,
    _provenance,
    _results,
    _rows,
    _task_views,
    _training_views,
    downloads,
)
from exabench.board.pages._format import FILTERS, harmless
from exabench.board.pages._page import Page
from exabench.board.pages._paths import PLACES
from exabench.board.pages._publish import Site
from exabench.board.pages._views import View
from exabench.core.nouns import FIRST_STAGE, Progress, silent

if TYPE_CHECKING:
    from exabench.board.ranking import Board

# Modules whose pages show the whole board come first: each is long work for one process.
_WHOLE = (downloads, _overview, _efficiency, _provenance, _compare, _feeds, _task_views, _training_views, _rows)
_TOGETHER = 60  # small pages that a process makes at a time: those of ten results


def render(board: Board, to: str | Path, *, progress: Progress = silent, processes: int = 0) -> list[Path]:
    """Build the site of a board in the folder `to`; returns the files that changed (or went).

    The same board gives the same bytes, however many `processes` make them (0: as many as are worth it). Files that are
    not the site's own are left alone; where anything fails, the old site stays. Raises BadInput or CannotWrite.
    """
    return site_of(board, progress=progress, processes=processes).publish(Path(to))


def differences(board: Board, to: str | Path) -> list[str]:
    """Hold every byte of a built site against the board: the files that a build would write or remove."""
    return site_of(board).differing(Path(to))


def site_of(board: Board, *, progress: Progress = silent, processes: int = 0) -> Site:
    """Every file of the site before it is made, in batches that are made together."""
    view = View(board)
    whole = [page for module in _WHOLE for page in module.pages(view)]
    small = list(_results.pages(view))
    batches = [[page] for page in whole]
    batches += [small[start : start + _TOGETHER] for start in range(0, len(small), _TOGETHER)]
    templates = _templates(view, [*whole, *small])

    def make(page: Page) -> bytes:
        made = page.make()
        if isinstance(made, bytes):
            return made
        root = "../" * page.path.count("/")
        return templates.get_template(page.template).render(path=page.path, root=root, **made).encode()

    return Site(batches, make, progress, processes)


def _templates(view: View, pages: list[Page]) -> Environment:
    """The templates of these pages, in which nothing that somebody sent can act.

    They know the filters of _format, the places in _paths, the board, and as `paths` where readers start: the pages at
    the top of the site and each folder's index.
    """
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=harmless,
    )
    made.filters.update(FILTERS)
    made.globals.update(PLACES)
    paths = {page.path for page in pages if page.path.endswith(".html")}
    made.globals["paths"] = {path for path in paths if "/" not in path or path.endswith("/index.html")}
    made.globals["board"] = view.board
    made.globals["stamp"] = ("", view.version)  # of a page that shows no result; the others have their own
    made.globals["FIRST_STAGE"] = FIRST_STAGE
    for name in sorted({page.template for page in pages} - {""}):
        made.get_template(name)  # compiled here once, for all processes
    return made
