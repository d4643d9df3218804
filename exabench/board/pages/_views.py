"""The board as its pages see it: results on its tasks by filed submissions, and look-ups over them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exabench.bench.ledger import Ledger
from exabench.board.pages._format import first_stage, newest
from exabench.core.nouns import FIRST_STAGE, Task
from exabench.core.rows import Release
from exabench.measure.statistics import PairedTest, holm, paired_test
from exabench.tasks.catalogue import task

if TYPE_CHECKING:
    from exabench.board.ranking import Board, Ranking, Row, Score

WRITTEN = 100  # lines of a table in a page itself; data files, and the browser, hold all
STATES = {
    "reproduced": "exabench ran the reranker itself, on the frozen candidates, and measured the ranking it got.",
    "re-computed": "The ranking, or the first stage under it, came as a file. exabench held it against the frozen "
    "candidates and computed every number from it; how the file was made is its sender's word.",
    "reported": "Printed elsewhere and not measured here. Such numbers stay on pages of their own.",
}


@dataclass(frozen=True, eq=False)
class Line:
    """One line of the overview with what it gains over its first stage; None where one of the two has no mean."""

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
class QueryChange:
    """One query: what the submission got, what the first stage had."""

    query: str
    own: float
    before: float

    @property
    def difference(self) -> float:
        """Own value less the first stage's."""
        return self.own - self.before


@dataclass(frozen=True)
class Tested:
    """A result with its test against the first stage; `corrected` is p after Holm within its candidate list."""

    score: Score
    test: PairedTest
    corrected: float


@dataclass(frozen=True)
class View:
    """The board as its pages see it."""

    board: Board

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
        return stamp(self.results)[1]

    @cached_property
    def runs(self) -> Collection[Score]:
        """Those results whose run the board's folder holds."""
        ledger = Ledger(self.board.folder)
        return {r for r in self.results if ledger.has_run(r.submission, r.task, r.candidates)}

    @cached_property
    def everything(self) -> str:
        """One digest over all that the board was read from: the build."""
        board = self.board
        parts = []
        for slug, digest in sorted(board.digests.items()):
            training = board.trainings.get(slug)
            parts.append(f"{slug} {digest} {_digest(training) if training else ''}\n")
        parts += [result.digest for result in board.results]
        parts += [_digest(part) for part in (board.datasets, board.candidates, board.reported, board.changes)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def release(self, name: str) -> Release | None:
        """The board's own dataset of that name, or None."""
        return next((release for release in self.board.datasets if release.name == name), None)

    def lines(self, ranking: Ranking) -> list[Line]:
        """The lines of a ranking, best first."""
        before = {row.candidates: row.mean for row in ranking.rows if row.is_first_stage}
        lines = []
        for row in ranking.rows:
            old = before.get(row.candidates)
            lines.append(Line(row, None if row.mean is None or old is None else row.mean - old))
        return lines

    def first_stage(self, score: Score) -> Score | None:
        """The result of the first stage under a result; None where the board holds none over the same queries."""
        before = self.board.result(FIRST_STAGE, score.task, score.candidates)
        return before if before and before.queries == score.queries else None

    def changes(self, score: Score) -> list[QueryChange]:
        """Every query of a result against the first stage, largest gain first; empty where that is not on the board."""
        before = self.first_stage(score)
        if before is None:
            return []
        rows = zip(score.queries, score.values.tolist(), before.values.tolist(), strict=True)
        return sorted((QueryChange(*row) for row in rows), key=lambda one: (-one.difference, one.query))

    def tested(self, slug: str) -> list[Tested]:
        """Every result of a submission with its test against the first stage."""
        scores = self.by_submission[slug]
        tests = [self.test(score) for score in scores]
        corrected = holm([test.p for test in tests], [score.candidates for score in scores])
        return [Tested(*one) for one in zip(scores, tests, corrected, strict=True)]

    def test(self, score: Score) -> PairedTest:
        """A result against the first stage, from the values of both; as the result stores it where one is missing."""
        before = self.first_stage(score)
        if before:
            return paired_test([score.values], [before.values])
        return test_of(score.result.gain)


def test_of(gain: Mapping[str, Any]) -> PairedTest:
    """The paired test that a result stores; those of version 0.1 have the p of two tests."""
    given = {"p": gain.get("t_test"), **gain, "interval": tuple(gain["interval"])}
    return PairedTest(**{name: value for name, value in given.items() if name not in ("t_test", "randomisation")})


def stamp(scores: Iterable[Score]) -> tuple[str, str]:
    """The newest date and version among the results that a page shows."""
    listed = list(scores)
    created = max((score.created for score in listed), default="")
    return created, newest({score.version for score in listed})


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()
