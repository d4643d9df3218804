"""Submitting: a TOML file, its runs or its training's report -> checked, all problems at once -> filed or sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exabench.bench.ledger import Ledger
from exabench.bench.submissions import TRAINING_FILES, read_submission
from exabench.bench.submitting._checking import BASELINES as BASELINES
from exabench.bench.submitting._checking import CheckedSubmission, with_api_runs
from exabench.bench.submitting._checking import check as check
from exabench.core.errors import BadInput, printable
from exabench.core.files import digest_of, replacing_folder, write
from exabench.core.nouns import Progress, Submission, silent
from exabench.hub.client import Repository, dataset_snapshot, is_repo, until_seen
from exabench.hub.pull_requests import Listed, is_file, open_requests
from exabench.hub.pull_requests import files as files_of
from exabench.measure.runs import run_digest


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


@dataclass(frozen=True)
class Sent:
    """Where a submission went (repository or folder), its address, its files; `changed`: by this call."""

    to: str
    url: str
    changed: bool
    files: tuple[str, ...]


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
    there = _board_of(repo, read_submission(file).slug) if repo else None
    ledger = Ledger(there.folder if there else Path(board))
    ledger.settings()
    checked = check(file, runs, ledger, public=True)
    if not dry_run:
        checked = with_api_runs(checked, ledger, data, progress)
    if there:
        return checked.submission, _send_to_repo(checked, there, dry_run)
    return checked.submission, _send_to_folder(checked, Path(to), dry_run)


@dataclass(frozen=True)
class _HubBoard:
    """A board's repository on the Hub at one commit: `folder` holds what a verdict needs, `listed` all its files."""

    repo: str
    commit: str
    folder: Path
    listed: Mapping[str, Listed]


def _board_of(repo: str, slug: str) -> _HubBoard:
    """The board of a repository at its head: settings, candidates, and what is filed as `slug` in any case.

    Raises BadInput, OutsideFailed.
    """
    if not is_repo(repo):
        raise BadInput(f"--repo {printable(repo)!r} must be a repository of the Hub (owner/name)")
    commit = Repository(repo).head()
    if commit is None:
        raise BadInput(f"Hub dataset {repo} is not there, or not for this token; check the name")
    listed = files_of(repo, commit)
    if "board.toml" not in listed:
        raise BadInput(f"Hub dataset {repo} is no leaderboard: board.toml is missing")
    wanted = []
    for path in listed:
        is_list = path.startswith("candidates/") and not path.endswith(".shown.json.gz")
        if is_list or path.lower() in ("board.toml", f"submissions/{slug}.toml".lower()):
            wanted.append(path)
    folder, _ = dataset_snapshot(repo, commit, only=wanted)
    return _HubBoard(repo, commit, folder, listed)


def _send_to_repo(checked: CheckedSubmission, board: _HubBoard, dry_run: bool) -> Sent:
    """Open a pull request that adds the submission, in one commit; one that is open with these files is found instead.

    After every error it is looked whether the request is there already. Raises BadInput, OutsideFailed.
    """
    submission = checked.submission
    files = checked.files()
    report = [f"models/{submission.slug}/{name}" for name in TRAINING_FILES]
    stale = [path for path in report if path in board.listed and path not in files]
    repository = Repository(board.repo)
    title = f"Submit {submission.name} ({submission.kind})"
    tried = False
    opened = ""

    def is_held(listed: Mapping[str, Listed]) -> bool:
        has_stale = any(path in listed for path in stale)
        return not has_stale and all(is_file(listed.get(path), data) for path, data in files.items())

    def look() -> Sent | None:
        url = opened
        if not url:
            for request in open_requests(board.repo):
                if request.title == title and is_held(files_of(board.repo, request.revision)):
                    url = request.url
                    break
        if url or dry_run:
            return Sent(board.repo, url or repository.url(), tried or not url, tuple(files))
        return None

    def send() -> None:
        nonlocal tried, opened
        tried = True
        opened = repository.commit(files, title, board.commit, delete=stale, pull_request=True, body=_body(checked))

    if is_held(board.listed):
        return Sent(board.repo, repository.url(), False, tuple(files))
    return until_seen(look, send, f"{board.repo}: the pull request")


def _body(checked: CheckedSubmission) -> str:
    """The text of a pull request, with the digest of the submission, of each run and of the report."""
    submission = checked.submission
    slug = submission.slug
    text = f"Opened by `exabench bench submit`.\n\n- slug: {slug}\n- kind: {submission.kind}"
    text += f"\n- submission: `{digest_of(checked.files()[f'submissions/{slug}.toml'])}`"
    for (task, candidates), run in checked.runs.items():
        text += f"\n- run {task} over {candidates}: `{run_digest(run, slug)}`"
    if checked.training:
        text += f"\n- training.json: `{digest_of(checked.training.files['training.json'])}`"
    return text


def _send_to_folder(checked: CheckedSubmission, folder: Path, dry_run: bool) -> Sent:
    """Write the submission's files into an empty folder, as they lie on a board. Raises BadInput, CannotWrite."""
    files = checked.files()
    if folder.exists() and not folder.is_dir():
        raise BadInput("is a file; name a new folder", file=folder)
    there = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    if there and there != files:
        raise BadInput("is not empty; name a new folder", file=folder)
    if not there and not dry_run:
        with replacing_folder(folder) as fresh:
            for path, data in files.items():
                write(fresh / path, data)
    return Sent(str(folder), str(folder), not there, tuple(files))


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
