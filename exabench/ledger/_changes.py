"""The change log: why every number of a board is what it is, one line each, oldest first, never edited.

A line is a Change as JSON with `digest`, the sha256 of the line before it (its digest) and of all else that it says: an
edited line no longer fits, and neither does the line behind one that was taken out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from exabench.errors import BadInput
from exabench.files import digest_of, from_json, read_bytes, writing
from exabench.nouns import Change

Cell = tuple[str, str, str, str]
"""What a number is called: submission, task, candidates, metric."""

_START = digest_of("")
_TEXTS = ("date", "submission", "task", "candidates", "metric", "reason")
_NUMBERS = ("before", "after")


def read_changes(file: Path) -> tuple[Change, ...]:
    """Every change, oldest first; none where there is no log. Raises BadInput with the line of an edited one."""
    return tuple(change for change, _ in _lines(file, _whole(file)))


def append_changes(file: Path, changes: Sequence[Change]) -> None:
    """Add lines to the log. What a killed writer left of a line is taken away first. Raises CannotWrite."""
    if not changes:
        return
    there = _whole(file)
    last, text = _last_digest(file, there), ""
    for change in changes:
        values = asdict(change)
        last = _sealed(values, last)
        text += json.dumps({**values, "digest": last}, ensure_ascii=False, allow_nan=False) + "\n"
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "ab") as stream:
            stream.truncate(len(there))
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())


def last_values(changes: Sequence[Change]) -> dict[Cell, float | None]:
    """The value that the log says each number has now; None: it went."""
    return {(c.submission, c.task, c.candidates, c.metric): c.after for c in changes}


def _last_digest(file: Path, data: bytes) -> str:
    """What the next line is to be chained to; the lines before are looked at when the log is read."""
    if not data:
        return _START
    try:
        digest = from_json(data.rstrip(b"\n").rpartition(b"\n")[2].decode())["digest"]
        if isinstance(digest, str):
            return digest
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise BadInput("ends in no line of a change log; take the edited file back", file=file)


def _whole(file: Path) -> bytes:
    """The log's bytes up to the end of its last whole line."""
    data = read_bytes(file) if file.is_file() else b""
    return data[: data.rfind(b"\n") + 1]


def _lines(file: Path, data: bytes) -> list[tuple[Change, str]]:
    """The changes of a log, each with its digest."""
    found, last = list[tuple[Change, str]](), _START
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            values = from_json(line.decode())
            change, seal = _change(values), values["digest"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInput("is no line of a change log", file=file, line=number) from error
        last = _sealed(asdict(change), last)
        if seal != last:
            raise BadInput("was edited, or a line before it is gone: its digest does not fit", file=file, line=number)
        found.append((change, last))
    return found


def _sealed(values: Mapping[str, Any], before: str) -> str:
    return digest_of({**values, "before_it": before})


def _change(values: Any) -> Change:
    if not isinstance(values, dict) or set(values) != {*(field.name for field in fields(Change)), "digest"}:
        raise ValueError("other keys")
    texts = all(isinstance(values[key], str) for key in _TEXTS)
    numbers = all(values[key] is None or type(values[key]) in (int, float) for key in _NUMBERS)
    if not texts or not numbers:
        raise ValueError("other types")
    return Change(**{key: value for key, value in values.items() if key != "digest"})
