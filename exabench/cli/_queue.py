"""The way of a submission: `bench submit`, `bench pending`, `bench run`, `bench withdraw`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._options import Command, board_option, data_option, dry_run_option, json_option
from exabench.cli._output import answer, note, progress, ready, show, show_json, table
from exabench.errors import BadInput, ExabenchError, plural

if TYPE_CHECKING:
    from exabench.queueing import Queue

FILE = click.Path(path_type=Path)


@click.command(cls=Command)
@click.argument("file", type=FILE)
@click.option("--run", "runs", multiple=True, metavar="TASK[@CANDIDATES]=RUN", help="A run file; repeat for more.")
@click.option("--repo", default="", help="Open a pull request on this board of the Hub (owner/name).")
@click.option("--to", type=FILE, help="Write the submission's files into this new folder instead.")
@click.option("--branch", default="", hidden=True)
@dry_run_option
@data_option
@board_option
@json_option
def submit(
    file: Path,
    runs: tuple[str, ...],
    repo: str,
    to: Path | None,
    branch: str,
    dry_run: bool,
    data: Path | None,
    board: Path,
    as_json: bool,
) -> None:
    """Check the submission FILE and its runs, all problems at once, and file them on the board, or send them to one."""
    from exabench.submitting import send
    from exabench.submitting import submit as filed

    given: dict[str, Any] = {"data": data, "dry_run": dry_run}
    with progress("runs") as report:
        if not (repo or to or branch):
            submission, files = filed(file, runs, ready(board), **given, progress=report)
            sent = {"files": [str(path) for path in files]}
        else:
            places: dict[str, Any] = {"board": board, "repo": repo, "to": to or "", "branch": branch}
            submission, done = send(file, runs, **places, **given, progress=report)
            sent = asdict(done) | {"files": list(done.files)}
    if as_json:
        show_json({"slug": submission.slug, **sent})
        return
    for path in sent["files"]:
        show(path)
    if dry_run:
        note("in order; nothing was sent")
    elif "url" not in sent:
        note(f"filed; next: exabench bench run {submission.slug}")
    else:
        note(f"{'sent' if sent['changed'] else 'there already'}: {sent['url']}")


@click.command(cls=Command)
@click.option("--repo", default="", help="The board's repository on the Hub (owner/name): its open pull requests.")
@board_option
@json_option
def pending(repo: str, board: Path, as_json: bool) -> None:
    """List what waits: the pull requests of --repo, or the folders of the board's own queue."""
    waiting = _queue(repo, board).waiting()
    if as_json:
        show_json({"pending": [asdict(one) for one in waiting]})
        return
    rows = [(one.slug, one.number or "", one.kind, one.owner, one.date, one.url) for one in waiting]
    show(table(("submission", "number", "kind", "owner", "date", "where"), rows))
    note(f"{len(rows)} waiting")


@click.command(cls=Command)
@click.argument("slugs", nargs=-1)
@click.option("--task", help="Only this task.")
@click.option("--candidates", help="Only these candidates.")
@click.option("--trusted", is_flag=True, help="Run models in this process, without the sandbox: for your own alone.")
@click.option("--pending", "queued", is_flag=True, help="Take what waits, one by one, and answer.")
@click.option("--repo", default="", help="With --pending: the board's repository on the Hub (owner/name).")
@click.option("--reason", default="", help="What the change log is to say of numbers that change.")
@click.option("--engine", default="local", show_default=True, help="Who computes: local, or ray.")
@click.option("--workers", type=click.IntRange(0), default=0, help="How many at a time; 0: one for each GPU.")
@data_option
@board_option
@json_option
def run(
    slugs: tuple[str, ...],
    task: str | None,
    candidates: str | None,
    trusted: bool,
    queued: bool,
    repo: str,
    reason: str,
    engine: str,
    workers: int,
    data: Path | None,
    board: Path,
    as_json: bool,
) -> None:
    """Compute the results of the filed submissions (all, or SLUGS); those that still hold are kept.

    With --pending those that wait are taken instead: checked, run in the sandbox, filed with their results, answered.
    """
    from exabench.evaluation import raise_failures, run_board
    from exabench.files import only_writer
    from exabench.submitting import add_baselines

    how: dict[str, Any] = {"engine": engine, "workers": workers, "data": data, "reason": reason}
    if queued:
        if slugs or task or candidates or trusted:
            raise BadInput("--pending takes what strangers sent, whole and in the sandbox: leave the other choices out")
        _work_off(_queue(repo, ready(board)), how, as_json)
        return
    if repo:
        raise BadInput("--repo belongs to --pending")
    folder = ready(board)
    failures: dict[str, ExabenchError] = {}
    with only_writer(folder), progress("results") as report:
        add_baselines(folder)
        chosen: dict[str, Any] = {"slugs": slugs, "task": task, "candidates": candidates, "trusted": trusted}
        files = run_board(folder, **chosen, **how, progress=report, failures=failures)
    if as_json:
        show_json({"results": [str(file) for file in files]})
    else:
        for file in files:
            show(str(file))
    if any("no-sandbox: " in str(error) for error in failures.values()):
        note("models of your own run without the sandbox, with --trusted")
    if failures:
        raise_failures(failures)


@click.command(cls=Command)
@click.argument("slug")
@click.option("--reason", required=True, help="Why, in one line; pages show it.")
@board_option
@json_option
def withdraw(slug: str, reason: str, board: Path, as_json: bool) -> None:
    """Mark the submission SLUG as withdrawn: it stays listed with its results, and ranks no more."""
    from exabench.files import only_writer
    from exabench.submitting import withdraw as withdrawn

    with only_writer(board):
        file = withdrawn(board, slug.replace("/", "--"), reason)
    answer(as_json, {"file": str(file)}, str(file))


def _queue(repo: str, board: Path) -> Queue:
    from exabench.queueing import Folders, Requests

    return Requests(board, repo) if repo else Folders(ready(board))


def _work_off(queue: Queue, how: dict[str, Any], as_json: bool) -> None:
    from exabench.queueing import raise_waiting, work_off

    answers = []
    with progress("results") as report:
        for answer in work_off(queue, **how, note=note, progress=report):
            answers.append(answer)
            if answer.waits or as_json:
                continue
            if answer.reason:
                show(f"{answer.slug}: refused: {answer.reason}: {answer.message}")
            else:
                show(f"{answer.slug}: scored, {plural(len(answer.scores), 'result')}")
    if as_json:
        given = [answer.as_json() for answer in answers if not answer.waits]
        show_json({"answers": given, "waiting": [answer.slug for answer in answers if answer.waits]})
    raise_waiting(answers)
