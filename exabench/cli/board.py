"""`exabench board`: check, build, show and publish a leaderboard."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from exabench.cli._options import (
    CommandGroup,
    board_option,
    data_option,
    json_option,
    place_of,
    place_options,
    to_option,
)
from exabench.cli._output import answer, note, progress, ready, show, show_published
from exabench.core.errors import BadInput, CheckFailed, plural


@click.group(cls=CommandGroup)
def board() -> None:
    """Check, build, show and publish a leaderboard."""


@board.command()
@board_option
@json_option
def check(board: Path, as_json: bool) -> None:
    """Validate every file of a leaderboard; prints one line for each problem."""
    from exabench.bench.verification import check as problems_of

    problems = problems_of(ready(board))
    text = "\n".join(problems) or f"{board}: every file is in order"
    answer(as_json, {"holds": not problems, "problems": problems}, text)
    if problems:
        raise CheckFailed(f"{board}: {plural(len(problems), 'problem')}")


@board.command()
@board_option
@to_option("Where the pages go; else BOARD/site.")
@click.option("--check", is_flag=True, help="Write nothing; hold every byte of the built pages against the files.")
@json_option
def build(board: Path, to: Path | None, check: bool, as_json: bool) -> None:
    """Write the static pages from the committed files alone; only files that differ are written."""
    from exabench.board.pages import render
    from exabench.board.ranking import Board

    site = to or board / "site"
    if check:
        _compare(ready(board), site, as_json)
        return
    with progress("pages") as report:
        changed = render(Board.read(ready(board)), site, progress=report)
    page = str(site / "index.html")
    answer(as_json, {"page": page, "changed": [str(path) for path in changed]}, page)
    if not as_json:
        note(f"{plural(len(changed), 'file')} changed")


def _compare(board: Path, site: Path, as_json: bool) -> None:
    """The pages made from nothing against those that are there."""
    from exabench.board.pages import differences
    from exabench.board.ranking import Board

    differing = differences(Board.read(board), site)
    text = "\n".join(differing) or f"{site}: every file is as a build would make it"
    answer(as_json, {"page": str(site / "index.html"), "holds": not differing, "differing": differing}, text)
    if differing:
        files = plural(len(differing), "file differs", "files differ")
        raise CheckFailed(f"{site}: {files}; `exabench board build` writes them")


@board.command()
@board_option
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
def serve(board: Path, port: int) -> None:
    """Build the pages and show them on this machine until Ctrl-C."""
    import http.server

    from exabench.board.pages import render
    from exabench.board.ranking import Board

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """No line for each request."""

    site = board / "site"
    render(Board.read(ready(board)), site)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=str(site)))
    except OSError as error:
        raise BadInput(f"port {port} cannot be opened ({error.strerror}); take another with --port") from error
    with server:
        show(f"http://127.0.0.1:{server.server_address[1]}/")
        note("Ctrl-C stops it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            note("stopped")


@board.command()
@board_option
@place_options
@click.option("--no-check", is_flag=True, help="Publish without holding files and numbers against one another first.")
@data_option
@json_option
def publish(
    board: Path,
    repo: str | None,
    to: Path | None,
    pr: bool,
    dry_run: bool,
    no_check: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Build the pages and publish them: to a static Space (--repo) in one commit, or to a folder.

    Only a board whose files are in order and whose numbers can be recomputed is published.
    """
    from exabench.board.publishing import publish_board

    place = place_of(repo, to)
    with progress("publish") as report:
        done = publish_board(
            ready(board),
            place,
            check=not no_check,
            data=data,
            pull_request=pr,
            dry_run=dry_run,
            progress=report,
        )
    show_published(done, as_json)
