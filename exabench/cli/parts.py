"""`exabench parts`: what is on the shelves."""

from __future__ import annotations

import importlib

import click

from exabench.cli._output import show
from exabench.errors import UnknownName

SHELVES = {
    "builders": "BUILDERS",
    "collections": "COLLECTIONS",
    "losses": "LOSSES",
    "metrics": "METRICS",
    "pairs": "PAIRS",
    "queries": "QUERIES",
    "rerankers": "RERANKERS",
    "retrievers": "RETRIEVERS",
    "strategies": "STRATEGIES",
    "teachers": "TEACHERS",
}


@click.command()
@click.argument("shelf", required=False)
def parts(shelf: str | None) -> None:
    """List the parts of SHELF (or of all), each with its one line."""
    if shelf is not None and shelf not in SHELVES:
        raise UnknownName("shelf", shelf, SHELVES)
    for name in [shelf] if shelf else SHELVES:
        found = getattr(importlib.import_module(f"exabench.{name}"), SHELVES[name])
        rows = [(f"{name}/{part}", found.summary(part)) for part in found]
        show("\n".join(f"{path:<28}{summary}" for path, summary in rows))
