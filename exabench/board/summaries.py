"""Results in short: what a ranking of thousands of them needs, without the values of every metric."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from exabench.bench.contests import missing_queries
from exabench.bench.ledger import Ledger, read_result
from exabench.core.files import file_digest
from exabench.core.nouns import Result
from exabench.core.parallel import map_unordered

_FEWEST_FILES = 200  # results for which a second process is worth its start
_FILES_AT_ONCE = 50  # results that a process reads at a time


@dataclass(frozen=True)
class ResultSummary:
    """A result whose per-query values are those of the headline metric only; `Board.full` reads the others again.

    `value`, `first_stage` and `ceiling` are of the headline metric. `missing` counts the queries of the candidates that
    the run does not answer, and the judged queries that the candidates lack. `queries` are the ids in the order of the
    file, shared by results over the same ones, `values` float64 (queries,). `digest` is that of the file.
    """

    submission: str
    task: str
    candidates: str
    depth: int
    headline: str
    value: float
    first_stage: float
    ceiling: float
    missing: int
    digest: str
    file: Path
    result: Result = field(compare=False)
    queries: tuple[str, ...] = field(compare=False)
    values: np.ndarray = field(compare=False)

    @property
    def stage(self) -> str:
        """The name of the first stage."""
        return first_stage(self.candidates)

    @property
    def cut_share(self) -> float | None:
        """The share of passages that were cut to fit into the model, from 0 to 1; None where it is not known."""
        return self.result.cost.cut_share if self.result.cost else None


def first_stage(candidates: str) -> str:
    """The first stage that a candidate list's name begins with: `bm25-100` reads bm25."""
    return re.sub(r"-\d+$", "", candidates)


NEVER = "1970-01-01"
"""The date where there is no result: a feed needs one."""


def newest_day(summaries: Iterable[ResultSummary]) -> str:
    """The date of the newest of some results, or nothing."""
    return max((summary.result.created for summary in summaries), default="")


def read_summaries(ledger: Ledger) -> list[ResultSummary]:
    """Every result of a leaderboard, in the order of the files. Raises BadInput for one that was edited."""
    files = ledger.result_files()
    by_file = {}
    # Thousands of results have the same queries: one copy of the ids is kept.
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for summary in map_unordered(_summary_of, files, at_least=_FEWEST_FILES, chunk=_FILES_AT_ONCE):
        queries = shared.setdefault(summary.queries, summary.queries)
        by_file[summary.file] = replace(summary, queries=queries)
    return [by_file[file] for file in files]


def _summary_of(file: Path) -> ResultSummary:
    result = read_result(file)
    measured = result.measurement
    candidates = result.candidates
    headline = measured.headline
    values = measured.per_query[headline]
    return ResultSummary(
        submission=result.submission,
        task=result.task,
        candidates=candidates.name,
        depth=candidates.depth,
        headline=headline,
        value=result[headline],
        first_stage=result.first_stage[headline],
        ceiling=result.ceiling[headline],
        missing=missing_queries(result),
        digest=file_digest(file),
        file=file,
        result=replace(result, measurement=replace(measured, per_query={})),
        queries=tuple(values),
        values=np.array(list(values.values()), np.float64),
    )
