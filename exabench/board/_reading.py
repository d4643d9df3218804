"""Reading a leaderboard's submissions and results: each file once, and only those that changed since the last time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from exabench.board._index import Index, Stat
from exabench.board._scores import Score, Vectors, score_of
from exabench.errors import BadInput
from exabench.files import file_digest
from exabench.forking import made, processes_for
from exabench.ledger import Ledger, read_result
from exabench.nouns import Submission

SETTLED = 2 * 10**9  # nanoseconds after which a file that changes again has another time on every file system
ALONE = 200  # files for which no second process is worth its start
FRESH = 0.01  # of an index
TOGETHER = 50  # files that a process reads at a time

_Got = TypeVar("_Got")
_DIGEST = Score._fields.index("digest")


class Inputs:
    """The submissions and results of a leaderboard's folder; `read` counts the files that had to be opened.

    `digests` are those of the submissions' files, by slug.
    """

    def __init__(self, ledger: Ledger, index: Path | None) -> None:
        self._ledger, self._folder, self._index = ledger, index, Index.read(index)
        self._now, self._next = time.time_ns(), Index()
        self.intervals = self._index.intervals
        self.vectors = Vectors()
        self.submissions: dict[str, Submission] = {}
        self.digests: dict[str, str] = {}
        self.scores: list[Score] = []
        self.read = 0
        self._read_submissions()
        self._read_results()

    def keep(self, intervals: Mapping[str, tuple[float, float]]) -> None:
        """Write the index, where there is one, with the intervals that were worked out.

        Where less than a hundredth is new, reading that again costs the next build less than writing it costs this one.
        """
        old, new = self._index, self._next
        there = len(old.submissions) + len(old.results)
        newer = max(self.read, abs(len(new.submissions) + len(new.results) - there))
        newer = max(newer, len(intervals.keys() - self.intervals.keys()))
        if self._folder and newer > there * FRESH:
            new.intervals = intervals
            new.rows = [(ids, self.vectors.of_table(number)) for number, ids in enumerate(self.vectors.tables)]
            new.write(self._folder)

    def _read_submissions(self) -> None:
        old = self._index.submissions
        listed = [*_listed(self._ledger.folder / "submissions", ".toml")]
        new = [file for name, file, stat in listed if name not in old or old[name][0] != stat]
        found = self._made(partial(_submission, self._ledger), new)
        for name, file, stat in listed:
            digest, one = found[file] if file in found else old[name][1:]
            self.submissions[one.slug], self.digests[one.slug] = one, digest
            if self._is_settled(stat):
                self._next.submissions[name] = stat, digest, one

    def _read_results(self) -> None:
        old, rows = self._index.results, self._rows()
        listed = list(self._results())
        new = [file for key, file, stat in listed if key not in old or old[key][0] != stat]
        found = self._made(_score, new)
        for key, file, stat in listed:
            if file in found:
                values, ids, data = found[file]
                table, row = self.vectors.table(ids), np.frombuffer(data)
            else:
                values = old[key][1]
                table, row = rows[values[_DIGEST]]
            score = Score._make((*values, file))
            self.vectors.add(score.digest, table, row)
            self.scores.append(score)
            if self._is_settled(stat):
                self._next.results[key] = stat, values

    def _rows(self) -> dict[str, tuple[int, np.ndarray]]:
        """The headline values that the index holds, by the digests of their results, each with its table."""
        found: dict[str, tuple[int, np.ndarray]] = {}
        for ids, rows in self._index.rows:
            table = self.vectors.table(ids)
            found.update((digest, (table, row)) for digest, row in rows.items())
        return found

    def _made(self, work: Callable[[str], _Got], files: Sequence[str]) -> dict[str, _Got]:
        """What is read of each of some files."""
        self.read += len(files)
        processes = processes_for(len(files), ALONE)
        return dict(made(lambda file: (file, work(file)), files, processes, together=TOGETHER))

    def _folders(self) -> Iterator[tuple[str, str, int]]:
        """The folders of results: name, path, and the nanoseconds at which anything was last added or taken away."""
        folder = self._ledger.folder / "results"
        if folder.is_dir():
            with os.scandir(folder) as entries:
                yield from sorted((e.name, e.path, e.stat().st_mtime_ns) for e in entries if e.is_dir())

    def _results(self) -> Iterator[tuple[str, str, Stat]]:
        """The files of all folders: each is listed anew only where it changed since it was."""
        for name, path, changed in self._folders():
            known = self._index.folders.get(name)
            files = known[1] if known and known[0] == changed else [file for file, *_ in _listed(Path(path), ".json")]
            if self._now - changed > SETTLED:
                self._next.folders[name] = changed, files
            for file in files:
                place = f"{path}/{file}"
                yield f"{name}/{file}", place, _stat(os.stat(place))

    def _is_settled(self, stat: Stat) -> bool:
        return self._now - stat[1] > SETTLED


def _submission(ledger: Ledger, file: str) -> tuple[str, Submission]:
    return file_digest(file), ledger.submission(Path(file))


def _score(file: str) -> tuple[tuple[Any, ...], tuple[str, ...], bytes]:
    """A result in short without its file, its query ids, and the headline of each as the bytes of float64."""
    result = read_result(Path(file))
    measured = result.measurement
    row = measured.per_query[measured.headline]
    return (
        score_of(result, file_digest(file), file)[:-1],
        tuple(row),
        np.array(list(row.values()), np.float64).tobytes(),
    )


def _listed(folder: Path, suffix: str) -> Iterator[tuple[str, str, Stat]]:
    """The files of a folder by name, each with (bytes, nanoseconds, inode)."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((e.name, e) for e in entries if e.name.endswith(suffix) and not e.name.startswith("."))
            for name, entry in found:
                yield name, entry.path, _stat(entry.stat())
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadInput(f"cannot be read ({error.strerror})", file=folder) from error


def _stat(found: os.stat_result) -> Stat:
    return [found.st_size, found.st_mtime_ns, found.st_ino]
