"""`exabench board`: check, build and show a leaderboard."""

from __future__ import annotations

import functools
import http.server
from pathlib import Path

import click

from exabench.cli._output import board_option, json_option, note, progress, ready, show, show_json


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line for each request."""


@click.group()
def board() -> None:
    """Check, build and show a leaderboard."""


@board.command()
@board_option
@json_option
def check(board: Path, as_json: bool) -> None:
    """Validate every file of a leaderboard; prints one line for each problem."""
    from exabench.errors import CheckFailed
    from exabench.verification import check as problems_of

    problems = problems_of(ready(board))
    if as_json:
        show_json({"holds": not problems, "problems": problems})
    else:
        show("\n".join(problems) or f"{board}: every file is in order")
    if problems:
        raise CheckFailed(f"{board}: {len(problems)} problems")


@board.command()
@board_option
@click.option("--to", type=click.Path(path_type=Path), help="Where the pages go; else BOARD/site.")
@json_option
def build(board: Path, to: Path | None, as_json: bool) -> None:
    """Write the static pages from the committed files alone; only what changed is touched."""
    from exabench.board import Board
    from exabench.pages import render

    site = to or board / "site"
    with progress("pages") as report:
        changed = render(Board.read(ready(board)), site, progress=report)
    if as_json:
        show_json({"page": str(site / "index.html"), "changed": [str(path) for path in changed]})
        return
    note(f"{len(changed)} files changed")
    show(str(site / "index.html"))


@board.command()
@board_option
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
def serve(board: Path, port: int) -> None:
    """Build the pages and show them on this machine until Ctrl-C."""
    from exabench.board import Board
    from exabench.errors import BadInput
    from exabench.pages import render

    site = board / "site"
    render(Board.read(ready(board)), site)
    handler = functools.partial(_Quiet, directory=str(site))
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise BadInput(f"port {port} cannot be opened ({error.strerror}); take another with --port") from error
    with server:
        show(f"http://127.0.0.1:{server.server_address[1]}/")
        note("Ctrl-C stops it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            note("stopped")
