"""Results read light: what every table needs of a Result, and the headline metric of each query as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from exabench.nouns import Candidates, Result


class Score(NamedTuple):
    """One result file in short; `Board.full` reads all of it.

    `candidates` is the list's name. `value`, `interval`, `first_stage` and `ceiling` are of the `headline` metric;
    `metrics` are the names of all, with blanks between. `missing` are queries of the candidates that the run does not
    answer. Where nothing is known of the cost, `costed` is False and its numbers are None; `p50` are seconds on
    `hardware`, None and "" where nobody took the time. `digest` is that of the result file.
    """

    submission: str
    task: str
    candidates: str
    depth: int
    headline: str
    value: float
    interval: tuple[float, float]
    first_stage: float
    ceiling: float
    state: str
    created: str
    version: str
    metrics: str
    queries: int
    missing: int
    costed: bool
    flops_exact: float | None
    flops_paper: float | None
    parameters: int | None
    p50: float | None
    hardware: str
    qrels_source: str
    qrels_digest: str
    candidates_digest: str
    convention_digest: str
    run_digest: str
    digest: str
    file: str

    @property
    def whole(self) -> bool:
        """Does the run answer every query of its candidates?"""
        return not self.missing

    def measured_as(self, listed: Candidates | None) -> bool:
        """Is it over this frozen list, under its convention, by its judgements? Of no list that is known: yes."""
        own = self.candidates_digest, self.convention_digest, self.qrels_digest
        return listed is None or own == (listed.digest, listed.convention_digest, listed.qrels_digest)

    @property
    def difference(self) -> float:
        """The headline metric less the first stage's."""
        return self.value - self.first_stage


def score_of(result: Result, digest: str, file: str) -> Score:
    """A Result in short."""
    measured, cost, name = result.measurement, result.cost, result.measurement.headline
    timing = cost.timing if cost else None
    return Score(
        submission=result.submission,
        task=result.task,
        candidates=result.candidates.name,
        depth=result.candidates.depth,
        headline=name,
        value=result[name],
        interval=(result.interval[0], result.interval[1]),
        first_stage=result.first_stage[name],
        ceiling=result.ceiling[name],
        state=result.state,
        created=result.created,
        version=str(result.versions.get("exabench", "")),
        metrics=" ".join(sorted(measured.metrics)),
        queries=measured.queries,
        missing=max(0, result.candidates.queries - measured.queries + measured.missing_queries),
        costed=cost is not None,
        flops_exact=cost.flops_exact if cost else None,
        flops_paper=cost.flops_paper if cost else None,
        parameters=cost.parameters if cost else None,
        p50=timing.p50 if timing else None,
        hardware=timing.hardware if timing else "",
        qrels_source=result.qrels_source,
        qrels_digest=result.qrels_digest,
        candidates_digest=result.candidates.digest,
        convention_digest=measured.convention.digest,
        run_digest=result.run_digest,
        digest=digest,
        file=file,
    )


class Vectors:
    """The headline metric of every query of every result, known by the result's digest: rows of float64.

    Results over the same queries share their ids, a table, so that a result takes 8 bytes a query.
    """

    def __init__(self) -> None:
        self.tables: list[tuple[str, ...]] = []  # the query ids of each
        self._numbers: dict[tuple[str, ...], int] = {}
        self._rows: dict[str, tuple[int, np.ndarray]] = {}

    def table(self, ids: tuple[str, ...]) -> int:
        """The number of the table with these query ids."""
        number = self._numbers.setdefault(ids, len(self.tables))
        if number == len(self.tables):
            self.tables.append(ids)
        return number

    def add(self, digest: str, table: int, row: np.ndarray) -> None:
        """Keep the values of a result, (queries of its table,) float64."""
        self._rows[digest] = table, row

    def queries(self, digest: str) -> tuple[str, ...]:
        """The query ids of a result, in the order of its row."""
        return self.tables[self._rows[digest][0]]

    def row(self, digest: str) -> np.ndarray:
        """The values of a result, (queries,) float64."""
        return self._rows[digest][1]

    def of_table(self, number: int) -> dict[str, np.ndarray]:
        """The rows of a table by the digests of their results."""
        return {digest: row for digest, (table, row) in self._rows.items() if table == number}


def newest_day(scores: Iterable[Score]) -> str:
    """The date of the newest of some results; pages show no other date, so that a rebuild gives the same bytes."""
    return max((score.created for score in scores), default="1970-01-01")
