"""Results read light: what every table needs of a Result, and the headline metric of each query as arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from sys import intern
from typing import Any

import numpy as np

from exabench.nouns import Result


@dataclass(frozen=True, slots=True)
class Score:
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

    @property
    def difference(self) -> float:
        """The headline metric less the first stage's."""
        return self.value - self.first_stage


_NAMES = tuple(one.name for one in fields(Score) if one.name != "file")
_INTERVAL = _NAMES.index("interval")
_SHARED = tuple(
    place
    for place, one in enumerate(fields(Score))
    if one.type == "str" and one.name not in ("submission", "run_digest", "digest", "file")
)


def score_from(values: Sequence[Any], file: str) -> Score:
    """A Score from its values but for the last; texts that many results share are kept once."""
    told = [*values]
    for place in _SHARED:
        told[place] = intern(told[place])
    told[_INTERVAL] = tuple(told[_INTERVAL])
    told.append(file)
    return Score(*told)


def values_of(score: Score) -> list[Any]:
    """The values of a Score but for its file, as `score_from` takes them."""
    return [getattr(score, name) for name in _NAMES]


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
    """The headline metric of every query of every result, known by the result's digest: a float64 row in a table.

    Results over the same queries share a table and its ids, so that a result takes 8 bytes a query.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}
        self.tables: list[tuple[str, ...]] = []  # the query ids of each
        self._tables: list[array[float]] = []
        self._places: dict[str, tuple[int, int]] = {}

    def add(self, digest: str, ids: tuple[str, ...], row: bytes) -> None:
        """Keep the values of a result: its query ids, and the bytes of a row of float64."""
        number = self._numbers.setdefault(ids, len(self.tables))
        if number == len(self.tables):
            self.tables.append(ids)
            self._tables.append(array("d"))
        table = self._tables[number]
        self._places[digest] = number, len(table) // max(1, len(ids))
        table.frombytes(row)

    def queries(self, digest: str) -> tuple[str, ...]:
        """The query ids of a result, in the order of its row."""
        return self.tables[self._places[digest][0]]

    def row(self, digest: str) -> np.ndarray:
        """The values of a result, (queries,) float64."""
        number, place = self._places[digest]
        size = len(self.tables[number])
        return np.array(self._tables[number][place * size : (place + 1) * size])

    def place(self, digest: str) -> tuple[int, int]:
        """The number of a result's table, and that of its row in it."""
        return self._places[digest]

    def table(self, number: int) -> np.ndarray:
        """All rows of a table, (results, queries) float64."""
        return np.array(self._tables[number]).reshape(-1, max(1, len(self.tables[number])))


def newest_day(scores: Iterable[Score]) -> str:
    """The date of the newest of some results; pages show no other date, so that a rebuild gives the same bytes."""
    return max((score.created for score in scores), default="1970-01-01")
