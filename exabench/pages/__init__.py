"""The pages of a leaderboard: a Board becomes a folder of HTML and data files that needs no server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from jinja2 import Environment

from exabench.nouns import Progress, silent
from exabench.pages import (
    _compare,
    _dataset_views,
    _efficiency,
    _feeds,
    _heat,
    _model_views,
    _notes,
    _overview,
    _provenance,
    _results,
    _task_views,
    downloads,
)
from exabench.pages._index import settings_of
from exabench.pages._page import Group, Page
from exabench.pages._publish import Site, differing, publish
from exabench.pages._templates import entrances, environment, filled, load
from exabench.pages._views import View

if TYPE_CHECKING:
    from exabench.board import Board

MODULES: tuple[ModuleType, ...] = (
    _overview,
    _heat,
    _efficiency,
    _compare,
    _results,
    _provenance,
    _task_views,
    _dataset_views,
    _model_views,
    _notes,
    downloads,
    _feeds,
)


def render(
    board: Board,
    to: str | Path,
    *,
    progress: Progress = silent,
    index: Path | None = None,
    processes: int = 0,
) -> list[Path]:
    """Build the site of a board in the folder `to`; returns the files that changed (or went).

    The same board gives the same bytes, however many `processes` make them (0: as many as are worth it), and whether
    or not an `index` of the last build (a folder, made at need) spares the work on pages that stay. Files that are not
    the site's own are left alone; where anything fails, the old site stays whole. Raises BadInput or CannotWrite.
    """
    return publish(_site(board, progress, index), Path(to), index=index, processes=processes)


def differences(board: Board, to: str | Path) -> list[str]:
    """Hold every byte of a built site against the board: the files that a build would write or remove."""
    return differing(_site(board, silent, None), Path(to))


def index_of(site: Path) -> Path:
    """Where the index of a site is kept: beside it, so that a copy of the site is the site alone."""
    return site.parent / f".{site.name}.index"


def _site(board: Board, progress: Progress, index: Path | None) -> Site:
    groups = list(groups_of(board, index))
    single, many = [one for one in groups if not one.small], [one for one in groups if one.small]
    starts = entrances(page for group in single for page in group.pages())
    templates = environment(board, starts)
    settings = settings_of(board, starts)
    return Site(single, many, partial(_bytes, templates), partial(load, templates), settings, progress)


def groups_of(board: Board, index: Path | None = None) -> Iterator[Page | Group]:
    """Every file of the site, before it is made, alone or with those that depend on the same things."""
    view = View(board, index)
    for module in MODULES:
        yield from module.pages(view)


def _bytes(templates: Environment, page: Page) -> bytes:
    made = page.make()
    return made if isinstance(made, bytes) else filled(templates, page, made)
