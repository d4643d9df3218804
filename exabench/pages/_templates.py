"""Filling the templates: one environment in which nothing that a stranger wrote can act."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined

from exabench.files import cache_folder
from exabench.nouns import FIRST_STAGE
from exabench.pages import _paths
from exabench.pages._format import FILTERS, harmless
from exabench.pages._page import Page

if TYPE_CHECKING:
    from exabench.board import Board

TEMPLATES = Path(__file__).parent / "templates"


def environment(board: Board, paths: Iterable[str]) -> Environment:
    """The templates with the filters of _format, every `..._page`, `..._data`, `..._file` of _paths, and the board.

    `paths` are those files of the site that a reader can start at (`entrances`), for the navigation.
    """
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        bytecode_cache=_compiled(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=harmless,
    )
    made.filters.update(FILTERS)
    made.globals |= {n: f for n, f in vars(_paths).items() if n.endswith(("_page", "_data", "_file")) and callable(f)}
    made.globals |= {"FIRST_STAGE": FIRST_STAGE, "board": board, "paths": frozenset(paths)}
    return made


def _compiled() -> FileSystemBytecodeCache | None:
    """Where compiled templates are kept: a folder that nobody else can write to, or nowhere."""
    folder = cache_folder("templates")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    private = found.st_uid == os.getuid() and found.st_mode & 0o777 == 0o700
    return FileSystemBytecodeCache(str(folder)) if private and os.access(folder, os.W_OK) else None


def load(templates: Environment, names: Iterable[str]) -> None:
    """Read templates and those that they are made of; `""` stands for none."""
    for name in sorted({*names} - {""}):
        templates.get_template(name)
    if any(names):
        templates.get_template("base.html")
        templates.get_template("macros.html")


def entrances(pages: Iterable[Page]) -> tuple[str, ...]:
    """The pages that stand for a part of the site: those at its top, and each folder's index."""
    return tuple(sorted(p.path for p in pages if p.path.endswith(".html") and _is_entrance(p.path)))


def _is_entrance(path: str) -> bool:
    return "/" not in path or path.endswith("/index.html")


def filled(templates: Environment, page: Page, values: Mapping[str, Any]) -> bytes:
    """The bytes of a page from its template and its values."""
    root = "../" * page.path.count("/")
    text = templates.get_template(page.template).render(path=page.path, root=root, **values)
    return text.encode()
