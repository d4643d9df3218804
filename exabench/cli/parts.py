"""`exabench parts`: the parts that recipes, submissions and commands can name, and their options."""

from __future__ import annotations

import importlib
from dataclasses import asdict

import click

from exabench.cli._command import Command, answer, completing, table
from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import toml_text
from exabench.core.options import table as options_of
from exabench.core.shelf import Shelf

SHELVES = {  # each with the folder of the package that holds it
    "builders": "data",
    "collections": "tasks",
    "exports": "data",
    "losses": "parts",
    "metrics": "measure",
    "pairs": "data",
    "queries": "data",
    "rerankers": "parts",
    "retrievers": "parts",
    "strategies": "models",
    "teachers": "parts",
}
WITHOUT_OPTIONS = ("collections", "exports")
"""A collection is chosen by its task, and a format of exports has no options."""


def _complete_part(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    """The parts of the shelf that was typed before."""
    shelf = context.params.get("shelf")
    if shelf not in SHELVES:
        return []
    return [part for part in _shelf(shelf) if part.startswith(typed)]


@click.command(
    cls=Command,
    short_help="What can be named in recipes and submissions, and its options.",
    examples=("exabench parts rerankers", "exabench parts rerankers cross_encoder"),
)
@click.argument(
    "shelf",
    required=False,
    shell_complete=completing(lambda: SHELVES),
    help="A kind of parts: losses, metrics, rerankers, ...",
)
@click.argument("part", required=False, shell_complete=_complete_part, help="A part of that kind, to show its options.")
def parts(shelf: str | None, part: str | None) -> None:
    """List the parts of SHELF (or of all shelves), or show the options of one PART."""
    if shelf is None or part is None:
        names = list(SHELVES) if shelf is None else [shelf]
        summaries = {}
        places = {}
        for name in names:
            found = _shelf(name)
            summaries[name] = {part: found.summary(part) for part in found}
            for part, summary in summaries[name].items():
                places[f"{name}/{part}"] = summary
        width = max(map(len, places))
        lines = [f"{place:<{width}}  {summary}" for place, summary in places.items()]
        answer(summaries, "\n".join(lines))
        return

    found = _shelf(shelf)
    constructor = found[part]  # an unknown part is refused on every shelf
    options = {}
    if shelf not in WITHOUT_OPTIONS:
        options = options_of(constructor)
    if shelf == "metrics":  # the first two are what is measured, and the cutoff, which is behind @
        options = dict(list(options.items())[2:])
    described = []
    rows = []
    for option in options.values():
        described.append(asdict(option))
        default = ""
        if option.default is not None:
            default = toml_text(option.default)
        elif option.required:
            default = "required"
        rows.append((option.name, option.type, default, option.meaning))
    summary = found.summary(part)
    text = "no options"
    if rows:
        text = table(("option", "type", "default", "meaning"), rows, left=4)
    value = {"shelf": shelf, "part": part, "summary": summary, "options": described}
    answer(value, f"{summary}\n\n{text}")


def _shelf(name: str) -> Shelf:
    if name not in SHELVES:
        homes = [shelf for shelf in SHELVES if name in _shelf(shelf)]
        if homes:
            lines = [f"exabench parts {shelf} {name}" for shelf in homes]
            raise BadInput(f"{name!r} is a part: its options are shown by {' or '.join(lines)}")
        raise UnknownName("shelf", name, SHELVES)
    return getattr(importlib.import_module(f"exabench.{SHELVES[name]}.{name}"), name.upper())
