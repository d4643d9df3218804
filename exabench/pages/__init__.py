"""The pages of a leaderboard: a Board becomes a folder of HTML and data files that needs no server."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

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
from exabench.pages._page import Page
from exabench.pages._publish import Site
from exabench.pages._templates import environment, filled
from exabench.pages._views import View

if TYPE_CHECKING:
    from exabench.board import Board

# Modules whose pages show the whole board come first: each is long work for one process.
_WHOLE = (downloads, _overview, _heat, _efficiency, _provenance, _compare, _feeds, _task_views, _dataset_views)
_SMALL = (_model_views, _notes, _results)
_TOGETHER = 60  # small pages that a process makes at a time: those of ten results


def render(board: Board, to: str | Path, *, progress: Progress = silent, processes: int = 0) -> list[Path]:
    """Build the site of a board in the folder `to`; returns the files that changed (or went).

    The same board gives the same bytes, however many `processes` make them (0: as many as are worth it). Files that are
    not the site's own are left alone; where anything fails, the old site stays. Raises BadInput or CannotWrite.
    """
    return _site(board, progress, processes).publish(Path(to))


def differences(board: Board, to: str | Path) -> list[str]:
    """Hold every byte of a built site against the board: the files that a build would write or remove."""
    return _site(board, silent, 0).differing(Path(to))


def pages_of(board: Board) -> list[list[Page]]:
    """Every file of the site before it is made, in batches that are made together."""
    view = View(board)
    whole = [page for module in _WHOLE for page in module.pages(view)]
    small = [page for module in _SMALL for page in module.pages(view)]
    batches = [[page] for page in whole]
    return batches + [small[start : start + _TOGETHER] for start in range(0, len(small), _TOGETHER)]


def _site(board: Board, progress: Progress, processes: int) -> Site:
    batches = pages_of(board)
    templates = environment(board, (page for batch in batches for page in batch))
    return Site(batches, partial(filled, templates), progress, processes)
