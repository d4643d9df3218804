"""The board as its pages see it: what several of them show, and the digests of what a page depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exabench.catalogue import task
from exabench.ledger import Ledger
from exabench.nouns import FIRST_STAGE, Result, Submission, Task
from exabench.pages._format import first_stage, newest
from exabench.rows import Release

if TYPE_CHECKING:
    from exabench.board import Board, Row, Score

STATES = {
    "reproduced": "exabench ran the reranker itself, on the frozen candidates, and measured the ranking it got.",
    "re-computed": "The ranking, or the first stage under it, came as a file. exabench held it against the frozen "
    "candidates and computed every number from it; how the file was made is its sender's word.",
    "reported": "Printed elsewhere and not measured here. Such numbers stay on pages of their own.",
}


@dataclass(frozen=True)
class Line:
    """One line of the overview with what the table adds to the row."""

    row: Row
    gain: float | None

    @property
    def name(self) -> str:
        """What the line is called."""
        return f"first stage: {self.stage}" if self.row.is_first_stage else self.row.submission.name

    @property
    def stage(self) -> str:
        """The first stage's name."""
        return first_stage(self.row.candidates)


@dataclass(frozen=True)
class Change:
    """One query: what the submission got, what the first stage had."""

    query: str
    own: float
    before: float

    @property
    def difference(self) -> float:
        """Own value less the first stage's."""
        return self.own - self.before


@dataclass(frozen=True)
class View:
    """The board as its pages see it: results on its tasks by filed submissions, and look-ups over them.

    `index` is a folder where pages may keep what they made of results that do not change, or None.
    """

    board: Board
    index: Path | None = None

    @cached_property
    def results(self) -> tuple[Score, ...]:
        """Every result that has a page, in the order of submission, task and candidates."""
        board = self.board
        shown = (r for r in board.results if r.submission in board.submissions and r.task in board.entries)
        return tuple(sorted(shown, key=lambda r: (r.submission, r.task, r.candidates)))

    @cached_property
    def by_submission(self) -> Mapping[str, tuple[Score, ...]]:
        """The results of each filed submission."""
        found: dict[str, list[Score]] = {slug: [] for slug in self.board.submissions}
        for result in self.results:
            found[result.submission].append(result)
        return {slug: tuple(results) for slug, results in found.items()}

    @cached_property
    def single_tasks(self) -> tuple[Task, ...]:
        """The board's tasks with judgements of their own: members stand for the task they belong to."""
        names = dict.fromkeys(name for t in self.board.tasks for name in (t.members or (t.name,)))
        return tuple(task(name) for name in names)

    @cached_property
    def version(self) -> str:
        """The newest exabench that made a result."""
        return _newest(self.results)

    def full(self, score: Score) -> Result:
        """All of a result; those of one submission stay at hand, because its pages are made one after the other."""
        if score.submission not in self._last:
            self._last.clear()
        kept = self._last.setdefault(score.submission, {})
        if score.file not in kept:
            kept[score.file] = self.board.full(score)
        return kept[score.file]

    @cached_property
    def _last(self) -> dict[str, dict[str, Result]]:
        return {}

    def values(self, score: Score) -> Mapping[str, float]:
        """The headline metric, query by query."""
        return dict(zip(self.board.queries(score), self.board.values(score).tolist(), strict=True))

    def changes(self, score: Score) -> tuple[Change, ...]:
        """Every query of a result against the first stage, largest gain first; empty where that is not on the board."""
        before = self.board.result(FIRST_STAGE, score.task, score.candidates)
        own = self.values(score)
        if before is None or set(own) != set(old := self.values(before)):
            return ()
        found = (Change(query, value, old[query]) for query, value in own.items())
        return tuple(sorted(found, key=lambda change: (-change.difference, change.query)))

    def kept(self, name: str) -> Path | None:
        """A file of the index."""
        return self.index / name if self.index else None

    def release(self, name: str) -> Release | None:
        """The board's own dataset of that name, or None."""
        return next((release for release in self.board.datasets if release.name == name), None)

    # -- what pages depend on ------------------------------------------------------------------------------

    def digest_of(self, submission: Submission) -> str:
        """The digest of the file of a submission."""
        return self.board.digests[submission.slug]

    def candidates_digest(self, task: str, name: str) -> str:
        """The digest of a candidate list with all that is told of it; empty where the board has none of that name."""
        return self._candidates.get((task, name), "")

    def of_submission(self, slug: str) -> tuple[str, ...]:
        """What a submission and its results depend on: they, the first stages under them, and its training."""
        results = [digest for one in self.by_submission[slug] for digest in self._with_first_stage(one)]
        return (self.digest_of(self.board.submissions[slug]), self.training_digest(slug), self.datasets, *results)

    def training_digest(self, slug: str) -> str:
        """The digest of the report of a training; empty where there is none."""
        report = self.board.trainings.get(slug)
        return _digest(report) if report else ""

    @cached_property
    def datasets(self) -> str:
        """One digest over the board's datasets."""
        return _digest(self.board.datasets)

    @cached_property
    def reported(self) -> str:
        """One digest over the tables of numbers printed elsewhere."""
        return _digest(self.board.reported)

    @cached_property
    def runs(self) -> Collection[str]:
        """The files of those results whose run the board's folder holds."""
        has_run = Ledger(self.board.folder).has_run
        return frozenset(r.file for r in self.results if has_run(r.submission, r.task, r.candidates))

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """For each submission one digest over its file and its results."""
        return {
            slug: _digest((self.board.digests[slug], [result.digest for result in results]))
            for slug, results in self.by_submission.items()
        }

    @cached_property
    def everything(self) -> str:
        """One digest over all that the board was read from."""
        board = self.board
        told = [f"{slug} {board.digests[slug]} {self.training_digest(slug)}\n" for slug in board.submissions]
        told += [result.digest for result in board.results]
        told += [self.datasets, _digest(board.candidates), self.reported, _digest(board.changes)]
        return hashlib.sha256("".join(told).encode()).hexdigest()

    def _with_first_stage(self, result: Score) -> tuple[str, str]:
        before = self.board.result(FIRST_STAGE, result.task, result.candidates)
        return result.digest, before.digest if before else ""

    @cached_property
    def _candidates(self) -> Mapping[tuple[str, str], str]:
        return {(one.task, one.name): _digest(one) for one in self.board.candidates}


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def stamp(scores: Iterable[Score]) -> tuple[str, str]:
    """The newest date and version among the results that a page shows."""
    listed = list(scores)
    return max((score.created for score in listed), default=""), _newest(listed)


def _newest(scores: Iterable[Score]) -> str:
    versions = {score.version for score in scores}
    return versions.pop() if len(versions) == 1 else newest({"exabench": version} for version in versions)
