"""`exabench board`: check, build and show a leaderboard."""

from __future__ import annotations

import functools
import http.server
from pathlib import Path
from typing import Any

import click

from exabench.cli._output import (
    board_option,
    data_option,
    json_option,
    note,
    place_of,
    place_options,
    progress,
    ready,
    show,
    show_json,
    show_published,
)
from exabench.nouns import Progress, silent


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line for each request."""


@click.group()
def board() -> None:
    """Check, build, show and publish a leaderboard."""


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
@click.option("--check", is_flag=True, help="Write nothing; hold every byte of the built pages against the files.")
@json_option
def build(board: Path, to: Path | None, check: bool, as_json: bool) -> None:
    """Write the static pages from the committed files alone; only files that differ are written."""
    site = to or board / "site"
    if check:
        _hold(ready(board), site, as_json)
        return
    with progress("pages") as report:
        changed = _built(ready(board), site, report)
    if as_json:
        show_json({"page": str(site / "index.html"), "changed": [str(path) for path in changed]})
        return
    note(f"{len(changed)} files changed")
    show(str(site / "index.html"))


def _built(board: Path, site: Path, report: Progress = silent) -> list[Path]:
    """Bring a site to its board; the files that changed."""
    from exabench.board import Board
    from exabench.pages import render

    return render(Board.read(board), site, progress=report)


def _hold(board: Path, site: Path, as_json: bool) -> None:
    """The pages made from nothing against those that are there."""
    from exabench.board import Board
    from exabench.errors import CheckFailed
    from exabench.pages import differences

    differing = differences(Board.read(board), site)
    if as_json:
        show_json({"page": str(site / "index.html"), "holds": not differing, "differing": differing})
    else:
        show("\n".join(differing) or f"{site}: every file is as a build would make it")
    if differing:
        raise CheckFailed(f"{site}: {len(differing)} files differ; `exabench board build` writes them")


@board.command()
@board_option
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
def serve(board: Path, port: int) -> None:
    """Build the pages and show them on this machine until Ctrl-C."""
    from exabench.errors import BadInput

    site = board / "site"
    _built(ready(board), site)
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
    from exabench.ledger import Ledger
    from exabench.publishing import publish_site

    where, title = place_of(repo, to), Ledger(ready(board)).settings()["title"]
    if not no_check:
        _must_hold(board, data)
    with progress("pages") as report:
        _built(board, board / "site", report)
    given: dict[str, Any] = {"title": title, "pull_request": pr, "dry_run": dry_run}
    with progress("publish") as report:
        done = publish_site(board / "site", where, **given, progress=report)
    show_published(done, as_json)


def _must_hold(board: Path, data: Path | None) -> None:
    """Raises CheckFailed with the first problem of the files, or else of the numbers."""
    from exabench.errors import CheckFailed
    from exabench.verification import check as problems_of
    from exabench.verification import verify

    if problems := problems_of(board):
        raise CheckFailed(f"{problems[0]} ({len(problems)} in all: exabench board check); --no-check publishes it")
    if wrong := [cell for cell in verify(board, data=data) if not cell.holds]:
        said = f"{wrong[0].submission} {wrong[0].task} {wrong[0].candidates} {wrong[0].metric} {wrong[0].verdict}"
        raise CheckFailed(f"{said} ({len(wrong)} in all: exabench bench verify); --no-check publishes it")
