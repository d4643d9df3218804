"""The queue on the Hub: the open pull requests of a board's repository."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import exabench.hub.pull_requests as hub
from exabench.bench.ledger import Ledger
from exabench.bench.queue._pending import LARGEST, Answer, Pending
from exabench.bench.submissions import (
    DRAWING,
    EXTERNAL_RUN_KINDS,
    NAME,
    TRAINING_FILES,
    is_of_its_model,
    not_theirs,
    read_submission,
)
from exabench.core.errors import plural, printable
from exabench.core.files import replacing_folder
from exabench.core.nouns import Submission
from exabench.hub.client import find_commit, snapshot, until_seen
from exabench.models.screening import SubmissionRefused

_TITLE = re.compile(r"Submit (?P<name>[A-Za-z0-9._-]+/[A-Za-z0-9._-]+) \((?P<kind>[a-z]+)\)")
_REPORT = "|".join(map(re.escape, (*TRAINING_FILES, DRAWING)))
_PLACE = re.compile(
    r"submissions/([A-Za-z0-9._-]+)\.toml"
    r"|runs/([A-Za-z0-9._-]+)/[a-z0-9][a-z0-9._+-]{0,200}\.trec\.gz"
    rf"|models/([A-Za-z0-9._-]+)/(?:{_REPORT})"
)
_MOST = 2000  # files of one submission: a run for each task and list, and a report
_LARGEST_SUM = 1 << 30  # bytes of these files together: packed runs of BEIR over many lists are tens of megabytes
_RETRIES = 4  # with a pause doubled each time: about 15 seconds, then the next run of the queue tries again


@dataclass(frozen=True)
class PullRequestQueue:
    """The pull requests of `repo`; the board itself is in `board`. Answers are comments, each given once.

    A pull request may touch exactly the three places of one submission. One that was answered is closed: its files
    come with the board's own commit. `pause`: seconds before the first retry.
    """

    board: Path
    repo: str
    pause: float = 1.0
    public = True  # anybody may send something, so a model is a Hub id at a commit

    @property
    def source(self) -> str:
        """The name of the folder in which its submissions are evaluated."""
        return self.repo.replace("/", "--")

    def waiting(self) -> list[Pending]:
        """The open pull requests, oldest first."""
        waiting = []
        for request in hub.open_requests(self.repo):
            slug = kind = "?"
            match = _TITLE.fullmatch(request.title)
            if match:
                slug = match["name"].replace("/", "--")
                kind = match["kind"]
            commit = find_commit(self.repo, request.revision, None)  # one call, however many there are
            waiting.append(Pending(request.number, slug, kind, request.author, request.date, commit, request.url))
        return waiting

    def is_answered(self, pending: Pending) -> bool:
        """Is our comment there, on the commit that the request is at?"""
        said = hub.read_comments(self.repo, pending.number).comments
        return any(author == self._me and _mark(pending) in text for author, text in said)

    def fetch(self, pending: Pending, to: Path) -> Path:
        """The request's own files in `to`, as they are in a local queue; names and sizes are looked at first.

        Raises SubmissionRefused.
        """
        if not to.is_dir():
            self._download(pending, to)
        # Somebody else may have filed this name since a run that was killed fetched it, so this is asked every time.
        self._check_sender(read_submission(to / "submission.toml"), pending.owner)
        return to

    def answer(self, pending: Pending, answer: Answer) -> None:
        """Leave one comment, with a line that marks it; after an error it is left again only if it is not there."""
        text = f"{answer.text()}\n\n{_mark(pending)}"
        until_seen(
            lambda: self.is_answered(pending) or None,
            lambda: hub.comment(self.repo, pending.number, text),
            f"the answer to {pending.url}",
            retries=_RETRIES,
            pause=self.pause,
        )

    def finish(self, pending: Pending) -> None:
        """Close the request."""
        until_seen(
            lambda: not hub.read_comments(self.repo, pending.number).open or None,
            lambda: hub.close(self.repo, pending.number),
            f"{pending.url} closed",
            retries=_RETRIES,
            pause=self.pause,
        )

    def _check_sender(self, submission: Submission, sender: str) -> None:
        """Raise SubmissionRefused where `sender`, an account of the Hub, may not use the submission's name.

        An entry that another sent under the name of its model's owner is replaced by that account or by the owner.
        """
        file = Ledger(self.board).submission_file(submission.slug)
        is_others = file.is_file() and read_submission(file).sender != sender
        if sender.lower() == submission.owner.lower() or (is_of_its_model(submission) and not is_others):
            return
        if sender in hub.members(submission.owner):
            return
        if file.is_file():
            what = f"{submission.slug} is on the board, and {sender} is not its owner; choose another name"
        else:
            what = not_theirs(submission, sender)
        raise SubmissionRefused("invalid-submission", what)

    @cached_property
    def _me(self) -> str:
        return hub.account()[0]

    def _download(self, pending: Pending, to: Path) -> None:
        """Put the submission, its runs and its report into the new folder `to`. Raises SubmissionRefused."""
        listed = hub.list_files(self.repo, pending.revision)

        # The paths that the request changes: against the newest commit of the board that it knows, since files that
        # the board added later are no change of its own.
        known = set(hub.history(self.repo, "main"))
        before = {}
        for commit in hub.history(self.repo, pending.revision):
            if commit in known:
                before = hub.list_files(self.repo, commit)
                break
        changed = sorted({path for path, _ in listed.items() ^ before.items()})

        # They must all be places of one submission.
        if not changed or len(changed) > _MOST:
            raise SubmissionRefused(
                "invalid-submission",
                f"the pull request changes {plural(len(changed), 'file')}; at least 1, at most {_MOST}",
            )
        slugs = set()
        for path in changed:
            place = _PLACE.fullmatch(path)
            slug = "".join(place.groups("")) if place else ""  # one of the three groups, or none
            slugs.add(slug)
            if len(slugs) > 1 or not NAME.fullmatch(slug.replace("--", "/", 1)):
                raise SubmissionRefused(
                    "invalid-submission",
                    f"a pull request may change submissions/SLUG.toml, runs/SLUG/ and the report in models/SLUG/ of "
                    f"one submission, and nothing else; this one changes {printable(path)}",
                )

        total = sum(file.size for path, file in listed.items() if slug in path.split("/")[1:2])
        if total > _LARGEST_SUM:
            raise SubmissionRefused("too-large", f"its files have {total:,} bytes; at most {_LARGEST_SUM:,} are taken")

        with replacing_folder(to) as folder:
            fetched = folder / "fetched"

            def fetch(path: str) -> Path:
                if path not in listed:
                    raise SubmissionRefused("invalid-submission", f"{path} is missing")
                size = listed[path].size
                if size > LARGEST:
                    raise SubmissionRefused("too-large", f"{path} has {size:,} bytes; at most {LARGEST:,} are taken")
                snapshot(self.repo, pending.revision, [path], fetched, kind="dataset")
                return fetched / path

            file = fetch(f"submissions/{slug}.toml")
            submission = read_submission(file)
            if submission.slug != slug:  # the owner is looked up by the slug, so path and content must name one entry
                raise SubmissionRefused(
                    "invalid-submission", f"submissions/{slug}.toml holds {submission.name}; an entry has one name"
                )
            os.replace(file, folder / "submission.toml")
            runs = [path for path in changed if path.startswith("runs/") and path in listed]
            if not runs and submission.kind in EXTERNAL_RUN_KINDS:
                runs = [path for path in listed if path.startswith(f"runs/{slug}/")]
            (folder / "runs").mkdir()
            for path in sorted(runs):
                run = fetch(path)
                os.replace(run, folder / "runs" / run.name)
            for path in sorted(listed):
                if path.startswith(f"models/{slug}/"):
                    report = fetch(path)
                    os.replace(report, folder / report.name)
            shutil.rmtree(fetched)


def _mark(pending: Pending) -> str:
    return f"<!-- exabench answer {pending.revision} -->"
