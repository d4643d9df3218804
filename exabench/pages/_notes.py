"""The pages that explain: what the numbers mean, and which files the site offers; and the files of every site."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from exabench.pages._page import Page
from exabench.pages._views import STATES, View
from exabench.statistics import ALPHA, RESAMPLES

_STATIC = Path(__file__).parent / "static"


def pages(view: View) -> Iterator[Page]:
    """About the numbers, the downloads, and what lies in static/."""
    yield Page("about.html", partial(_about, view), "about.html", (view.version,))
    yield Page("downloads.html", partial(_downloads, view), "downloads.html", (view.version,))
    for file in sorted(_STATIC.iterdir()):
        if file.suffix in (".css", ".js", ".svg"):
            yield Page(f"static/{file.name}", file.read_bytes)


def _about(view: View) -> dict[str, Any]:
    numbers = {"resamples": RESAMPLES, "alpha": ALPHA, "tasks": view.single_tasks, "states": STATES}
    return {**numbers, "stamp": ("", view.version)}


def _downloads(view: View) -> dict[str, Any]:
    return {"tasks": view.board.tasks, "stamp": ("", view.version)}
