"""Submitting: a TOML file, its runs or its training's report -> checked, all problems at once -> filed or sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from exabench.bench.ledger import Ledger
from exabench.bench.submissions import read_submission
from exabench.bench.submitting._checking import BASELINES as BASELINES
from exabench.bench.submitting._checking import CheckedSubmission as CheckedSubmission
from exabench.bench.submitting._checking import check as check
from exabench.bench.submitting._checking import with_api_runs
from exabench.bench.submitting._sending import Sent as Sent
from exabench.bench.submitting._sending import board_of, to_folder, to_repo
from exabench.core.errors import BadInput
from exabench.core.nouns import Progress, Submission, silent


def submit(
    file: str | Path,
    runs: Sequence[str],
    board: str | Path,
    *,
    data: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> tuple[Submission, list[Path]]:
    """Check a submission and its runs (`TASK=RUN` or `TASK@CANDIDATES=RUN`) and file them under `board`.

    Where no candidates are named, the run must fit exactly one list of the board. The model "." is the folder that
    the file lies in, and of a trained one the report beside it is filed too. Of kind api without runs, the runs are
    made here. Raises BadInput that lists every problem; nothing is filed unless everything is in order, and on a
    `dry_run` nothing at all. Returns the submission and the files.
    """
    ledger = Ledger(Path(board))
    ledger.settings()
    checked = check(file, runs, ledger)
    if not dry_run:
        checked = with_api_runs(checked, ledger, data, progress)
        return checked.submission, file_on(checked, ledger)
    return checked.submission, [ledger.folder / path for path in checked.files()]


def file_on(checked: CheckedSubmission, ledger: Ledger) -> list[Path]:
    """File a checked submission on a board. Returns the files."""
    slug = checked.submission.slug
    files = [ledger.add_submission(checked.submission), *ledger.add_training(slug, checked.training)]
    return files + [ledger.add_run(slug, *pair, run) for pair, run in checked.runs.items()]


def send(
    file: str | Path,
    runs: Sequence[str],
    *,
    board: str | Path = "leaderboard",
    repo: str = "",
    to: str | Path = "",
    branch: str = "",
    data: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> tuple[Submission, Sent]:
    """Check a submission and send it: to a pull request on `repo`, or into the folder `to`.

    The verdict is that of the repository's own head, else that of `board`. What is there already is not sent again.
    Raises BadInput that lists every problem, OutsideFailed.
    """
    if branch:
        raise BadInput(
            f"--branch was taken out: write the files with --to FOLDER, and commit them to {branch!r} with git"
        )
    if bool(repo) == bool(to):
        raise BadInput("say where to send it, one of --repo owner/board and --to FOLDER")
    there = board_of(repo, read_submission(file).slug) if repo else None
    ledger = Ledger(there.folder if there else Path(board))
    ledger.settings()
    checked = check(file, runs, ledger, public=True)
    if not dry_run:
        checked = with_api_runs(checked, ledger, data, progress)
    if there:
        return checked.submission, to_repo(checked, there, dry_run=dry_run)
    return checked.submission, to_folder(checked, Path(to), dry_run=dry_run)


def withdraw(board: str | Path, slug: str, reason: str) -> Path:
    """Mark a filed submission as withdrawn: it stays listed, its results stay, and it ranks no more.

    Raises BadInput for one that is not filed, for a baseline, and for a reason that is empty or not one line.
    """
    ledger = Ledger(Path(board))
    filed, _ = ledger.readable_submissions()
    if slug not in filed or filed[slug].kind == "baseline":
        others = [name for name, one in filed.items() if one.kind != "baseline"]
        raise BadInput(f"no submission {slug!r} to withdraw; choose from: {', '.join(others) or 'none'}", file=board)
    reason = reason.strip()
    if not reason or len(reason) > 500 or not reason.isprintable():
        raise BadInput("--reason must say why, on one line of at most 500 characters")
    return ledger.add_submission(replace(filed[slug], withdrawn=reason))


def add_baselines(board: str | Path) -> None:
    """File the rerankers that need no model: the scorer's self-test and the bounds of every task page."""
    ledger = Ledger(Path(board))
    for reranker in BASELINES:
        ledger.add_submission(
            Submission(
                name=f"exabench/{reranker}",
                kind="baseline",
                licence="apache-2.0",
                link="https://github.com/exabench/exabench",
                contact="https://github.com/exabench/exabench/issues",
                training_data=(),
                reranker=reranker,
            )
        )
