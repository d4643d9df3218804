"""Reading a leaderboard's submissions and results: each file once, and only those that changed since the last time.

What was read is kept in an index: one npz file that holds JSON and arrays. It is made again where it is missing,
damaged, or from another exabench, so nothing is lost with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from io import BytesIO
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from exabench.board._scores import Score, Vectors, score_of
from exabench.errors import BadInput
from exabench.files import file_digest, write
from exabench.ledger import Ledger, read_result
from exabench.nouns import Submission

FILE = "inputs.npz"
SETTLED = 2 * 10**9  # nanoseconds after which a file that changes again has another time on every file system
_SOURCES = (".py", ".toml", ".html", ".css", ".js", ".svg")
_NAMES = tuple(field.name for field in fields(Score) if field.name != "file")
_PACKAGE = Path(__file__).parents[1]

Stat = list[int]


class Inputs:
    """The submissions and results of a leaderboard's folder; `read` counts the files that had to be opened."""

    def __init__(self, ledger: Ledger, index: Path | None) -> None:
        self._ledger, self._index = ledger, index
        self._old, self._rows, self.intervals = _kept(index / FILE) if index else ({}, [], {})
        self._now = time.time_ns()
        self.vectors = Vectors()
        self.submissions: dict[str, Submission] = {}
        self.scores: list[Score] = []
        self.read = 0
        self._new: dict[str, list[list[Any]]] = {"submissions": [], "results": []}
        self._read_submissions()
        self._read_results()

    def keep(self, intervals: Mapping[str, tuple[float, float]]) -> None:
        """Write the index, where there is one and anything is new, with the intervals that were worked out."""
        count = len(self.submissions) + len(self.scores)
        if self._index and (self.read or len(self._old) != count or intervals.keys() != self.intervals.keys()):
            self._keep(self._index / FILE, intervals)

    def _read_submissions(self) -> None:
        for name, file, stat in _listed(self._ledger.folder / "submissions", ".toml"):
            kept = self._old.get(f"submissions/{name}")
            if kept and kept[0] == stat:
                told: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept[1].items()}
                one = Submission(**told)
            else:
                one = self._ledger.submission(file)
                self.read += 1
            self.submissions[one.slug] = one
            if self._is_settled(stat) and _is_plain(one):
                self._new["submissions"].append([f"submissions/{name}", stat, vars(one)])

    def _read_results(self) -> None:
        for folder in _folders(self._ledger.folder / "results"):
            for name, file, stat in _listed(folder, ".json"):
                key = f"results/{folder.name}/{name}"
                kept = self._old.get(key)
                score = self._from_index(kept, file) if kept and kept[0] == stat else self._from_file(file)
                self.scores.append(score)
                if self._is_settled(stat):
                    self._new["results"].append([key, stat, score])

    def _from_index(self, kept: list[Any], file: Path) -> Score:
        _, values, table, row = kept
        told: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
        shared = {key: intern(value) for key, value in told.items() if isinstance(value, str)}
        score = Score(**told | shared | {"interval": tuple(told["interval"]), "file": file})
        ids, rows = self._rows[table]
        self.vectors.add_row(score.digest, ids, rows[row].tobytes())
        return score

    def _from_file(self, file: Path) -> Score:
        self.read += 1
        result = read_result(file)
        score = score_of(result, file_digest(file), file)
        self.vectors.add(score.digest, result.measurement.per_query[result.measurement.headline])
        return score

    def _is_settled(self, stat: Stat) -> bool:
        return self._now - stat[1] > SETTLED

    def _keep(self, file: Path, intervals: Mapping[str, tuple[float, float]]) -> None:
        results = [
            [key, stat, [getattr(score, name) for name in _NAMES], *self.vectors.place(score.digest)]
            for key, stat, score in self._new["results"]
        ]
        told = {
            "package": package_digest(),
            "submissions": self._new["submissions"],
            "results": results,
            "queries": self.vectors.tables,
        }
        arrays = {f"rows{i}": self.vectors.table(i) for i in range(len(self.vectors.tables))}
        text = np.frombuffer(json.dumps(told).encode(), np.uint8)
        buffer = BytesIO()
        keys = np.array(list(intervals), "S64")
        bounds = np.array(list(intervals.values()), np.float64).reshape(-1, 2)
        named: dict[str, Any] = {"told": text, "keys": keys, "bounds": bounds, **arrays}
        np.savez(buffer, **named)
        write(file, buffer.getvalue())


_Intervals = dict[str, tuple[float, float]]


def _kept(file: Path) -> tuple[dict[str, list[Any]], list[tuple[tuple[str, ...], np.ndarray]], _Intervals]:
    """What the index holds: (stat, ...) by the name of the input, its tables, and intervals by what they are of.

    Nothing where it cannot be used.
    """
    try:
        with np.load(file, allow_pickle=False) as index:
            told = json.loads(index["told"].tobytes())
            if told["package"] != package_digest():
                return {}, [], {}
            tables = [(tuple(ids), index[f"rows{i}"]) for i, ids in enumerate(told["queries"])]
            bounds = [(low, high) for low, high in index["bounds"].tolist()]
            intervals = dict(zip((key.decode() for key in index["keys"].tolist()), bounds, strict=True))
        if any(rows.shape[1:] != (len(ids),) or rows.dtype != np.float64 for ids, rows in tables):
            return {}, [], {}
        return {key: rest for key, *rest in (*told["submissions"], *told["results"])}, tables, intervals
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return {}, [], {}


def _listed(folder: Path, suffix: str) -> Iterator[tuple[str, Path, Stat]]:
    """The files of a folder by name, each with (bytes, nanoseconds, inode)."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((e.name, e) for e in entries if e.name.endswith(suffix) and not e.name.startswith("."))
            for name, entry in found:
                stat = entry.stat()
                yield name, folder / name, [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", file=folder) from error


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [folder / name for name in sorted(entry.name for entry in entries if entry.is_dir())]


def _is_plain(one: Submission) -> bool:
    """Does JSON hold its options as they are? A TOML date, for one, is none of JSON's values."""
    try:
        return not one.options or json.loads(json.dumps(one.options, allow_nan=False)) == one.options
    except (TypeError, ValueError):
        return False


@cache
def package_digest() -> str:
    """One digest over the sources of this exabench: what another one has read or made is read and made again."""
    digest = hashlib.sha256()
    for file in sorted(file for file in _PACKAGE.rglob("*") if file.suffix in _SOURCES):
        data = file.read_bytes()
        digest.update(f"{file.relative_to(_PACKAGE)} {len(data)}\n".encode() + data)
    return digest.hexdigest()
