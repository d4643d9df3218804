"""`exabench board`: check, build, show and publish a leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._command import (
    CommandGroup,
    Count,
    answer,
    board_option,
    command_line,
    data_option,
    dry_run_option,
    not_secret_option,
    note,
    place_options,
    progress,
    publish_to,
    show,
    table,
    to_option,
)
from exabench.core.errors import BadInput, CheckFailed, plural

if TYPE_CHECKING:
    from exabench.board.eval_results import ComparedValue

_MOST_NAMED = 5  # entries in a note; --json has them all


@click.group(
    cls=CommandGroup,
    examples=("exabench board init --task scifact --board my-board", "exabench board build --board my-board"),
)
def board() -> None:
    """Check, build, show and publish a leaderboard."""


@board.command(
    examples=(
        "exabench board init --title 'Our rerankers' --task scifact --task trec-dl --board our-board",
        "exabench board init --task mine --data collections --space our-group/board --board our-board",
    )
)
@click.option("--title", default="My leaderboard", show_default=True, help="Title of the pages.")
@click.option(
    "--task", "tasks", multiple=True, default=("mini",), show_default=True, help="A task or suite; repeatable."
)
@click.option("--description", default="", help="A sentence about the board.")
@click.option("--source", default="", help="Address of the board's folder, for copies: https://...")
@click.option("--contact", default="", help="Contact: an e-mail address, an @handle or https://...")
@click.option("--licence", "--license", default="", help="Licence of results and pages, such as cc-by-4.0.")
@click.option("--url", default="", help="Address of the published pages, for feeds and shared links.")
@click.option("--install", default="", help="Source that rebuild.yml installs exabench from: git+https://...@COMMIT.")
@click.option("--space", default="", help="The static Space that rebuild.yml publishes to (owner/name).")
@data_option
@board_option
def init(title: str, tasks: tuple[str, ...], data: Path | None, board: Path, **others: str) -> None:
    """Create a new leaderboard: a folder with a commented board.toml and a GitHub workflow."""
    from exabench.bench.new_board import check_workflow, make_board

    files = make_board(board, title, tasks, data=data, **others)
    value = {"file": files[0], "files": files, "tasks": list(tasks)}
    text = "\n".join(map(str, files))
    notes = []
    try:
        check_workflow(files[-1])
    except BadInput as error:  # to be filled in by hand: who keeps the board knows what goes there
        notes.append(f"note: {error}")
    next_command = command_line("bench", "candidates", tasks[0], board=board, data=data)
    notes.append(f"next: {next_command}")
    answer(value, text, *notes)


@board.command(examples=("exabench board check --board my-board",))
@board_option
def check(board: Path) -> None:
    """Validate every file of a leaderboard; prints one line for each problem."""
    from exabench.bench.verification import check, unchecked_senders

    problems = check(board)
    unchecked = unchecked_senders(board)
    notes = []
    if unchecked:
        entries = plural(len(unchecked), "entry", "entries")
        more = "" if len(unchecked) <= _MOST_NAMED else ", ..."
        named = ", ".join(unchecked[:_MOST_NAMED])
        notes.append(f"note: {entries} came through no queue, which would know their senders: {named}{more}")
    text = f"{board}: every file is in order"
    if problems:
        text = "\n".join(problems)
    value = {"holds": not problems, "problems": problems, "unchecked_senders": unchecked}
    answer(value, text, *notes)
    if problems:
        raise CheckFailed(f"{board}: {plural(len(problems), 'problem')}")


@board.command(examples=("exabench board build --board my-board --to site",))
@board_option
@to_option("Output folder.  [default: BOARD/site]")
@click.option("--check", is_flag=True, help="Write nothing; check that the pages match a new build, byte for byte.")
def build(board: Path, to: Path | None, check: bool) -> None:
    """Build the static pages from the board's files; only pages that changed are written."""
    from exabench.board.pages import differences, render
    from exabench.board.ranking import Board

    site = to or board / "site"
    page = site / "index.html"
    content = Board.read(board)
    if check:
        differing = differences(content, site)
        text = f"{site}: every file matches a new build"
        if differing:
            text = "\n".join(differing)
        value = {"page": page, "holds": not differing, "differing": differing}
        answer(value, text)
        if differing:
            files = plural(len(differing), "file differs", "files differ")
            raise CheckFailed(f"{site}: {files}; `exabench board build` writes them")
        return
    with progress("pages") as report:
        changed = render(content, site, progress=report)
    value = {"page": page, "changed": changed}
    files = plural(len(changed), "file")
    answer(value, str(page), f"{files} changed")


@board.command(has_result=False, examples=("exabench board serve --board my-board --port 8000",))
@board_option
@click.option("--port", type=Count(0, 65535), default=8000, show_default=True, help="Port; 0 picks a free one.")
def serve(board: Path, port: int) -> None:
    """Build the pages and serve them on this machine until Ctrl-C."""
    from exabench.board.pages import render
    from exabench.board.ranking import Board
    from exabench.board.serving import SiteServer

    site = board / "site"
    render(Board.read(board), site)
    with SiteServer(site, port) as server:
        show(server.url)
        note("Ctrl-C stops it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            note("stopped")


@board.command(
    examples=(
        "exabench board publish --board my-board --repo our-group/pages",
        "exabench board publish --board my-board --to public_html --dry-run",
    )
)
@board_option
@place_options
@click.option("--no-check", is_flag=True, help="Publish without checking files and numbers first.")
@data_option
def publish(board: Path, no_check: bool, data: Path | None, **place: Any) -> None:
    """Build the pages and publish them: to a static Space (--repo) in one commit, or to a folder.

    The board is published only if its files are valid and its numbers can be recomputed.
    """
    from exabench.board.publishing import publish_board

    publish_to(publish_board, board, check=not no_check, data=data, **place)


@board.command(
    "publish-lists",
    examples=(
        "exabench board publish-lists --board my-board --repo our-group/my-board-lists",
        "exabench board publish-lists --board my-board --task scifact --to lists --dry-run",
    ),
)
@board_option
@place_options
@click.option("--task", "tasks", multiple=True, help="Only the lists of this task or suite; repeatable.")
@click.option(
    "--framework",
    default="exabench",
    show_default=True,
    help="The evaluation_framework in eval.yaml; the Hub accepts only registered names.",
)
def publish_lists(board: Path, tasks: tuple[str, ...], framework: str, **place: Any) -> None:
    """Publish the frozen candidate lists as a benchmark dataset: a config for each list, and eval.yaml.

    `bench candidates TASK --retriever hub_list` freezes an identical list on another board.
    """
    from exabench.bench.publishing import publish_lists

    publish_to(publish_lists, board, tasks=tasks, framework=framework, **place)


@board.command(
    "push-results",
    examples=(
        "exabench board push-results --board my-board --lists our-group/my-board-lists --dry-run",
        "exabench board push-results --board my-board --lists our-group/my-board-lists --compare",
    ),
)
@click.argument(
    "slugs", nargs=-1, metavar="[SLUG]...", help="Submissions to push.  [default: every model with a Hub id]"
)
@board_option
@click.option(
    "--lists", required=True, metavar="REPO", help="The Hub dataset of the board's candidate lists (publish-lists)."
)
@click.option("--compare", is_flag=True, help="Open nothing; compare the results on the models' pages with the board.")
@click.option("--no-check", is_flag=True, help="Push without recomputing the numbers first.")
@data_option
@not_secret_option
@dry_run_option
def push_results(
    slugs: tuple[str, ...],
    board: Path,
    lists: str,
    compare: bool,
    no_check: bool,
    data: Path | None,
    dry_run: bool,
) -> None:
    """Open a pull request with the board's results (.eval_results) on the Hub page of each model.

    Results that an earlier pull request already gave are not sent again; an interrupted run resumes.
    """
    from exabench.board import eval_results

    if compare:
        _compare_results(eval_results.compare_results(board, lists, slugs))
        return
    with progress("push") as report:
        pushed = eval_results.push_results(
            board, lists, slugs, check=not no_check, data=data, dry_run=dry_run, progress=report
        )
    models = []
    rows = []
    refused = 0
    for result in pushed:
        models.append(asdict(result))
        state = "already submitted"
        if result.problem:
            state = result.problem
            refused += 1
        elif result.changed and dry_run:
            state = "would be opened"
        elif result.changed:
            state = "opened"
        count = plural(len(result.values), "result")
        rows.append((result.submission, count, state, result.url))
    answer({"models": models}, table(("submission", "results", "", "where"), rows, left=4))
    if refused:
        count = plural(refused, "model accepts", "models accept")
        raise CheckFailed(f"{count} no pull request; the others are done")


def _compare_results(values: Sequence[ComparedValue]) -> None:
    """Print the values of the board next to those on the Hub. Raises CheckFailed where one differs."""
    listed = []
    rows = []
    wrong = 0
    for one in values:
        listed.append({**asdict(one), "holds": one.holds})
        there = "-"
        if one.there is not None:
            there = f"{one.there:.4f}"
        verdict = "OK"
        if not one.holds:
            verdict = "FAIL"
            wrong += 1
        rows.append((one.submission, one.task, f"{one.value:.4f}", there, verdict))
    text = table(("submission", "task", "board", "Hub", ""), rows, left=2)
    count = plural(len(values), "value")
    answer({"holds": not wrong, "values": listed}, text, f"{count}, {wrong} differ from the board")
    if wrong:
        count = plural(wrong, "value")
        raise CheckFailed(f"{count} on the Hub differ from the board's, or are missing")
