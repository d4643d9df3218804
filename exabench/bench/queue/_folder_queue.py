"""The local queue: a folder for each submission in the board's `pending/`."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import dataclass
from pathlib import Path

from exabench.bench.ledger import Ledger
from exabench.bench.queue._pending import LARGEST, Answer, Pending
from exabench.bench.submissions import read_submission
from exabench.core.errors import BadInput, ExabenchError
from exabench.core.files import digest_of, file_digest, json_text, write, writing
from exabench.models.screening import SubmissionRefused

ANSWER = "answer.json"


@dataclass(frozen=True)
class Folders:
    """`pending/<slug>/` of a board: submission.toml, runs/<task>.<candidates>.trec.gz, the report of a training.

    One that was refused keeps its folder, with answer.json; taking that file away puts it back into the queue.
    """

    board: Path
    public = False  # only who may write here puts a folder here

    def waiting(self) -> list[Pending]:
        """The folders without an answer, by date and name; `revision` changes with any file of a folder."""
        found = []
        for folder in Ledger(self.board).pending.glob("*"):
            if not folder.is_dir() or (folder / ANSWER).is_file():
                continue
            newest = 0.0
            digests = {}
            for file in sorted(folder.rglob("*")):
                if file.is_file() and not file.is_symlink():
                    digests[file.relative_to(folder).as_posix()] = file_digest(file)
                    newest = max(newest, file.stat().st_mtime)
            try:
                submission = read_submission(folder / "submission.toml")
                kind = submission.kind
                owner = submission.owner
            except ExabenchError:
                kind = "?"
                owner = folder.name.partition("--")[0]
            date = datetime.datetime.fromtimestamp(newest, datetime.UTC).date().isoformat()
            found.append(Pending(0, folder.name, kind, owner, date, digest_of(digests), str(folder)))
        return sorted(found, key=lambda one: (one.date, one.slug))

    def answered(self, pending: Pending) -> bool:
        """Never: an answered folder does not wait."""
        return False

    def fetch(self, pending: Pending, to: Path) -> Path:
        """The folder itself, if it holds plain files of a bearable size."""
        folder = Path(pending.url)
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                raise SubmissionRefused("unsafe-files", f"{name} is a link or no plain file")
            if file.is_file() and file.stat().st_size > LARGEST:
                raise SubmissionRefused("too-large", f"{name} is larger than {LARGEST:,} bytes")
        slug = read_submission(folder / "submission.toml").slug
        if slug != folder.name:
            raise BadInput(f"the folder must be called {slug}, as its submission is")
        return folder

    def answer(self, pending: Pending, answer: Answer) -> None:
        """Write answer.json, where it was refused."""
        if answer.reason:
            write(Path(pending.url) / ANSWER, json_text(answer.as_json()))

    def finish(self, pending: Pending) -> None:
        """Take a scored one out of the queue."""
        folder = Path(pending.url)
        if not (folder / ANSWER).is_file():
            with writing(folder):
                shutil.rmtree(folder)
