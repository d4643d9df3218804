"""The way of a submission: `bench submit`, `bench pending`, `bench run`, `bench withdraw`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._options import Command, board_option, data_option, dry_run_option, json_option
from exabench.cli._output import answer, note, progress, ready, show, show_json, table
from exabench.errors import BadInput, plural

if TYPE_CHECKING:
    from exabench.queueing import Queue

FILE = click.Path(path_type=Path)


@click.command(cls=Command)
@click.argument("file", type=FILE)
@click.option("--run", "runs", multiple=True, metavar="TASK[@CANDIDATES]=RUN", help="A run file; repeat for more.")
@click.option("--repo", default="", help="Open a pull request on this board of the Hub (owner/name).")
@click.option("--to", type=FILE, help="Write the submission's files into this new folder instead.")
@click.option("--branch", default="", help="Commit them to this new branch of the checkout that holds --board.")
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
    from exabench.evaluation import run_board
    from exabench.files import only_writer
    from exabench.submitting import add_baselines

    how: dict[str, Any] = {"engine": engine, "workers": workers, "data": data, "reason": reason}
    if queued:
        if slugs or task or candidates or trusted:
            raise BadInput("--pending takes what strangers sent, whole and in the sandbox: leave the other choices out")
        _take(repo, ready(board), how, as_json)
        return
    if repo:
        raise BadInput("--repo belongs to --pending")
    folder = ready(board)
    with only_writer(folder), progress("results") as report:
        add_baselines(folder)
        chosen: dict[str, Any] = {"slugs": slugs, "task": task, "candidates": candidates, "trusted": trusted}
        try:
            files = run_board(folder, **chosen, **how, progress=report)
        except BadInput as error:
            if "no-sandbox: " not in str(error):
                raise
            raise BadInput(f"{error}; models of your own run without it, with --trusted") from error
    if as_json:
        show_json({"results": [str(file) for file in files]})
        return
    for file in files:
        show(str(file))


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


def _take(repo: str, board: Path, how: dict[str, Any], as_json: bool) -> None:
    """Take what waits, and say what came of it. Raises MissingExtra or OutsideFailed where some of it still waits."""
    from exabench.errors import MissingExtra, OutsideFailed
    from exabench.files import only_writer
    from exabench.queueing import work_off

    answers: list[dict[str, Any]] = []
    left: dict[str, list[str]] = {}
    with only_writer(board), progress("results") as report:
        evaluate, adopt = _hands(board, bool(repo), how, report)
        for answer in work_off(_queue(repo, board), evaluate, adopt, told=note):
            if answer.waits:
                left.setdefault(f"{answer.reason}: {answer.message}", []).append(answer.slug)
                continue
            answers.append(answer.as_json())
            if not as_json:
                said = f"refused: {answer.reason}: {answer.message}" if answer.reason else "scored"
                show(f"{answer.slug}: {said}{'' if answer.reason else ', ' + plural(len(answer.scores), 'result')}")
    if as_json:
        show_json({"answers": answers, "waiting": [slug for slugs in left.values() for slug in slugs]})
    if left:
        outside = all(why.startswith("unreachable: ") for why in left)
        said = "; ".join(f"{', '.join(slugs)}: left waiting: {why}" for why, slugs in left.items())
        raise (OutsideFailed if outside else MissingExtra)(said)


def _hands(
    board: Path, public: bool, how: dict[str, Any], report: Callable[[int, int, str], None]
) -> tuple[Callable[[Path, Path], str], Callable[[Path, Path, str], None]]:
    """How the queue has a submission evaluated on a board of its own, and taken over to the real one."""
    from exabench.evaluation import merge_results as take_over
    from exabench.evaluation import run_board
    from exabench.ledger import Ledger
    from exabench.submitting import check, file_on

    real = Ledger(board)

    def evaluate(sent: Path, apart: Path) -> str:
        runs = []
        for file in sorted((sent / "runs").glob("*.trec.gz")):
            task, _, candidates = file.name.removesuffix(".trec.gz").partition(".")
            runs.append(f"{task}@{candidates}={file}")
        checked = check(sent / "submission.toml", runs, real, public=public, queued=True)
        file_on(checked, Ledger(apart))
        slug = checked.submission.slug
        run_board(apart, slugs=[slug], trusted=False, **how, progress=report)
        return slug

    def adopt(sent: Path, apart: Path, slug: str) -> None:
        own = Ledger(apart)
        real.add_submission(own.submissions()[slug])
        real.add_training(slug, own.trainings().get(slug))
        take_over(board, apart, slug, reason=how["reason"])

    return evaluate, adopt
