"""Curves: loss, learning rate, gradient norm and dev value of every step of a training, as curves.csv."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec

from exabench.core.errors import BadInput
from exabench.core.files import read_text, write, writing


@dataclass(frozen=True)
class Point:
    """One optimiser step: how many were done, epochs and groups seen by then, the step's mean loss, its learning rate,
    the gradient's norm before it was clipped, and the dev metric where it was measured behind this step."""

    step: int
    epoch: float
    groups: int
    loss: float
    rate: float
    gradient_norm: float
    dev: float | None = None


COLUMNS = tuple(Point.__annotations__)
HEADER = ",".join(COLUMNS)


@dataclass(frozen=True)
class Curves:
    """curves.csv, a line for each step in order. It holds no time, so that a resumed run writes the same bytes.

    Call `resume` first: it cuts off what came after the checkpoint. Call `sync` before a checkpoint is saved, so that
    a power cut loses no line of a step that the checkpoint holds. A line is written whole by one call.
    """

    file: Path

    def resume(self, step: int = 0) -> None:
        """Keep the steps up to `step` (0: begin again) and no byte behind them.

        Raises BadInput where the file is none, or ends before that step; CannotWrite.
        """
        kept = []
        last = 0
        if step:
            kept = [point for point in self if point.step <= step]
        if kept:
            last = kept[-1].step
        if last != step:
            raise BadInput(f"ends at step {last}, before step {step}; resume from an older checkpoint", file=self.file)
        write(self.file, f"{HEADER}\n".encode() + b"".join(map(_line, kept)))

    def sync(self) -> None:
        """Force every line to the disk. Raises CannotWrite."""
        with writing(self.file), open(self.file, "ab") as file:
            os.fsync(file.fileno())

    def add(self, point: Point) -> None:
        """Append a step, whose values are finite numbers. Raises CannotWrite."""
        with writing(self.file), open(self.file, "ab", buffering=0) as file:
            file.write(_line(point))

    def __iter__(self) -> Iterator[Point]:
        """The steps. A last line that was cut is skipped. Raises BadInput with the line for anything else odd."""
        *lines, _cut = read_text(self.file).split("\n")  # a kill may cut the last line; a whole one ends with \n
        if lines[:1] != [HEADER]:
            raise BadInput(f"must begin with {HEADER}", file=self.file, line=1)
        last = 0
        for number, line in enumerate(lines[1:], 2):
            try:
                cells: dict[str, str | None] = dict(zip(COLUMNS, line.split(","), strict=True))
                cells["dev"] = cells["dev"] or None  # empty where nothing was measured
                point = msgspec.convert(cells, Point, strict=False)  # not strict: numbers from texts
            except ValueError as error:
                raise BadInput(
                    f"is not a step of {', '.join(COLUMNS)}; resume from a checkpoint", file=self.file, line=number
                ) from error
            if point.step <= last:
                raise BadInput(f"step {point.step} comes after step {last}", file=self.file, line=number)
            last = point.step
            yield point


def _line(point: Point) -> bytes:
    """A step as a line of the file; repr gives the shortest digits that are read back as the same number."""
    cells = ["" if value is None else repr(value) for value in astuple(point)]
    return f"{','.join(cells)}\n".encode()
