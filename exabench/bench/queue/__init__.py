"""The queue: what waits for a board, taken one by one: checked, evaluated apart, filed whole, and answered.

A submission is evaluated on a small board next to the real one, which is not touched before all its results are there.
All state is in files and on the pull requests, so that a killed queue can continue.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exabench.bench.evaluation import list_by_message, merge_results, run_board
from exabench.bench.ledger import Ledger
from exabench.bench.queue._pending import LARGEST, Answer, Pending, acceptance, public_line, refusal
from exabench.bench.queue._pull_requests import PullRequestQueue
from exabench.bench.sandbox import LIMITS, JailLimits
from exabench.bench.submissions import read_submission
from exabench.bench.submitting import check, file_on
from exabench.core.errors import BadInput, CannotWrite, ExabenchError, MissingExtra, OutsideFailed
from exabench.core.files import digest_of, file_digest, json_text, only_writer, read_json, write, writing
from exabench.core.nouns import Progress, silent
from exabench.core.records import read
from exabench.models.screening import SubmissionRefused

__all__ = [
    "Answer",
    "FolderQueue",
    "PullRequestQueue",
    "public_line",
    "queue_of",
    "raise_waiting",
    "refusal",
    "work_off",
]

ANSWER = "answer.json"

_LONGEST_CHECK = 900.0
"""Seconds to fetch and check one submission, outside the jail: fifty runs of MS MARCO's size take five minutes."""


@dataclass(frozen=True)
class FolderQueue:
    """The local queue: `pending/<slug>/` of a board, with submission.toml, `runs/` and the report of a training.

    One that was refused keeps its folder, with answer.json; taking that file away puts it back into the queue.
    """

    board: Path
    public = False  # only who may write here puts a folder here
    source = "pending"  # the name of the folder in which its submissions are evaluated

    def waiting(self) -> list[Pending]:
        """The folders without an answer, by date and name; `revision` changes with any file of a folder."""
        found = []
        for folder in Ledger(self.board).pending.glob("[!.]*"):
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

    def is_answered(self, pending: Pending) -> bool:
        """Never: an answered folder does not wait."""
        return False

    def fetch(self, pending: Pending, to: Path) -> Path:
        """The folder itself, if it holds plain files of a bearable size."""
        folder = Path(pending.url)
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            if file.is_symlink() or not (file.is_file() or file.is_dir()):
                raise SubmissionRefused("unsafe-files", f"{name} is a link or not a regular file")
            if file.is_file() and file.stat().st_size > LARGEST:
                raise SubmissionRefused("too-large", f"{name} is larger than {LARGEST:,} bytes")
        slug = read_submission(folder / "submission.toml").slug
        if slug != folder.name:
            raise BadInput(f"the folder must be named {slug}, like its submission")
        return folder

    def answer(self, pending: Pending, answer: Answer) -> None:
        """Write answer.json, where it was refused."""
        if answer.reason:
            write(Path(pending.url) / ANSWER, json_text(answer.as_json()))

    def finish(self, pending: Pending) -> None:
        """Take a scored one out of the queue."""
        folder = Path(pending.url)
        if not (folder / ANSWER).is_file():
            # Renamed first: half a folder, left by a kill, would be refused by the next run. `only_writer` sweeps.
            leftover = folder.with_name(f".{folder.name}.unfinished")
            with writing(folder):
                os.rename(folder, leftover)
                shutil.rmtree(leftover)


# Where submissions wait for a board.
Queue = FolderQueue | PullRequestQueue


def queue_of(board: Path, repo: str) -> Queue:
    """The open pull requests of `repo` on the Hub; without one, the folders that wait on the board itself."""
    return PullRequestQueue(board, repo) if repo else FolderQueue(board)


def work_off(
    queue: Queue,
    *,
    data: str | Path | None = None,
    limits: JailLimits = LIMITS,
    engine: str = "local",
    workers: int = 0,
    reason: str = "",
    progress: Progress = silent,
    note: Callable[[str], None] = lambda line: None,
) -> Iterator[Answer]:
    """Process what waits one by one, oldest first; yields the answer to each as soon as it is given.

    Models run in the sandbox; the options are those of `evaluation.run_board`. Nothing that is wrong with one
    submission keeps the others waiting. What this machine cannot run keeps waiting, and so does what failed outside
    it, or could not be answered: such an answer (`waits`) is given to no one but the caller, who may pass them to
    `raise_waiting`. `note` gets what an answer does not tell its sender. Raises CannotWrite, also where somebody else
    is writing on the board.
    """
    options = {
        "data": data,
        "limits": limits,
        "engine": engine,
        "workers": workers,
        "reason": reason,
        "progress": progress,
    }
    board = queue.board
    # Next to the board, which holds only what belongs to it.
    taken = board.parent / f".{board.name}.taken" / queue.source
    with only_writer(board):
        waiting = queue.waiting()
        _sweep(taken, [_staging_name(pending) for pending in waiting])
        for pending in waiting:
            staging = taken / _staging_name(pending)
            try:
                if not queue.is_answered(pending):
                    answer = _answer_to(queue, pending, staging, options, note)
                    if answer.waits:
                        yield answer
                        continue
                    queue.answer(pending, answer)
                    yield answer
                queue.finish(pending)
            except OutsideFailed as error:
                note(f"{pending.slug}: put off: {error}")
                yield refusal(pending.slug, error)
                continue
            shutil.rmtree(staging, ignore_errors=True)
        _sweep(taken, [_staging_name(pending) for pending in waiting])


def _staging_name(pending: Pending) -> str:
    """A newer revision begins afresh: what an older one left was fetched, and perhaps answered, from other files."""
    return f"{pending.number or pending.slug}-{pending.revision.removeprefix('sha256:')[:12]}"


def _sweep(taken: Path, waiting: Collection[str]) -> None:
    """Remove what a killed queue left of submissions that wait no longer, and the folders in which nothing is left."""
    with writing(taken):
        for folder in taken.glob("*"):
            if folder.name not in waiting:
                shutil.rmtree(folder)
    for folder in (taken, taken.parent):
        with contextlib.suppress(OSError):  # other submissions were begun there, or none
            folder.rmdir()


def raise_waiting(answers: Iterable[Answer]) -> None:
    """Raises MissingExtra for the submissions that wait for this machine, OutsideFailed where none does."""
    waiting = [answer for answer in answers if answer.waits]
    if waiting:
        messages = [(answer.slug, f"left waiting: {answer.reason}: {answer.message}") for answer in waiting]
        kind = OutsideFailed if all(answer.reason == "unreachable" for answer in waiting) else MissingExtra
        raise kind(list_by_message(messages))


class _TimeIsUp(BaseException):
    """No Exception, so that nothing in between takes it for a failure of its own and tries again."""


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _TimeIsUp where the block takes longer; in the main thread, the only one that signals can interrupt."""

    def stop(*_: object) -> None:
        raise _TimeIsUp(f"fetching or checking it took longer than {seconds:g} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _answer_to(
    queue: Queue,
    pending: Pending,
    staging: Path,
    options: Mapping[str, Any],
    note: Callable[[str], None],
) -> Answer:
    """Check a submission, evaluate it on a board in `staging`, and file it with its results, or say why not.

    The answer is kept in `staging` until it is given.
    """
    file = staging / ANSWER
    if file.is_file():  # it was found before, but perhaps not given
        return read(Answer, read_json(file), file=file)
    real = Ledger(queue.board)
    own = Ledger(staging / "board")
    try:
        with _time_limit(_LONGEST_CHECK):
            sent = queue.fetch(pending, staging / "sent")

        # A board with the same settings, tasks and candidates, and no result but those of this submission.
        # The folder of candidate lists is a link, since it can be large and nothing here writes to it; that of tasks is
        # one, since what they name begins at their own place.
        with writing(own.folder):
            own.folder.mkdir(parents=True, exist_ok=True)
            for name in ("board.toml", "lock.json"):
                original = real.folder / name
                copy = own.folder / name
                if original.is_file() and not copy.is_file():
                    write(copy, original.read_bytes())
            for name in ("candidates", "tasks"):
                link = own.folder / name
                if (real.folder / name).is_dir() and not link.is_symlink():
                    os.symlink((real.folder / name).resolve(), link)

        runs = []
        for run in sorted(sent.glob("runs/*.trec.gz")):
            task, _, candidates = run.name.removesuffix(".trec.gz").partition(".")
            runs.append(f"{task}@{candidates}={run}")
        with _time_limit(_LONGEST_CHECK):
            checked = check(sent / "submission.toml", runs, real, public=queue.public, queued=True)
        if queue.public:
            checked = replace(checked, submission=replace(checked.submission, sender=pending.owner))
        slug = checked.submission.slug
        file_on(checked, own)
        run_board(own.folder, slugs=[slug], trusted=False, **options)

        # Everything is there: the real board gets it.
        real.add_submission(checked.submission)
        real.add_training(slug, checked.training)
        merge_results(real, own, slug, options["reason"])
        answer = acceptance(slug, real.results(slug))
    except (OutsideFailed, CannotWrite):
        raise
    except _TimeIsUp as error:
        answer = refusal(pending.slug, SubmissionRefused("time-limit", str(error)))
    except Exception as error:  # whatever the files of a sender bring about is an answer, and no end of the queue
        answer = refusal(pending.slug, error)
        if answer.waits:
            return answer
        note(f"{pending.slug}: refused: {error!r}")
    write(file, json_text(answer.as_json()))
    return answer
