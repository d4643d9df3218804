"""Sending a checked submission to a board elsewhere: as a pull request on the Hub, or into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exabench.bench.submissions import TRAINING_FILES
from exabench.bench.submitting._checking import CheckedSubmission
from exabench.core.errors import BadInput, printable
from exabench.core.files import replacing_folder, write
from exabench.hub.client import Repository, is_repo, snapshot, until_seen
from exabench.hub.pull_requests import Listed, is_file, open_requests
from exabench.hub.pull_requests import files as files_of

RETRIES = 5
"""How often a pull request is tried again that no look finds there."""
PAUSE = 1.0
"""Seconds before the first of them, doubled each time up to eightfold, give or take a half."""


@dataclass(frozen=True)
class Sent:
    """Where a submission went (repository or folder), its address, its files; `changed`: by this call."""

    to: str
    url: str
    changed: bool
    files: tuple[str, ...]


@dataclass(frozen=True)
class Elsewhere:
    """A board's repository on the Hub at one commit: `folder` holds what a verdict needs, `listed` all its files."""

    repo: str
    commit: str
    folder: Path
    listed: Mapping[str, Listed]


def board_of(repo: str, slug: str) -> Elsewhere:
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
    wanted = [path for path in listed if path.startswith("candidates/") and not path.endswith(".shown.json.gz")]
    wanted += [path for path in listed if path.lower() in ("board.toml", f"submissions/{slug}.toml".lower())]
    folder = snapshot(repo, commit, wanted, kind="dataset")
    return Elsewhere(repo, commit, folder, listed)


def to_repo(checked: CheckedSubmission, board: Elsewhere, *, dry_run: bool = False, pause: float = PAUSE) -> Sent:
    """Open a pull request that adds the submission, in one commit; one that is open with these files is found instead.

    After every error it is looked whether the request is there all the same. Raises BadInput, OutsideFailed.
    """
    files = checked.files()
    repository = Repository(board.repo)
    stale = [path for path in _report(checked) if path in board.listed and path not in files]
    if not stale and all(is_file(board.listed.get(path), data) for path, data in files.items()):
        return Sent(board.repo, repository.url(), False, tuple(files))
    title = title_of(checked)
    tried = False
    opened = ""

    def look() -> Sent | None:
        url = opened or _open_request(board.repo, title, files, stale)
        if url or dry_run:
            return Sent(board.repo, url or repository.url(), tried or not url, tuple(files))
        return None

    def send() -> None:
        nonlocal tried, opened
        tried = True
        opened = repository.commit(files, title, board.commit, delete=stale, pull_request=True, body=_body(checked))

    return until_seen(look, send, f"{board.repo}: the pull request", retries=RETRIES, pause=pause)


def title_of(checked: CheckedSubmission) -> str:
    """The title of the pull request, and the message of its commit."""
    return f"Submit {checked.submission.name} ({checked.submission.kind})"


def _body(checked: CheckedSubmission) -> str:
    submission = checked.submission
    lines = [f"- slug: {submission.slug}", f"- kind: {submission.kind}"]
    lines += [f"- {name}: `{digest}`" for name, digest in checked.digests().items()]
    return "\n".join(["Opened by `exabench bench submit`.", "", *lines])


def _report(checked: CheckedSubmission) -> list[str]:
    return [f"models/{checked.submission.slug}/{name}" for name in TRAINING_FILES]


def _open_request(repo: str, title: str, files: Mapping[str, bytes], gone: list[str]) -> str:
    """The address of an open pull request that holds these files, or nothing."""
    for request in open_requests(repo):
        if request.title != title:
            continue
        listed = files_of(repo, request.revision)
        if all(is_file(listed.get(path), data) for path, data in files.items()) and not set(gone) & set(listed):
            return request.url
    return ""


def to_folder(checked: CheckedSubmission, folder: Path, *, dry_run: bool = False) -> Sent:
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
