"""Filling the templates: one environment in which nothing that a stranger wrote can act."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exabench.nouns import FIRST_STAGE
from exabench.pages._format import FILTERS, harmless
from exabench.pages._page import Page
from exabench.pages._paths import PLACES

if TYPE_CHECKING:
    from exabench.board import Board

TEMPLATES = Path(__file__).parent / "templates"


def environment(board: Board, pages: Iterable[Page]) -> Environment:
    """The templates of these pages with the filters of _format, the places in _paths, and the board.

    `paths` in a template are the pages at the top of the site and each folder's index, for the navigation.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=harmless,
    )
    listed = list(pages)
    made.filters.update(FILTERS)
    made.globals.update(PLACES)
    paths = {page.path for page in listed if page.path.endswith(".html")}
    made.globals["paths"] = {path for path in paths if "/" not in path or path.endswith("/index.html")}
    made.globals["board"] = board
    made.globals["FIRST_STAGE"] = FIRST_STAGE
    for name in sorted({page.template for page in listed} - {""}):
        made.get_template(name)  # compiled here once, for all processes
    return made


def filled(templates: Environment, page: Page) -> bytes:
    """The bytes of a page."""
    made = page.make()
    if isinstance(made, bytes):
        return made
    root = "../" * page.path.count("/")
    return templates.get_template(page.template).render(path=page.path, root=root, **made).encode()
