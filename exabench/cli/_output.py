"""What the commands share in talking to people: options, results, progress."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from exabench.errors import BadInput
from exabench.files import json_text

if TYPE_CHECKING:
    from exabench.publishing import Published

Command = TypeVar("Command", bound=Callable[..., Any])

data_option = click.option(
    "--data",
    envvar="EXABENCH_DATA",
    type=click.Path(path_type=Path),
    help="Folder of test collections in BEIR layout (DATA/<task>/); else EXABENCH_DATA.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
set_option = click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="An option of the part.")


def board_option(command: Command) -> Command:
    """--board DIR, by default the leaderboard of this checkout (or a fresh one, made at first use)."""
    return click.option(
        "--board",
        type=click.Path(path_type=Path),
        default=Path("leaderboard"),
        show_default=True,
        help="Leaderboard folder.",
    )(command)


def place_options(command: Command) -> Command:
    """Where to publish (one of --repo and --to), and whether as a pull request or not at all."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Say what would be published."),
        click.option("--pr", is_flag=True, help="Open a pull request instead of committing."),
        click.option("--to", type=click.Path(path_type=Path), help="A folder instead, which loads the same way."),
        click.option("--repo", help="Repository on the Hub (owner/name)."),
    ):
        command = option(command)
    return command


def place_of(repo: str | None, to: Path | None) -> str | Path:
    """The one place that was given. Raises BadInput for none and for both."""
    where = repo or to
    if where is None or repo and to:
        raise BadInput("say where to publish: --repo owner/name or --to FOLDER, one of the two")
    return where


def show_published(done: Published, as_json: bool) -> None:
    """What a publication came to."""
    if as_json:
        show_json(asdict(done))
    else:
        name = f"{done.to} {done.version}".strip()  # a folder keeps no versions
        show(f"{name}: {'published' if done.changed else 'nothing has changed'} ({done.commit})")


def ready(board: Path, tasks: Sequence[str] = ()) -> Path:
    """The board's folder. The default one, or any for which `tasks` are given, is made where it is missing."""
    if not board.exists() and (tasks or board == Path("leaderboard")):
        from exabench.ledger import Ledger

        Ledger(board).create("My leaderboard", list(tasks) or ["mini"])
        note(f"made a fresh leaderboard in {board}/ (board.toml names its tasks)")
    return board


def show(text: str) -> None:
    """One result, on standard output."""
    click.echo(text)


def show_json(value: object) -> None:
    """One JSON object, on standard output."""
    click.echo(json_text(value), nl=False)


def note(text: str) -> None:
    """Something to know, on standard error."""
    click.echo(text, err=True)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Plain columns: the first to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


@contextlib.contextmanager
def progress(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal, a plain line every two seconds elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        yield _plain_progress(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        line = bar.add_task(title, total=None)
        yield lambda done, total, what: bar.update(
            line, completed=done, total=total, description=f"{title}: {what[:60]}"
        )


def _plain_progress(title: str) -> Callable[[int, int, str], None]:
    last = time.monotonic()

    def report(done: int, total: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 2 or done == total:
            last = time.monotonic()
            note(f"{title}: {done}/{total} {what}")

    return report
