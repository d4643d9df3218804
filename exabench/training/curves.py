"""Curves: what a training run was like, step by step, as curves.csv."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from exabench.errors import BadInput
from exabench.files import lines, replacing, writing


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


COLUMNS = tuple(field.name for field in fields(Point))


class Curves:
    """curves.csv, a line for each step in order. It holds no time, so that a resumed run writes the same bytes.

    A line is written whole by one call; `resume` comes first, and cuts off what came after the checkpoint.
    `sync` before a checkpoint, so that no machine that loses its power loses the lines before it.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)

    def resume(self, step: int = 0) -> None:
        """Keep the steps up to `step` (0: begin anew) and no byte behind them.

        Raises BadInput where the file is none, or ends before that step; CannotWrite.
        """
        kept = [point for point in self if point.step <= step] if step else []
        last = kept[-1].step if kept else 0
        if last != step:
            raise BadInput(f"ends at step {last}, before step {step}; resume from an older checkpoint", file=self.file)
        with replacing(self.file) as file:
            file.write("".join(f"{line}\n" for line in [",".join(COLUMNS), *map(_line, kept)]).encode())

    def sync(self) -> None:
        """Have every line on the disk itself. Raises CannotWrite."""
        with writing(self.file), open(self.file, "ab") as file:
            os.fsync(file.fileno())

    def add(self, point: Point) -> None:
        """One more step. Raises BadInput for a value that is no finite number, CannotWrite."""
        for name, value in zip(COLUMNS, astuple(point), strict=True):
            if value is not None and not math.isfinite(value):
                raise BadInput(f"{name} of step {point.step} is {value}, which no curve can hold", file=self.file)
        with writing(self.file), open(self.file, "ab", buffering=0) as file:
            file.write(f"{_line(point)}\n".encode())

    def __iter__(self) -> Iterator[Point]:
        """The steps. A last line that was cut is passed over. Raises BadInput with the line for anything else odd."""
        whole = _whole(self.file)
        last = 0
        for number, text in lines(self.file):
            if number > whole:
                return
            if number == 1:
                if text != ",".join(COLUMNS):
                    raise BadInput(f"must begin with {','.join(COLUMNS)}", file=self.file, line=1)
                continue
            point = _point(text, self.file, number)
            if point.step <= last:
                raise BadInput(f"step {point.step} stands behind step {last}", file=self.file, line=number)
            last = point.step
            yield point


def _whole(file: Path) -> int:
    """The lines that have their end."""
    try:
        with open(file, "rb") as stream:
            return sum(line.endswith(b"\n") for line in stream)
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", file=file) from error


def _line(point: Point) -> str:
    """The same text for the same values, whether they were counted here or read back."""
    step, epoch, groups, *rest = astuple(point)
    cells = [int(step), float(epoch), int(groups), *(None if value is None else float(value) for value in rest)]
    return ",".join("" if cell is None else repr(cell) for cell in cells)


def _point(text: str, file: Path, line: int) -> Point:
    try:
        step, epoch, groups, *rest, dev = text.split(",")
        loss, rate, norm = map(float, rest)
        return Point(int(step), float(epoch), int(groups), loss, rate, norm, float(dev) if dev else None)
    except ValueError as error:
        raise BadInput(f"is no step of {', '.join(COLUMNS)}; resume from a checkpoint", file=file, line=line) from error
