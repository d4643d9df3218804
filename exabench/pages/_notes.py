"""The pages that explain: what the numbers mean, and which files the site offers; and the files of every site."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from exabench.pages._page import Page
from exabench.pages._views import STATES, View
from exabench.statistics import ALPHA, RESAMPLES

_STATIC = Path(__file__).parent / "static"


def pages(view: View) -> Iterator[Page]:
    """About the numbers, the downloads, and what lies in static/."""
    about = {"resamples": RESAMPLES, "alpha": ALPHA, "tasks": view.single_tasks, "states": STATES}
    stamp = ("", view.version)
    yield Page("about.html", lambda: {**about, "stamp": stamp}, "about.html")
    yield Page("downloads.html", lambda: {"stamp": stamp}, "downloads.html")
    for file in sorted(_STATIC.iterdir()):
        if file.suffix in (".css", ".js", ".svg"):
            yield Page(f"static/{file.name}", partial(file.read_bytes))
