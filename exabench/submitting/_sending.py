"""Sending a checked submission to a board elsewhere: a pull request on the Hub, a folder, a branch of a checkout."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exabench.discussions import Listed, is_file, open_requests
from exabench.discussions import files as files_of
from exabench.errors import BadInput, printable
from exabench.files import write, writing
from exabench.hub import Repository, dataset_snapshot, is_repo, until_seen
from exabench.submissions import TRAINING_FILES
from exabench.submitting._checking import Checked

RETRIES = 5
"""How often a pull request is tried again that no look finds there."""
PAUSE = 1.0
"""Seconds before the first of them, doubled each time up to eightfold, give or take a half."""


@dataclass(frozen=True)
class Sent:
    """Where a submission went (repository, folder or branch), its address, its files; `changed`: by this call."""

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
    folder, _ = dataset_snapshot(repo, commit, only=wanted)
    return Elsewhere(repo, commit, folder, listed)


def to_repo(checked: Checked, board: Elsewhere, *, dry_run: bool = False, pause: float = PAUSE) -> Sent:
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
        url = opened or _found(board.repo, title, files, stale)
        if url or dry_run:
            return Sent(board.repo, url or repository.url(), tried or not url, tuple(files))
        return None

    def send() -> None:
        nonlocal tried, opened
        tried = True
        opened = repository.commit(files, title, board.commit, delete=stale, pull_request=True, body=_body(checked))

    return until_seen(look, send, f"{board.repo}: the pull request", retries=RETRIES, pause=pause)


def title_of(checked: Checked) -> str:
    """The title of the pull request, and the message of its commit."""
    return f"Submit {checked.submission.name} ({checked.submission.kind})"


def _body(checked: Checked) -> str:
    submission = checked.submission
    lines = [f"- slug: {submission.slug}", f"- kind: {submission.kind}"]
    lines += [f"- {name}: `{digest}`" for name, digest in checked.digests().items()]
    return "\n".join(["Opened by `exabench bench submit`.", "", *lines])


def _report(checked: Checked) -> list[str]:
    return [f"models/{checked.submission.slug}/{name}" for name in TRAINING_FILES]


def _found(repo: str, title: str, files: Mapping[str, bytes], gone: list[str]) -> str:
    """The address of an open pull request that holds these files, or nothing."""
    for request in open_requests(repo):
        if request.title != title:
            continue
        listed = files_of(repo, request.revision)
        if all(is_file(listed.get(path), data) for path, data in files.items()) and not set(gone) & set(listed):
            return request.url
    return ""


def to_folder(checked: Checked, folder: Path, *, dry_run: bool = False) -> Sent:
    """Write the submission's files into an empty folder, as they lie on a board. Raises BadInput, CannotWrite."""
    files = checked.files()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        if folder.is_dir() and there == set(files) and all((folder / p).read_bytes() == d for p, d in files.items()):
            return Sent(str(folder), str(folder), False, tuple(files))
        raise BadInput("is not empty; name a new folder", file=folder)
    if not dry_run:
        for path, data in files.items():
            write(folder / path, data)
    return Sent(str(folder), str(folder), True, tuple(files))


# -- a branch ----------------------------------------------------------------------------------------------------------


def to_branch(checked: Checked, board: Path, branch: str, *, dry_run: bool = False) -> Sent:
    """Commit the submission to a new branch of the git checkout that holds the board; nothing else there changes.

    Neither the work tree nor the index is touched. Raises BadInput for a branch that is there, and what git says.
    """
    git = _Git(board)
    git.run("check-ref-format", "--branch", branch)
    if git.run("for-each-ref", f"refs/heads/{branch}"):
        raise BadInput(f"branch {branch} is there already; name a new one", file=board)
    files, place = checked.files(), git.run("rev-parse", "--show-prefix")
    if not dry_run:
        head = git.run("rev-parse", "HEAD^{commit}")
        commit = git.commit({place + path: data for path, data in files.items()}, head, title_of(checked))
        git.run("update-ref", f"refs/heads/{branch}", commit, "0" * len(head))
    return Sent(branch, branch, True, tuple(files))


class _Git:
    """git in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def run(self, *command: str, given: bytes = b"", own: Mapping[str, str] | None = None) -> str:
        """What a git command prints. Raises BadInput with its complaint."""
        try:
            done = subprocess.run(
                ["git", *command], cwd=self._folder, input=given, capture_output=True, env={**os.environ, **(own or {})}
            )
        except OSError as error:
            raise BadInput(f"git cannot be run here ({error.strerror})", file=self._folder) from error
        if done.returncode:
            said = printable(" ".join(done.stderr.decode("utf-8", "replace").split()) or command[0], 200)
            raise BadInput(f"git {command[0]}: {said}", file=self._folder)
        return done.stdout.decode("utf-8", "replace").rstrip("\n")

    def commit(self, files: Mapping[str, bytes], parent: str, message: str) -> str:
        """A commit on `parent` that adds these files, made beside the index; no branch points at it yet."""
        with writing(self._folder), tempfile.TemporaryDirectory() as folder:
            own = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.run("read-tree", parent, own=own)
            for path, data in files.items():
                blob = self.run("hash-object", "-w", "--stdin", given=data)
                self.run("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", own=own)
            tree = self.run("write-tree", own=own)
        return self.run("commit-tree", tree, "-p", parent, "-m", message)
