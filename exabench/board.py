"""The Board: all results of a leaderboard, joined and ranked. It knows nothing of HTML."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from exabench.catalogue import expand, task
from exabench.errors import BadInput
from exabench.files import read_text
from exabench.ledger import Ledger
from exabench.metrics._measure import mean
from exabench.nouns import FIRST_STAGE, Candidates, Result, Submission, Task
from exabench.releases import read as read_release
from exabench.rows import Release
from exabench.statistics import mean_interval, rank_groups
from exabench.submissions import Training

AUDIT = "audit_discrepancies"
ALL = "All tasks"


@dataclass(frozen=True)
class Spent:
    """What a line of the overview took for a query: means over its tasks, each of the same weight.

    A first stage reranked nothing and spent 0. What is not known is None, and `why` says why FLOPs are not. `p50` is
    the mean of the tasks' median seconds, where all were taken on the same `hardware`.
    """

    flops_exact: float | None = None
    flops_paper: float | None = None
    parameters: int | None = None
    p50: float | None = None
    hardware: str = ""
    why: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the overview: a submission over one kind of candidates (first stage and depth), on all tasks.

    `values` holds a number for each finished task; `mean`, `interval` and `group` are None where a task of the
    board is missing, because a mean over other tasks is another number.
    """

    submission: Submission
    candidates: str
    depth: int
    values: Mapping[str, float]
    results: tuple[Result, ...]
    finished: int
    wanted: int
    mean: float | None
    interval: tuple[float, float] | None
    group: int | None
    spent: Spent = Spent()

    @property
    def is_first_stage(self) -> bool:
        """Is this the candidates' own order, which rerankers are measured against?"""
        return self.submission.slug == FIRST_STAGE

    @property
    def states(self) -> tuple[str, ...]:
        """The states of its results, each once."""
        return tuple(sorted({result.state for result in self.results}))


@dataclass(frozen=True)
class Entry:
    """One line of a task page: a result with its rank group on that task (None for a bound)."""

    submission: Submission
    result: Result
    group: int | None


@dataclass(frozen=True)
class Ranking:
    """The overview of some of the board's tasks: its own means, intervals and rank groups over those tasks alone."""

    title: str
    slug: str
    tasks: tuple[Task, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Reported:
    """Numbers printed elsewhere: one CSV file, as it is."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Board:
    """Everything the pages show."""

    title: str
    url: str
    tasks: tuple[Task, ...]
    submissions: Mapping[str, Submission]
    candidates: tuple[Candidates, ...]
    results: tuple[Result, ...]
    rows: tuple[Row, ...]
    reported: tuple[Reported, ...]
    rankings: tuple[Ranking, ...] = ()
    datasets: tuple[Release, ...] = ()
    trainings: Mapping[str, Training] = field(default_factory=dict)
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path) -> Board:
        """Read and rank a leaderboard's folder. Raises BadInput for any file that is not what it says."""
        ledger = Ledger(Path(folder))
        settings = ledger.settings()
        tasks = tuple(task(name) for name in expand(settings["tasks"]))
        submissions, results = ledger.submissions(), tuple(ledger.results())
        rankings = tuple(_rankings(settings.get("views", {}), tasks, submissions, results))
        single = [task(name) for t in tasks for name in (t.members or (t.name,))]
        return cls(
            title=settings["title"],
            url=str(settings.get("url", "")),
            tasks=tasks,
            submissions=submissions,
            candidates=tuple(ledger.candidates()),
            results=results,
            rows=rankings[-1].rows,
            rankings=rankings,
            datasets=tuple(read_release(file.parent) for file in sorted(ledger.datasets.glob("*/manifest.json"))),
            trainings={slug: made for slug, made in ledger.trainings().items() if slug in submissions},
            reported=tuple(_reported(file) for file in ledger.reported_files()),
            entries={t.name: _entries(t, submissions, results) for t in single},
        )

    @property
    def updated(self) -> str:
        """The date of the newest result; pages show no other date, so that a rebuild gives the same bytes."""
        return max((result.created for result in self.results), default="1970-01-01")

    @property
    def audit(self) -> Reported | None:
        """Printed means that do not follow from their own cells, where the board carries that table."""
        return next((table for table in self.reported if table.name == AUDIT), None)

    def result(self, slug: str, task: str, candidates: str) -> Result | None:
        """One result, or None."""
        return self._index.get((slug, task, candidates))

    @cached_property
    def _index(self) -> dict[tuple[str, str, str], Result]:
        return {(r.submission, r.task, r.candidates.name): r for r in self.results}


def _rankings(
    views: Mapping[str, list[str]],
    tasks: tuple[Task, ...],
    submissions: Mapping[str, Submission],
    results: tuple[Result, ...],
) -> Iterator[Ranking]:
    """The board's views in its own order, then all its tasks. Raises BadInput where two would share a page."""
    slugs = set[str]()
    for title, names in {**views, ALL: [t.name for t in tasks]}.items():
        chosen = tuple(task(name) for name in expand(names))
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "view"
        if slug in slugs:
            raise BadInput(f"two views of the board would be called {slug}; give them other titles")
        slugs.add(slug)
        yield Ranking(title, slug, chosen, _rows(chosen, submissions, results))


def _rows(
    tasks: tuple[Task, ...], submissions: Mapping[str, Submission], results: tuple[Result, ...]
) -> tuple[Row, ...]:
    """The overview's lines, best mean first, lines without a mean after them; bounds are left to the task pages."""
    grouped: dict[tuple[str, str], dict[str, Result]] = {}
    wanted = {name for t in tasks for name in (t.members or (t.name,))}
    for result in results:
        submission = submissions.get(result.submission) if result.task in wanted else None
        if submission and (submission.kind != "baseline" or result.submission == FIRST_STAGE):
            grouped.setdefault((result.submission, result.candidates.name), {})[result.task] = result
    complete: list[tuple[Row, list[np.ndarray]]] = []
    incomplete: list[Row] = []
    for (slug, _), by_task in grouped.items():
        row, values = _row(tasks, submissions[slug], by_task)
        if row.mean is None:
            incomplete.append(row)
        else:
            complete.append((row, values))
    complete.sort(key=lambda pair: (-(pair[0].mean or 0), pair[0].submission.name, pair[0].candidates))
    groups = rank_groups([values for _, values in complete])
    ranked = [Row(**vars(row) | {"group": group}) for (row, _), group in zip(complete, groups, strict=True)]
    incomplete.sort(key=lambda row: (-row.finished, row.submission.name, row.candidates))
    return tuple(ranked + incomplete)


def _row(
    tasks: tuple[Task, ...], submission: Submission, by_task: Mapping[str, Result]
) -> tuple[Row, list[np.ndarray]]:
    values: dict[str, float] = {}
    arrays: list[np.ndarray] = []
    for t in tasks:
        found = [by_task[name] for name in (t.members or (t.name,)) if name in by_task]
        if len(found) == len(t.members or (t.name,)) and all(_is_whole(result) for result in found):
            values[t.name] = mean(result[result.measurement.headline] for result in found)
            arrays.append(_per_query(found))
    whole = len(values) == len(tasks) and bool(tasks)
    parts = [[by_task[name] for name in (t.members or (t.name,)) if name in by_task] for t in tasks]
    first = next(iter(by_task.values())).candidates
    row = Row(
        submission=submission,
        candidates=first.name,
        depth=first.depth,
        values=values,
        results=tuple(by_task[name] for name in sorted(by_task)),
        finished=len(values),
        wanted=len(tasks),
        mean=mean(values.values()) if whole else None,
        interval=mean_interval(arrays) if whole else None,
        group=None,
        spent=_spent(submission, parts, whole),
    )
    return row, arrays


def _spent(submission: Submission, parts: list[list[Result]], whole: bool) -> Spent:
    if submission.slug == FIRST_STAGE:
        return Spent(0.0, 0.0, why="the first stage itself: nothing was reranked")
    if submission.kind == "run":
        return Spent(why="the ranking was sent in: what it took was not seen")
    costs = [[result.cost for result in part if result.cost] for part in parts]
    if any(len(own) < len(part) for own, part in zip(costs, parts, strict=True)):
        return Spent(why="a result says nothing about its cost")
    sizes = {cost.parameters for own in costs for cost in own}
    parameters = sizes.pop() if len(sizes) == 1 else None
    if not whole:
        return Spent(parameters=parameters, why="tasks are missing: a mean over the others is another number")
    timings = [[cost.timing for cost in own if cost.timing] for own in costs]
    places = {timing.hardware for own in timings for timing in own}
    timed = len(places) == 1 and all(len(a) == len(b) for a, b in zip(timings, costs, strict=True))
    exact = _mean_of_means([[cost.flops_exact for cost in own] for own in costs])
    return Spent(
        flops_exact=exact,
        flops_paper=_mean_of_means([[cost.flops_paper for cost in own] for own in costs]),
        parameters=parameters,
        p50=_mean_of_means([[timing.p50 for timing in own] for own in timings]) if timed else None,
        hardware=places.pop() if timed else "",
        why="" if exact is not None else "the model behind its server is not known",
    )


def _mean_of_means(tasks: list[list[float | None]]) -> float | None:
    """None where one value is."""
    known = [[value for value in values if value is not None] for values in tasks]
    return mean(map(mean, known)) if list(map(len, known)) == list(map(len, tasks)) else None


def _per_query(results: list[Result]) -> np.ndarray:
    """Headline values, query by query; over several forums each is weighted so that the mean is the mean of means."""
    parts = [np.array(list(r.measurement.per_query[r.measurement.headline].values())) for r in results]
    total = sum(map(len, parts))
    return np.concatenate([part * (total / (len(parts) * len(part))) for part in parts])


def _is_whole(result: Result) -> bool:
    """Does the run answer every query that its candidates hold?"""
    measured = result.measurement
    return measured.queries - measured.missing_queries >= result.candidates.queries


def _entries(t: Task, submissions: Mapping[str, Submission], results: tuple[Result, ...]) -> tuple[Entry, ...]:
    """The results on one task, best first; bounds carry no group."""
    mine = [result for result in results if result.task == t.name and result.submission in submissions]
    mine.sort(key=lambda r: (-r[r.measurement.headline], r.submission, r.candidates.name))
    ranked = [r for r in mine if submissions[r.submission].kind != "baseline" or r.submission == FIRST_STAGE]
    groups = rank_groups([[_per_query([result])] for result in ranked])
    numbered = {id(result): group for result, group in zip(ranked, groups, strict=True)}
    return tuple(Entry(submissions[r.submission], r, numbered.get(id(r))) for r in mine)


def _reported(file: Path) -> Reported:
    lines = list(csv.reader(io.StringIO(read_text(file), newline="")))
    columns = tuple(lines[0]) if lines else ()
    return Reported(file.stem, columns, tuple(tuple(line) for line in lines[1:] if line))
