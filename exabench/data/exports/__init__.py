"""Exports: the tables of a release in the files that other training code reads, one file of this folder a format.

A format is one class of the file's name: the `families` (core/rows) that hold what it needs, and `write`. To add one,
add its file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from exabench.core.rows import Row
from exabench.core.shelf import Shelf


@dataclass(frozen=True)
class Exported:
    """How many lines (examples, groups, judgements) were written, and how many queries the format could not hold."""

    rows: int
    left_out: int = 0


class Export(Protocol):
    """Writes rows of one of its `families` to a file, or to a folder, as the format's own reader wants them."""

    families: tuple[str, ...]

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """Whole or not at all; `rows` may be gone through twice. Raises BadInput with the row's id, CannotWrite."""


EXPORTS = Shelf("format", __name__, __file__)
