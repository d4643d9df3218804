"""Which tasks the training data of a submission meets, as one letter a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exabench.exposure import exposed
from exabench.nouns import FIRST_STAGE, Submission, Task

if TYPE_CHECKING:
    from exabench.board import Board

ZERO_SHOT = {"n": "yes", "y": "no", "u": "unknown"}


@dataclass(frozen=True)
class Exposures:
    """What the training data of a board's submissions meets, for each task in turn: y(es), n(o) or u(nknown)."""

    board: Board
    tasks: Sequence[Task]

    def of(self, submission: Submission) -> str:
        """A letter for each task; a first stage was trained on nothing."""
        if submission.slug == FIRST_STAGE:
            return "n" * len(self.tasks)
        training = self.board.trainings.get(submission.slug)
        return "".join(exposed(submission, t, training)[0] for t in self.tasks)


def zero_shot(letters: str) -> str:
    """Does what was learnt meet none of these tasks? "yes", "no" where it meets one, "unknown" otherwise."""
    return ZERO_SHOT["y" if "y" in letters else "u" if "u" in letters else "n"]
