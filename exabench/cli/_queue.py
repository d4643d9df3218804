"""The way of a submission: `bench submit`, `bench pending`, `bench run`, `bench withdraw`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._options import PATH, Command, board_option, data_option, dry_run_option, json_option, to_option
from exabench.cli._output import answer, note, progress, ready, show, show_json, table
from exabench.core.errors import BadInput, ExabenchError, plural

if TYPE_CHECKING:
    from exabench.bench.queue import Queue


@click.command(cls=Command)
@click.argument("file", type=PATH)
@click.option("--run", "runs", multiple=True, metavar="TASK[@CANDIDATES]=RUN", help="A run file; repeat for more.")
@click.option("--repo", default="", help="Open a pull request on this board of the Hub (owner/name).")
@to_option("Write the submission's files into this new folder instead.")
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
    from exabench.bench.submitting import send
    from exabench.bench.submitting import submit as file_here

    sent: dict[str, Any] = {}
    with progress("runs") as report:
        if repo or to or branch:
            submission, done = send(
                file,
                runs,
                board=board,
                repo=repo,
                to=to or "",
                branch=branch,
                data=data,
                dry_run=dry_run,
                progress=report,
            )
            sent.update(asdict(done))
            files = list(done.files)
        else:
            submission, paths = file_here(file, runs, ready(board), data=data, dry_run=dry_run, progress=report)
            files = [str(path) for path in paths]
    answer(as_json, {"slug": submission.slug, **sent, "files": files}, "\n".join(files))
    if as_json:
        return
    if dry_run:
        note("in order; nothing was sent")
    elif sent:
        note(f"{'sent' if sent['changed'] else 'there already'}: {sent['url']}")
    else:
        note(f"filed; next: exabench bench run {submission.slug}")


@click.command(cls=Command)
@click.option("--repo", default="", help="The board's repository on the Hub (owner/name): its open pull requests.")
@board_option
@json_option
def pending(repo: str, board: Path, as_json: bool) -> None:
    """List what waits: the pull requests of --repo, or the folders of the board's own queue."""
    waiting = _queue(repo, board).waiting()
    rows = [(one.slug, one.number or "", one.kind, one.owner, one.date, one.url) for one in waiting]
    text = table(("submission", "number", "kind", "owner", "date", "where"), rows)
    answer(as_json, {"pending": [asdict(one) for one in waiting]}, text)
    if not as_json:
        note(f"{len(rows)} waiting")


@click.command(cls=Command)
@click.argument("slugs", nargs=-1)
@click.option("--task", help="Only this task.")
@click.option("--candidates", help="Only these candidates.")
@click.option("--trusted", is_flag=True, help="Run models in this process, without the sandbox: for your own alone.")
@click.option("--pending", "queued", is_flag=True, help="Take what waits, one by one, and answer.")
@click.option("--repo", default="", help="With --pending: the board's repository on the Hub (owner/name).")
@click.option("--reason", default="", help="Why numbers change, for the change log.")
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
    from exabench.bench.evaluation import raise_failures, run_board
    from exabench.bench.submitting import add_baselines
    from exabench.core.files import only_writer

    folder = ready(board)
    if queued:
        if slugs or task or candidates or trusted:
            raise BadInput("--pending takes what others sent, whole and in the sandbox: leave the other choices out")
        _work_off(_queue(repo, folder), data, engine, workers, reason, as_json)
        return
    if repo:
        raise BadInput("--repo belongs to --pending")
    failures: dict[str, ExabenchError] = {}
    with only_writer(folder), progress("results") as report:
        add_baselines(folder)
        files = run_board(
            folder,
            slugs=slugs,
            task=task,
            candidates=candidates,
            data=data,
            trusted=trusted,
            reason=reason,
            engine=engine,
            workers=workers,
            progress=report,
            failures=failures,
        )
    results = [str(file) for file in files]
    answer(as_json, {"results": results}, "\n".join(results))
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
    from exabench.bench.submitting import withdraw as withdrawn
    from exabench.core.files import only_writer

    with only_writer(board):
        file = withdrawn(board, slug.replace("/", "--"), reason)
    answer(as_json, {"file": str(file)}, str(file))


def _queue(repo: str, board: Path) -> Queue:
    from exabench.bench.queue import Folders, Requests

    return Requests(board, repo) if repo else Folders(ready(board))


def _work_off(queue: Queue, data: Path | None, engine: str, workers: int, reason: str, as_json: bool) -> None:
    from exabench.bench.queue import raise_waiting, work_off

    answers = []
    with progress("results") as report:
        for given in work_off(
            queue, data=data, engine=engine, workers=workers, reason=reason, note=note, progress=report
        ):
            answers.append(given)
            if given.waits or as_json:
                continue
            if given.reason:
                show(f"{given.slug}: refused: {given.reason}: {given.message}")
            else:
                show(f"{given.slug}: scored, {plural(len(given.scores), 'result')}")
    if as_json:
        final = [given.as_json() for given in answers if not given.waits]
        show_json({"answers": final, "waiting": [given.slug for given in answers if given.waits]})
    raise_waiting(answers)
