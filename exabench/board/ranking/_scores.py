"""Results as a board holds them: whole but for the per-query values, of which only the headline metric's stay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from exabench.bench.ledger import Ledger, read_result
from exabench.core.files import file_digest
from exabench.core.nouns import Candidates, Result
from exabench.core.parallel import map_unordered, worker_count

_FEWEST = 200  # files for which a second process is worth its start
_TOGETHER = 50  # files that a process reads at a time


@dataclass(frozen=True)
class Score:
    """One result; `Board.full` reads its file again, with every metric of every query.

    `queries` are the ids in the order of the file, shared by results over the same ones, `values` the headline metric
    of each, (queries,) float64. `digest` is that of the file.
    """

    result: Result = field(compare=False)
    queries: tuple[str, ...] = field(compare=False)
    values: np.ndarray = field(compare=False)
    digest: str
    file: Path

    @property
    def submission(self) -> str:
        """The slug of the submission."""
        return self.result.submission

    @property
    def task(self) -> str:
        """The name of the task."""
        return self.result.task

    @property
    def candidates(self) -> str:
        """The name of the candidate list."""
        return self.result.candidates.name

    @property
    def depth(self) -> int:
        """The depth of the candidate list."""
        return self.result.candidates.depth

    @property
    def headline(self) -> str:
        """The name of the headline metric."""
        return self.result.measurement.headline

    @property
    def value(self) -> float:
        """The headline metric."""
        return self.result[self.headline]

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % bootstrap interval."""
        return self.result.interval

    @property
    def first_stage(self) -> float:
        """The headline metric of the first stage."""
        return self.result.first_stage[self.headline]

    @property
    def ceiling(self) -> float:
        """The headline metric of the best order of the same candidates."""
        return self.result.ceiling[self.headline]

    @property
    def difference(self) -> float:
        """The headline metric less the first stage's."""
        return self.value - self.first_stage

    @property
    def state(self) -> str:
        """How the ranking came about: reproduced, re-computed or reported."""
        return self.result.state

    @property
    def created(self) -> str:
        """The day on which the result was made."""
        return self.result.created

    @property
    def version(self) -> str:
        """The version of exabench that made it."""
        return str(self.result.versions.get("exabench", ""))

    @property
    def missing(self) -> int:
        """Queries of the candidates that the run does not answer."""
        measured = self.result.measurement
        return max(0, self.result.candidates.queries - measured.queries + measured.missing_queries)

    def measured_as(self, listed: Candidates | None) -> bool:
        """Is it over this frozen list, under its convention, by its judgements? Of no list that is known: yes."""
        if listed is None:
            return True
        one = self.result
        own = (one.candidates.digest, one.measurement.convention.digest, one.qrels_digest)
        return own == (listed.digest, listed.convention_digest, listed.qrels_digest)


def read_scores(ledger: Ledger) -> list[Score]:
    """Every result of a leaderboard, in the order of the files. Raises BadInput for one that was edited."""
    files = ledger.result_files()
    processes = worker_count(len(files), _FEWEST)
    read = dict(map_unordered(lambda file: (file, _read(file)), files, processes, chunk=_TOGETHER))
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    scores = []
    for file in files:
        result, queries, values, digest = read[file]
        scores.append(Score(result, shared.setdefault(queries, queries), values, digest, file))
    return scores


def _read(file: Path) -> tuple[Result, tuple[str, ...], np.ndarray, str]:
    result = read_result(file)
    measured = result.measurement
    headline = measured.per_query[measured.headline]
    values = np.array(list(headline.values()), np.float64)
    light = replace(result, measurement=replace(measured, per_query={}))
    return light, tuple(headline), values, file_digest(file)


def newest_day(scores: Iterable[Score]) -> str:
    """The date of the newest of some results; pages show no other date, so that a rebuild gives the same bytes."""
    return max((score.created for score in scores), default="1970-01-01")
