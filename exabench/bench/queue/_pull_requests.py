"""The queue on the Hub: the open pull requests of a board's repository."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import exabench.hub.pull_requests as talking
from exabench.bench.ledger import Ledger
from exabench.bench.queue._answers import Answer
from exabench.bench.queue._staging import LARGEST, Pending
from exabench.bench.submissions import DRAWING, EXTERNAL_RUN_KINDS, NAME, TRAINING_FILES, read_submission
from exabench.core.errors import plural, printable
from exabench.core.files import replacing_folder
from exabench.hub.client import snapshot, until_seen
from exabench.hub.pull_requests import Listed
from exabench.models.screening import SubmissionRefused

_TITLE = re.compile(r"Submit (?P<name>[A-Za-z0-9._-]+/[A-Za-z0-9._-]+) \((?P<kind>[a-z]+)\)")
_RUN = r"[a-z0-9][a-z0-9._+-]{0,200}\.trec\.gz"
_UNPACKED = 1 << 30  # bytes that a run may come to when it is unpacked
_MOST = 2000  # files of one submission
_RETRIES = 4
_PAUSE = 1.0


@dataclass(frozen=True)
class Requests:
    """The pull requests of `repo`; the board itself lies in `board`. Answers are comments, each given once.

    A pull request may touch exactly the three places of one submission. One that was answered is closed: its files
    come with the board's own commit.
    """

    board: Path
    repo: str
    pause: float = _PAUSE
    public = True

    def waiting(self) -> list[Pending]:
        """The open pull requests, oldest first."""
        waiting = []
        for request in talking.open_requests(self.repo):
            slug = kind = "?"
            match = _TITLE.fullmatch(request.title)
            if match:
                slug = match["name"].replace("/", "--")
                kind = match["kind"]
            commit = talking.history(self.repo, request.revision)[0]
            waiting.append(Pending(request.number, slug, kind, request.author, request.date, commit, request.url))
        return waiting

    def answered(self, pending: Pending) -> bool:
        """Is our comment there, on the commit that the request is at?"""
        said = talking.talk(self.repo, pending.number).comments
        return any(author == self._me and _mark(pending) in text for author, text in said)

    def fetch(self, pending: Pending, to: Path) -> Path:
        """The request's own files in `to`, as they lie in a local queue; looked at by name and size first."""
        if not to.is_dir():
            self._download(pending, to)
        # Somebody else may have filed this name since a run that was killed fetched it, so this is asked every time.
        self._may_replace(read_submission(to / "submission.toml").slug, pending)
        return to

    def _download(self, pending: Pending, to: Path) -> None:
        """Put the submission, its runs and its report into the new folder `to`. Raises SubmissionRefused."""
        listed = talking.files(self.repo, pending.revision)
        changed = self._changed(pending, listed)
        slug = _only_slug(changed)
        with replacing_folder(to) as folder:
            fetched = folder / "fetched"
            file = self._get(f"submissions/{slug}.toml", listed, pending, fetched)
            submission = read_submission(file)
            if submission.slug != slug:  # the owner is looked up by the slug, so path and content must name one entry
                raise SubmissionRefused(
                    "invalid-submission", f"submissions/{slug}.toml holds {submission.name}; an entry has one name"
                )
            os.replace(file, folder / "submission.toml")
            runs = sorted(path for path in changed if path.startswith("runs/") and path in listed)
            if not runs and submission.kind in EXTERNAL_RUN_KINDS:
                runs = sorted(path for path in listed if path.startswith(f"runs/{slug}/"))
            (folder / "runs").mkdir()
            for path in runs:
                run = self._get(path, listed, pending, fetched)
                _check_unpacked(run)
                os.replace(run, folder / "runs" / run.name)
            for path in sorted(path for path in listed if path.startswith(f"models/{slug}/")):
                report = self._get(path, listed, pending, fetched)
                os.replace(report, folder / report.name)
            shutil.rmtree(fetched)

    def answer(self, pending: Pending, answer: Answer) -> None:
        """One comment, with a line that marks it; after every error it is looked whether it is there all the same."""
        text = f"{answer.text()}\n\n{_mark(pending)}"
        self._until(
            lambda: self.answered(pending) or None,
            lambda: talking.comment(self.repo, pending.number, text),
            f"the answer to {pending.url}",
        )

    def finish(self, pending: Pending) -> None:
        """Close the request."""
        self._until(
            lambda: not talking.talk(self.repo, pending.number).open or None,
            lambda: talking.close(self.repo, pending.number),
            f"{pending.url} closed",
        )

    def _until(self, look: Callable[[], bool | None], do: Callable[[], None], what: str) -> None:
        until_seen(look, do, what, retries=_RETRIES, pause=self.pause)

    @cached_property
    def _me(self) -> str:
        return talking.me()

    def _changed(self, pending: Pending, listed: Mapping[str, Listed]) -> list[str]:
        """The paths that the request changes: against the newest commit of the board that it knows."""
        known = set(talking.history(self.repo, "main"))
        base = next((commit for commit in talking.history(self.repo, pending.revision) if commit in known), None)
        before = talking.files(self.repo, base) if base else {}
        return sorted(path for path in {*listed, *before} if listed.get(path) != before.get(path))

    def _may_replace(self, slug: str, pending: Pending) -> None:
        """Only its owner may send what is filed already once more."""
        there = Ledger(self.board).submission_file(slug).is_file()
        if there and pending.owner.lower() != slug.partition("--")[0].lower():
            raise SubmissionRefused(
                "invalid-submission", f"{slug} is on the board, and {pending.owner} is not its owner; take another name"
            )

    def _get(self, path: str, listed: Mapping[str, Listed], pending: Pending, to: Path) -> Path:
        if path not in listed:
            raise SubmissionRefused("invalid-submission", f"{path} is missing")
        if listed[path].size > LARGEST:
            raise SubmissionRefused(
                "too-large", f"{path} has {listed[path].size:,} bytes; at most {LARGEST:,} are taken"
            )
        snapshot(self.repo, pending.revision, [path], to, kind="dataset")
        return to / path


def _mark(pending: Pending) -> str:
    return f"<!-- exabench answer {pending.revision} -->"


def _only_slug(changed: list[str]) -> str:
    """The one submission whose places these are.

    Raises SubmissionRefused for a path that belongs to none, or to a second one.
    """
    slugs = {path.split("/")[1].removesuffix(".toml") for path in changed if path.count("/")}
    slug = min(slugs, default="")
    named = NAME.fullmatch(slug.replace("--", "/", 1)) is not None
    if not changed or len(changed) > _MOST:
        raise SubmissionRefused(
            "invalid-submission",
            f"the pull request changes {plural(len(changed), 'file')}; at least 1, at most {_MOST}",
        )
    report = "|".join(map(re.escape, (*TRAINING_FILES, DRAWING)))
    own = re.compile(
        rf"submissions/{re.escape(slug)}\.toml|runs/{re.escape(slug)}/{_RUN}|models/{re.escape(slug)}/({report})"
    )
    for path in changed:
        if len(slugs) > 1 or not named or not own.fullmatch(path):
            raise SubmissionRefused(
                "invalid-submission",
                f"a pull request may change submissions/SLUG.toml, runs/SLUG/ and the report in models/SLUG/ of one "
                f"submission, and nothing else; this one changes {printable(path, 100)}",
            )
    return slug


def _check_unpacked(file: Path) -> None:
    """Raises SubmissionRefused for a run that unpacks to more than a run can be, without unpacking all of it."""
    size = 0
    try:
        with gzip.open(file) as stream:
            while piece := stream.read(1 << 20):
                size += len(piece)
                if size > _UNPACKED:
                    raise SubmissionRefused("too-large", f"{file.name} unpacks to more than {_UNPACKED:,} bytes")
    except (OSError, EOFError, zlib.error) as error:
        raise SubmissionRefused("invalid-submission", f"{file.name} is not a whole gzip file") from error
