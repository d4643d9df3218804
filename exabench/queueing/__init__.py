"""The queue: what waits for a board, taken one by one: looked at, evaluated apart, filed whole, and answered.

A submission is evaluated on a small board of its own, beside the real one, which is not touched before all its results
are there. What was done stands in files and on the pull requests alone, so that a queue that was killed goes on.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from exabench.errors import CannotWrite, OutsideFailed
from exabench.files import json_text, read_json, write
from exabench.ledger import Ledger
from exabench.measuring import today
from exabench.queueing._answers import Answer as Answer
from exabench.queueing._answers import refusal, scored
from exabench.queueing._folders import Folders as Folders
from exabench.queueing._places import Pending as Pending
from exabench.queueing._places import Queue as Queue
from exabench.queueing._places import own_board, taken_of
from exabench.queueing._requests import Requests as Requests

Evaluate = Callable[[Path, Path], str]
"""Checks what lies in a folder (submission.toml, runs/, the report of a training), files it on a board and computes all
its results there; gives its slug, and raises what is wrong with it."""
Adopt = Callable[[Path, Path, str], None]
"""Takes a folder's submission, and what was computed for it on its own board, over to the real one."""
ANSWER = "answer.json"


def work_off(
    queue: Queue, evaluate: Evaluate, adopt: Adopt, *, told: Callable[[str], None] = lambda line: None
) -> Iterator[Answer]:
    """Take what waits one by one, oldest first; the answer to each, as soon as it is given.

    Nothing that is wrong with one keeps the others waiting. What this machine cannot run goes on waiting, and so does
    what failed outside it, or could not be answered: such an answer (`waits`) is given to nobody but the caller. `told`
    hears what an answer does not tell a stranger. Raises CannotWrite.
    """
    for pending in queue.waiting():
        place = taken_of(queue.board, pending)
        try:
            if not queue.answered(pending):
                answer = _kept(place / ANSWER) or _taken(queue, pending, evaluate, adopt, told)
                if answer.waits:
                    yield answer
                    continue
                if not (place / ANSWER).is_file():
                    write(place / ANSWER, json_text(answer.as_json()))
                queue.answer(pending, answer)
                yield answer
            queue.finish(pending)
        except OutsideFailed as error:
            told(f"{pending.slug}: put off: {error}")
            yield refusal(pending.slug, error, today())
            continue
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.parent.rmdir()  # if nothing else was begun there


def _taken(queue: Queue, pending: Pending, evaluate: Evaluate, adopt: Adopt, told: Callable[[str], None]) -> Answer:
    """The answer to one submission; where it is a good one, it is on the board with all its results."""
    place = taken_of(queue.board, pending)
    try:
        sent = queue.fetch(pending, place / "sent")
        apart = own_board(queue.board, place / "board")
        slug = evaluate(sent, apart)
        adopt(sent, apart, slug)
    except (OutsideFailed, CannotWrite):
        raise
    except Exception as error:  # whatever a stranger's files bring about is an answer to them, and no end of the queue
        answer = refusal(pending.slug, error, today())
        if not answer.waits:
            told(f"{pending.slug}: refused: {error!r}")
        return answer
    return scored(slug, list(Ledger(queue.board).results(slug)), today())


def _kept(file: Path) -> Answer | None:
    """The answer that was found before, but perhaps not given."""
    return Answer.of(read_json(file)) if file.is_file() else None
