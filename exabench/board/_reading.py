"""Reading a leaderboard's submissions and results: each file once, and only those that changed since the last time."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from exabench.board._index import Index, Stat, said, saying
from exabench.board._scores import Score, Vectors, score_from, score_of, values_of
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
            new.write(self._folder, self.vectors)

    def _read_submissions(self) -> None:
        old = self._index.submissions
        listed = [*_listed(self._ledger.folder / "submissions", ".toml")]
        new = [file for name, file, stat in listed if name not in old or old[name][0] != stat]
        found = self._made(partial(_submission, self._ledger), new)
        for name, file, stat in listed:
            if file in found:
                digest, one = found[file]
                told = said(one)
            else:
                _, digest, told = old[name]
                one = saying(told)
            self.submissions[one.slug], self.digests[one.slug] = one, digest
            if told is not None and self._is_settled(stat):
                self._next.submissions[name] = stat, digest, told

    def _read_results(self) -> None:
        old = self._index.results
        listed = [one for folder in self._folders() for one in self._results(folder)]
        new = [file for key, file, stat in listed if key not in old or old[key][0] != stat]
        found = self._made(_score, new)
        for key, file, stat in listed:
            values, ids, row = found[file] if file in found else self._index.result(key)
            score = score_from(values, file)
            self.vectors.add(score.digest, ids, row)
            self.scores.append(score)
            if self._is_settled(stat):
                self._next.results[key] = stat, values, *self.vectors.place(score.digest)

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

    def _results(self, folder: tuple[str, str, int]) -> Iterator[tuple[str, str, Stat]]:
        """The files of a folder: listed anew only where that folder changed since it was."""
        name, path, changed = folder
        known = self._index.folders.get(name)
        if known and known[0] == changed:
            found = [(file, place, _stat(os.stat(place))) for file in known[1] if (place := f"{path}/{file}")]
        else:
            found = [*_listed(Path(path), ".json")]
        if self._now - changed > SETTLED:
            self._next.folders[name] = changed, [file for file, *_ in found]
        return ((f"{name}/{file}", place, stat) for file, place, stat in found)

    def _is_settled(self, stat: Stat) -> bool:
        return self._now - stat[1] > SETTLED


def _submission(ledger: Ledger, file: str) -> tuple[str, Submission]:
    return file_digest(file), ledger.submission(Path(file))


def _score(file: str) -> tuple[list[Any], tuple[str, ...], bytes]:
    """The values of a result in short, its query ids, and the headline of each as the bytes of float64."""
    result = read_result(Path(file))
    score, measured = score_of(result, file_digest(file), file), result.measurement
    row = measured.per_query[measured.headline]
    return values_of(score), tuple(row), array("d", row.values()).tobytes()


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
