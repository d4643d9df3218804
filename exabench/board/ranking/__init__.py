"""The Board: all results of a leaderboard, joined and ranked. It knows nothing of HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import Training
from exabench.board.ranking._rows import ALL, CostSummary, Entry, Ranker, Ranking, Row, members
from exabench.board.ranking._scores import Score, newest_day, read_scores
from exabench.core.files import file_digest, read_text
from exabench.core.nouns import BoardChange, Candidates, Result, Submission, Task
from exabench.core.rows import Release
from exabench.data.releases import read as read_release
from exabench.tasks.catalogue import expand, task

__all__ = ["ALL", "Board", "Entry", "Ranking", "Reported", "Row", "Score", "CostSummary"]

AUDIT = "audit_discrepancies"


@dataclass(frozen=True)
class Reported:
    """Numbers printed elsewhere: one CSV file, as it is."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Board:
    """Everything the pages show: every result in short (`full` reads one whole), and the rankings of them.

    `submissions` are in the order of their slugs; `digests` are those of their files by slug, `unlike` those of results
    that no ranking takes (Ranker.unlike).
    """

    folder: Path
    title: str
    url: str
    tasks: tuple[Task, ...]
    submissions: Mapping[str, Submission]
    candidates: tuple[Candidates, ...]
    results: tuple[Score, ...]
    reported: tuple[Reported, ...]
    rankings: tuple[Ranking, ...]
    datasets: tuple[Release, ...] = ()
    trainings: Mapping[str, Training] = field(default_factory=dict)
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    changes: tuple[BoardChange, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    unlike: Collection[str] = ()

    @classmethod
    def read(cls, folder: str | Path) -> Board:
        """Read and rank a leaderboard's folder. Raises BadInput for any file that is not what it says."""
        ledger = Ledger(Path(folder))
        settings = ledger.settings()
        tasks = tuple(task(name) for name in expand(settings["tasks"]))
        submissions = ledger.submissions()
        scores = read_scores(ledger)
        candidates = tuple(ledger.candidates())
        ranker = Ranker(submissions, scores, candidates)
        return cls(
            folder=ledger.folder,
            title=settings["title"],
            url=str(settings.get("url", "")),
            tasks=tasks,
            submissions=dict(sorted(submissions.items())),
            candidates=candidates,
            results=tuple(scores),
            rankings=tuple(ranker.rankings(settings.get("views", {}), tasks)),
            datasets=tuple(read_release(file.parent) for file in sorted(ledger.datasets.glob("*/manifest.json"))),
            trainings={slug: made for slug, made in ledger.trainings().items() if slug in submissions},
            reported=tuple(_reported(file) for file in ledger.reported_files()),
            entries=ranker.entries([task(name) for t in tasks for name in members(t)]),
            changes=ledger.changes(),
            digests={slug: file_digest(ledger.folder / "submissions" / f"{slug}.toml") for slug in submissions},
            unlike=ranker.unlike,
        )

    @property
    def rows(self) -> tuple[Row, ...]:
        """The lines of the ranking over all tasks, which comes last."""
        return self.rankings[-1].rows

    @property
    def updated(self) -> str:
        """The date of the newest result; pages show no other date, so that a rebuild gives the same bytes."""
        return newest_day(self.results)

    @property
    def audit(self) -> Reported | None:
        """Printed means that do not follow from their own cells, where the board carries that table."""
        return next((table for table in self.reported if table.name == AUDIT), None)

    @property
    def withdrawn(self) -> tuple[Submission, ...]:
        """The submissions that no longer count, in the order of their slugs; each says why."""
        return tuple(one for one in self.submissions.values() if one.withdrawn)

    def result(self, slug: str, task: str, candidates: str) -> Score | None:
        """One result in short, or None."""
        return self._by_name.get((slug, task, candidates))

    def full(self, score: Score) -> Result:
        """All of a result. Raises BadInput where its file is another one by now."""
        return read_result(score.file, of=score.digest)

    @cached_property
    def _by_name(self) -> dict[tuple[str, str, str], Score]:
        return {(r.submission, r.task, r.candidates): r for r in self.results}


def _reported(file: Path) -> Reported:
    lines = list(csv.reader(io.StringIO(read_text(file), newline="")))
    columns = tuple(lines[0]) if lines else ()
    return Reported(file.stem, columns, tuple(tuple(line) for line in lines[1:] if line))
