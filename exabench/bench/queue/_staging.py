"""What a queue is, and the staging folder and small board on which one of its submissions is evaluated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exabench.bench.queue._answers import Answer
from exabench.core.files import write, writing

LARGEST = 64 << 20  # bytes of a file that is sent in


@dataclass(frozen=True)
class Pending:
    """A submission that waits: `number` of its pull request (0: a folder here), and `revision`, what it is at."""

    number: int
    slug: str
    kind: str
    owner: str
    date: str
    revision: str
    url: str


class Queue(Protocol):
    """Where submissions wait for a board."""

    @property
    def board(self) -> Path:
        """The board's folder."""

    @property
    def public(self) -> bool:
        """May anybody send something here? Then a model is a Hub id at a commit."""

    def waiting(self) -> list[Pending]:
        """What waits, oldest first. Raises OutsideFailed."""

    def answered(self, pending: Pending) -> bool:
        """Was it answered, as it is now?"""

    def fetch(self, pending: Pending, to: Path) -> Path:
        """The folder that holds it: `to`, or where it lies. Raises BadInput, OutsideFailed."""

    def answer(self, pending: Pending, answer: Answer) -> None:
        """Say what came of it, once."""

    def finish(self, pending: Pending) -> None:
        """Take it out of the queue."""


def staging_folder(board: Path, pending: Pending) -> Path:
    """Where a submission is worked on: beside the board, which holds only what belongs to it."""
    name = f"{pending.number or pending.slug}-{pending.revision.removeprefix('sha256:')[:12]}"
    return board.parent / f".{board.name}.taken" / name


def staging_board(board: Path, to: Path) -> Path:
    """A board with the same settings and candidates, and nothing on it but what was computed for one submission."""
    with writing(to):
        to.mkdir(parents=True, exist_ok=True)
        for name in ("board.toml", "lock.json"):
            if (board / name).is_file() and not (to / name).is_file():
                write(to / name, (board / name).read_bytes())
        if not (to / "candidates").is_symlink():
            os.symlink((board / "candidates").resolve(), to / "candidates")
    return to
