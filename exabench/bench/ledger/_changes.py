"""The change log: why every number of a board is what it is, a BoardChange as JSON on each line, oldest first."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from exabench.core.errors import BadInput
from exabench.core.files import from_json, read_bytes, writing
from exabench.core.nouns import BoardChange
from exabench.core.records import read

Cell = tuple[str, str, str, str]
"""What a number is called: submission, task, candidates, metric."""


def read_changes(file: Path) -> tuple[BoardChange, ...]:
    """Every change, oldest first; none where there is no log. Raises BadInput with the line that is no BoardChange."""
    changes = []
    for number, line in enumerate(_whole_lines(file).splitlines(), 1):
        try:
            values = from_json(line.decode())
            values.pop("digest", None)  # version 0.1 chained the lines by digests
            changes.append(read(BoardChange, values))
        except (ValueError, TypeError, AttributeError, RecursionError, BadInput) as error:
            raise BadInput(f"is no line of a change log ({error})", file=file, line=number) from error
    return tuple(changes)


def append_changes(file: Path, changes: Sequence[BoardChange]) -> None:
    """Add lines to the log. What a killed writer left of a line is taken away first. Raises CannotWrite."""
    if not changes:
        return
    there = len(_whole_lines(file))
    text = ""
    for change in changes:
        text += json.dumps(asdict(change), ensure_ascii=False, allow_nan=False) + "\n"
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "ab") as stream:
            stream.truncate(there)
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())


def last_values(changes: Sequence[BoardChange]) -> dict[Cell, float | None]:
    """The value that the log says each number has now; None: it went."""
    return {(c.submission, c.task, c.candidates, c.metric): c.after for c in changes}


def _whole_lines(file: Path) -> bytes:
    """The log's bytes up to the end of its last whole line."""
    data = read_bytes(file) if file.is_file() else b""
    return data[: data.rfind(b"\n") + 1]
