"""`exabench parts`: the parts that recipes, submissions and commands can name, and their options."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import click

from exabench.cli._options import Command, json_option
from exabench.cli._output import answer, table
from exabench.core.errors import UnknownName

if TYPE_CHECKING:
    from exabench.core.shelf import Shelf

SHELVES = {  # each with the folder of the package that holds it
    "builders": "data",
    "collections": "tasks",
    "losses": "parts",
    "metrics": "measure",
    "pairs": "data",
    "queries": "data",
    "rerankers": "parts",
    "retrievers": "parts",
    "strategies": "models",
    "teachers": "parts",
}
WITHOUT_OPTIONS = ("collections", "metrics")
"""A collection is chosen by its task, and a metric has its cut-off in its name (nDCG@10)."""


@click.command(cls=Command, short_help="What can be named in recipes and submissions, and its options.")
@click.argument("shelf", required=False)
@click.argument("part", required=False)
@json_option
def parts(shelf: str | None, part: str | None, as_json: bool) -> None:
    """List the parts of SHELF (or of all shelves), each with its one line; or the options of one PART."""
    if shelf is not None and part is not None:
        _show_options(shelf, part, as_json)
        return
    summaries = {}
    lines = []
    for name in SHELVES if shelf is None else [shelf]:
        found = _shelf(name)
        summaries[name] = {part: found.summary(part) for part in found}
        lines += [f"{f'{name}/{part}':<28}{summary}" for part, summary in summaries[name].items()]
    answer(as_json, summaries, "\n".join(lines))


def _shelf(name: str) -> Shelf:
    if name not in SHELVES:
        raise UnknownName("shelf", name, SHELVES)
    shelf: Shelf = getattr(importlib.import_module(f"exabench.{SHELVES[name]}.{name}"), name.upper())
    return shelf


def _show_options(shelf: str, name: str, as_json: bool) -> None:
    """The options of a part: name, type, default and meaning."""
    from exabench.core.files import toml_text
    from exabench.core.options import REQUIRED
    from exabench.core.options import table as options_of

    parts = _shelf(shelf)
    summary = parts.summary(name) if name in parts else ""
    part = parts[name]
    described = []
    rows = []
    for option in [] if shelf in WITHOUT_OPTIONS else options_of(part).values():
        required = option.default is REQUIRED
        default = None if required else option.default
        described.append(
            {
                "name": option.name,
                "type": option.type,
                "required": required,
                "default": default,
                "meaning": option.meaning,
            }
        )
        shown = "" if default is None else toml_text(default)
        rows.append((option.name, option.type, "required" if required else shown, option.meaning))
    value = {"shelf": shelf, "part": name, "summary": summary, "options": described}
    text = table(("option", "type", "default", "meaning"), rows, left=4) if rows else "no options"
    answer(as_json, value, f"{summary}\n\n{text}")
