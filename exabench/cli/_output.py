"""How commands talk to people: results on standard output, notes and progress on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exabench.cli._options import TALK
from exabench.core.files import json_text
from exabench.core.nouns import Progress, silent

if TYPE_CHECKING:
    from exabench.hub.commits import Published

PAUSE = 2.0  # seconds between two lines of progress


def answer(as_json: bool, value: Mapping[str, object], text: str | None = None) -> None:
    """The result of a command: `value` as one JSON object, or `text` (without one, a line for each key)."""
    if text is None:
        text = "\n".join(f"{key}: {item}" for key, item in value.items())
    if as_json:
        show_json(value)
    elif text:
        show(text)


def show(text: str) -> None:
    """One result, on standard output."""
    click.echo(text)


def show_json(value: object) -> None:
    """One JSON object, on standard output."""
    click.echo(json_text(value), nl=False)


def note(text: str) -> None:
    """Something to know, on standard error; not with --quiet."""
    if _talk() != "quiet":
        click.echo(text, err=True)


def show_published(done: Published, as_json: bool) -> None:
    """What a publication came to."""
    name = f"{done.to} {done.version}".strip()  # a folder keeps no versions
    what = "published" if done.changed else "nothing has changed"
    answer(as_json, asdict(done), f"{name}: {what} ({done.commit})")


def ready(board: Path, tasks: Sequence[str] = ()) -> Path:
    """The board's folder. The default one, or any for which `tasks` are given, is made where it is missing."""
    if not board.exists() and (tasks or board == Path("leaderboard")):
        from exabench.bench.ledger import Ledger

        Ledger(board).create("My leaderboard", list(tasks) or ["mini"])
        note(f"made a fresh leaderboard in {board}/ (board.toml names its tasks)")
    return board


def table(header: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Plain columns: the first `left` of them to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        padded[:left] = [cell.ljust(width) for cell, width in zip(row[:left], widths[:left], strict=True)]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A bar on a terminal, a line every two seconds elsewhere; with --verbose a line for every step."""
    if _talk() == "quiet":
        yield silent
        return
    if _talk() == "verbose":
        yield _lines(title, pause=0)
        return
    if not sys.stderr.isatty():
        yield _lines(title, pause=PAUSE)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(title, total=None)

        def report(done: int, total: int, what: str) -> None:
            bar.update(line, completed=done, total=total, description=f"{title}: {what[:60]}")

        yield report


def _lines(title: str, pause: float) -> Progress:
    """Progress as lines, one each `pause` seconds at most; the last step always has one."""
    last = time.monotonic()

    def report(done: int, total: int, what: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= pause or done == total:
            last = now
            note(f"{title}: {done}/{total} {what}")

    return report


def _talk() -> str:
    context = click.get_current_context(silent=True)
    return context.meta.get(TALK, "") if context is not None else ""
