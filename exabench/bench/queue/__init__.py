"""The queue: what waits for a board, taken one by one: checked, evaluated apart, filed whole, and answered.

A submission is evaluated on a small board of its own, beside the real one, which is not touched before all its results
are there. What was done stands in files and on the pull requests alone, so that a queue that was killed goes on.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exabench.bench.evaluation import merge_results, run_board
from exabench.bench.ledger import Ledger
from exabench.bench.measurement import today
from exabench.bench.queue._answers import Answer as Answer
from exabench.bench.queue._answers import public_line as public_line
from exabench.bench.queue._answers import refusal as refusal
from exabench.bench.queue._answers import scored
from exabench.bench.queue._folder_queue import Folders as Folders
from exabench.bench.queue._pull_requests import Requests as Requests
from exabench.bench.queue._staging import Pending as Pending
from exabench.bench.queue._staging import Queue as Queue
from exabench.bench.queue._staging import staging_board, staging_folder
from exabench.bench.submitting import check, file_on
from exabench.core.errors import CannotWrite, MissingExtra, OutsideFailed
from exabench.core.files import json_text, only_writer, read_json, write
from exabench.core.nouns import Progress, silent

ANSWER = "answer.json"


def work_off(
    queue: Queue,
    *,
    data: str | Path | None = None,
    engine: str = "local",
    workers: int = 0,
    reason: str = "",
    note: Callable[[str], None] = lambda line: None,
    progress: Progress = silent,
) -> Iterator[Answer]:
    """Take what waits one by one, oldest first; the answer to each, as soon as it is given.

    Models run in the sandbox, with `data`, `engine`, `workers` and `reason` as in `evaluation.run_board`. Nothing that
    is wrong with one submission keeps the others waiting. What this machine cannot run goes on waiting, and so does
    what failed outside it, or could not be answered: such an answer (`waits`) is given to nobody but the caller, who
    may pass them to `raise_waiting`. `note` hears what an answer does not tell its sender. Raises CannotWrite, also
    where somebody else is writing on the board.
    """
    evaluation = _Evaluation(queue, data, engine, workers, reason, progress)
    with only_writer(queue.board):
        for pending in queue.waiting():
            staging = staging_folder(queue.board, pending)
            try:
                if not queue.answered(pending):
                    answer = _answer_to(pending, staging, evaluation, note)
                    if answer.waits:
                        yield answer
                        continue
                    queue.answer(pending, answer)
                    yield answer
                queue.finish(pending)
            except OutsideFailed as error:
                note(f"{pending.slug}: put off: {error}")
                yield refusal(pending.slug, error, today())
                continue
            shutil.rmtree(staging, ignore_errors=True)
            with contextlib.suppress(OSError):  # other submissions were begun there
                staging.parent.rmdir()


def raise_waiting(answers: Iterable[Answer]) -> None:
    """Raises MissingExtra for the submissions that wait for this machine, OutsideFailed where none does."""
    slugs_of: dict[str, list[str]] = {}
    for answer in answers:
        if answer.waits:
            slugs_of.setdefault(f"{answer.reason}: {answer.message}", []).append(answer.slug)
    if not slugs_of:
        return
    kind = OutsideFailed if all(why.startswith("unreachable: ") for why in slugs_of) else MissingExtra
    raise kind("; ".join(f"{', '.join(slugs)}: left waiting: {why}" for why, slugs in slugs_of.items()))


@dataclass(frozen=True)
class _Evaluation:
    """How the submissions of a queue are evaluated."""

    queue: Queue
    data: str | Path | None
    engine: str
    workers: int
    reason: str
    progress: Progress

    def run(self, pending: Pending, staging: Path) -> str:
        """Check a submission, evaluate it on a board of its own in `staging`, and file it; its slug."""
        real = Ledger(self.queue.board)
        sent = self.queue.fetch(pending, staging / "sent")
        own = Ledger(staging_board(self.queue.board, staging / "board"))
        runs = []
        for file in sorted((sent / "runs").glob("*.trec.gz")):
            task, _, candidates = file.name.removesuffix(".trec.gz").partition(".")
            runs.append(f"{task}@{candidates}={file}")
        checked = check(sent / "submission.toml", runs, real, public=self.queue.public, queued=True)
        file_on(checked, own)
        slug = checked.submission.slug
        run_board(
            own.folder,
            slugs=[slug],
            data=self.data,
            trusted=False,
            reason=self.reason,
            engine=self.engine,
            workers=self.workers,
            progress=self.progress,
        )
        real.add_submission(checked.submission)
        real.add_training(slug, checked.training)
        merge_results(real.folder, own.folder, slug, reason=self.reason)
        return slug


def _answer_to(pending: Pending, staging: Path, evaluation: _Evaluation, note: Callable[[str], None]) -> Answer:
    """The answer to one submission, kept in `staging` until it is given; a good one is then filed with its results."""
    kept = staging / ANSWER
    if kept.is_file():  # it was found before, but perhaps not given
        return Answer.of(read_json(kept))
    board = evaluation.queue.board
    try:
        slug = evaluation.run(pending, staging)
        answer = scored(slug, list(Ledger(board).results(slug)), today())
    except (OutsideFailed, CannotWrite):
        raise
    except Exception as error:  # whatever the files of a sender bring about is an answer, and no end of the queue
        answer = refusal(pending.slug, error, today())
        if answer.waits:
            return answer
        note(f"{pending.slug}: refused: {error!r}")
    write(kept, json_text(answer.as_json()))
    return answer
