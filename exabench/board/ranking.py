"""The Board: all results of a leaderboard, joined, ranked and tested. It knows nothing of HTML."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import EXTERNAL_RUN_KINDS, Training
from exabench.core.errors import BadInput
from exabench.core.files import file_digest, read_text
from exabench.core.nouns import FIRST_STAGE, BoardChange, Candidates, Cost, Result, Submission, Task
from exabench.core.parallel import map_unordered
from exabench.core.rows import Release
from exabench.data.releases import read as read_release
from exabench.measure.metric_values import mean
from exabench.measure.statistics import (
    PairedTest,
    as_one_task,
    differences_of,
    holm,
    mean_intervals,
    paired_test,
    rank_groups,
)
from exabench.tasks.catalogue import expand, task
from exabench.tasks.locks import with_counts

Item = TypeVar("Item")
Key = TypeVar("Key")
ALL = "All tasks"
AUDIT = "audit_discrepancies"
_FEWEST_FILES = 200  # results for which a second process is worth its start
_FILES_AT_ONCE = 50  # results that a process reads at a time
_INTERVALS_AT_ONCE = 512  # intervals that a process computes at a time


@dataclass(frozen=True)
class ResultSummary:
    """A result whose per-query values are those of the headline metric alone; `Board.full` reads the others again.

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


@dataclass(frozen=True, slots=True)
class CostSummary:
    """Cost of a query on a line of the overview: means over its tasks, each of the same weight.

    A first stage reranked nothing and spent 0. What is not known is None, and `why` says why FLOPs are not. `p50` is
    the mean of the tasks' median seconds, where all were taken on the same `hardware`.
    """

    flops_exact: float | None = None
    flops_paper: float | None = None
    parameters: int | None = None
    p50: float | None = None
    hardware: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the overview: a submission over one kind of candidates (first stage and depth), on all tasks.

    `values` holds a number for each finished task; `mean`, `interval`, `group` and `gain` (over the mean of the first
    stage) are None where a task of the board is missing, because a mean over other tasks is another number.
    """

    submission: Submission
    candidates: str
    depth: int
    values: Mapping[str, float]
    results: tuple[ResultSummary, ...]
    finished: int
    wanted: int
    mean: float | None = None
    interval: tuple[float, float] | None = None
    group: int | None = None
    gain: float | None = None
    spent: CostSummary = CostSummary()

    @property
    def is_first_stage(self) -> bool:
        """Is this the candidates' own order, which rerankers are measured against?"""
        return self.submission.slug == FIRST_STAGE

    @property
    def stage(self) -> str:
        """The name of the first stage."""
        return first_stage(self.candidates)

    @property
    def name(self) -> str:
        """The name on pages: a first stage's own, or the submission's."""
        return f"first stage: {self.stage}" if self.is_first_stage else self.submission.name

    @property
    def states(self) -> tuple[str, ...]:
        """The states of its results, each once, sorted."""
        return tuple(sorted({summary.result.state for summary in self.results}))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a task page: a result with its rank group on that task.

    None for a bound, for a result that leaves queries out, and for one that is not `alike`: measured over another list
    of that name, under another convention or by other judgements than the frozen list tells, it cannot be ranked with
    the others.
    """

    submission: Submission
    result: ResultSummary
    group: int | None
    alike: bool = True

    @property
    def is_bound(self) -> bool:
        """Is it what needs no model, for comparison only?"""
        return is_bound(self.submission)


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
class TrainingTable:
    """A table that a model learnt from, as its report tells, and the board's own release of that dataset or None."""

    told: Mapping[str, Any]
    release: Release | None

    @property
    def same(self) -> bool:
        """Is the board's release the one that was learnt from, or has it another content by now?"""
        return self.release is not None and self.release.content == self.told["content"]


class QueryChange(NamedTuple):
    """One query: the value of the submission, that of the first stage before it, and by how much it is higher."""

    query: str
    own: float
    before: float
    difference: float


@dataclass(frozen=True)
class Board:
    """Everything the pages show: every result in short (`full` reads one whole), and the rankings of them.

    `submissions` are in the order of their slugs, `digests` those of their files. `entries` are the lines of each task,
    best first. `unlike` holds the digests of results that were measured otherwise than their frozen list tells.
    """

    folder: Path
    title: str
    url: str
    tasks: tuple[Task, ...]
    submissions: Mapping[str, Submission]
    candidates: tuple[Candidates, ...]
    results: tuple[ResultSummary, ...]
    reported: tuple[Reported, ...]
    rankings: tuple[Ranking, ...]
    datasets: tuple[Release, ...]
    trainings: Mapping[str, Training]
    entries: Mapping[str, tuple[Entry, ...]]
    changes: tuple[BoardChange, ...]
    digests: Mapping[str, str]
    unlike: Collection[str]

    @classmethod
    def read(cls, folder: str | Path) -> Board:
        """Read and rank a leaderboard's folder. Raises BadInput for any file that is not what it says."""
        ledger = Ledger(Path(folder))
        settings = ledger.settings()
        tasks = tuple(expand(settings["tasks"], board=ledger.folder))
        submissions = dict(sorted(ledger.submissions().items()))
        results = _read_results(ledger)
        candidates = tuple(ledger.candidates())

        # No ranking takes what was withdrawn, nor a result that was measured otherwise than its frozen list tells.
        lists = {(one.task, one.name): one for one in candidates}
        unlike = set[str]()
        counted = []
        competing = {}
        for summary in results:
            result = summary.result
            listed = lists.get((summary.task, summary.candidates))
            # A result without a frozen list of that name is taken as it is.
            own = (result.candidates.digest, result.measurement.convention.digest, result.qrels_digest)
            if listed and own != (listed.digest, listed.convention_digest, listed.qrels_digest):
                unlike.add(summary.digest)
            sent = submissions.get(summary.submission)
            if sent is None or sent.withdrawn:
                continue
            counted.append(summary)
            if not is_bound(sent) and summary.digest not in unlike:
                competing[summary.digest] = summary

        # The views of the board in their order, then all tasks: `Board.rows` takes the last.
        rankings = {}
        for title, names in {**settings.get("views", {}), ALL: settings["tasks"]}.items():
            slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "view"
            if slug in rankings:
                raise BadInput(f"two views of the board would be called {slug}; give them other titles")
            chosen = tuple(expand(names, board=ledger.folder))
            rankings[slug] = Ranking(title, slug, chosen, _rank_rows(chosen, submissions, competing.values()))

        # Task pages also list bounds and results that are not alike, without a group.
        by_task = group_by(counted, lambda one: one.task)
        entries = {}
        for name in single_names(tasks):
            listing = sorted(by_task.get(name, ()), key=lambda one: (-one.value, one.submission, one.candidates))
            ranked = [one for one in listing if one.digest in competing and not one.missing]
            groups = iter(_rank_groups(ranked, [[one.values] for one in ranked]))
            lines = []
            for one in listing:
                group = None
                if one.digest in competing and not one.missing:
                    group = next(groups)
                lines.append(Entry(submissions[one.submission], one, group, one.digest not in unlike))
            entries[name] = tuple(lines)

        reported = []
        for file in ledger.reported_files():
            table = csv.reader(io.StringIO(read_text(file), newline=""))
            columns = tuple(next(table, ()))
            filled = tuple(tuple(line) for line in table if line)
            reported.append(Reported(file.stem, columns, filled))
        return cls(
            folder=ledger.folder,
            title=settings["title"],
            url=settings.get("url", ""),
            tasks=tasks,
            submissions=submissions,
            candidates=candidates,
            results=tuple(results),
            rankings=tuple(rankings.values()),
            datasets=tuple(read_release(file.parent) for file in sorted(ledger.datasets.glob("*/manifest.json"))),
            trainings={slug: report for slug, report in ledger.trainings().items() if slug in submissions},
            reported=tuple(reported),
            entries=entries,
            changes=ledger.changes(),
            digests={slug: file_digest(ledger.submission_file(slug)) for slug in submissions},
            unlike=unlike,
        )

    @property
    def ledger(self) -> Ledger:
        """The files of the board's folder."""
        return Ledger(self.folder)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The lines of the ranking over all tasks, which comes last."""
        return self.rankings[-1].rows

    @property
    def updated(self) -> str:
        """The date of the newest result; pages show no other date, so that a rebuild gives the same bytes."""
        return newest_day(self.results) or NEVER

    @property
    def audit(self) -> Reported | None:
        """Printed means that do not follow from their own cells, where the board carries that table."""
        for table in self.reported:
            if table.name == AUDIT:
                return table
        return None

    @property
    def withdrawn(self) -> list[Submission]:
        """The submissions that no longer count, in the order of their slugs; each says why."""
        return [one for one in self.submissions.values() if one.withdrawn]

    @cached_property
    def shown_results(self) -> list[ResultSummary]:
        """The results that have pages (on the board's tasks, by filed submissions) by submission, task, candidates."""
        shown = [one for one in self.results if one.submission in self.submissions and one.task in self.entries]
        return sorted(shown, key=lambda one: (one.submission, one.task, one.candidates))

    @cached_property
    def by_submission(self) -> Mapping[str, list[ResultSummary]]:
        """The results with pages of each filed submission."""
        shown = group_by(self.shown_results, lambda one: one.submission)
        return {slug: shown.get(slug, []) for slug in self.submissions}

    @cached_property
    def single_tasks(self) -> list[Task]:
        """The board's tasks that have judgements; one that is the mean of several is replaced by its members."""
        return [with_counts(task(name, board=self.folder), self.ledger.lock) for name in self.entries]

    @cached_property
    def build_digest(self) -> str:
        """One digest over all that the board was read from."""
        parts = []
        for slug, digest in self.digests.items():
            training = self.trainings.get(slug)
            report = ""
            if training:
                report = _digest(training)
            parts.append(f"{slug} {digest} {report}\n")
        parts += [summary.digest for summary in self.results]
        parts += [_digest(part) for part in (self.datasets, self.candidates, self.reported, self.changes)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    @cached_property
    def _by_name(self) -> dict[tuple[str, str, str], ResultSummary]:
        return {(one.submission, one.task, one.candidates): one for one in self.results}

    def result(self, slug: str, task: str, candidates: str) -> ResultSummary | None:
        """One result in short, or None."""
        return self._by_name.get((slug, task, candidates))

    def full(self, summary: ResultSummary) -> Result:
        """All of a result. Raises BadInput where its file is another one by now."""
        return read_result(summary.file, of=summary.digest)

    def has_run(self, summary: ResultSummary) -> bool:
        """Does the board's folder hold the run of a result?"""
        return self.ledger.has_run(summary.submission, summary.task, summary.candidates)

    def release(self, name: str) -> Release | None:
        """The board's own dataset of that name, or None."""
        for release in self.datasets:
            if release.name == name:
                return release
        return None

    def training_tables(self, slug: str) -> list[TrainingTable]:
        """The tables that a submission's model learnt from; none where no report of a training came with it."""
        if slug not in self.trainings:
            return []
        return [TrainingTable(told, self.release(told["name"])) for told in self.trainings[slug].values["data"]]

    def first_stage(self, summary: ResultSummary) -> ResultSummary | None:
        """The result of the first stage under a result; None where the board holds none over the same queries."""
        before = self.result(FIRST_STAGE, summary.task, summary.candidates)
        return before if before and before.queries == summary.queries else None

    def query_changes(self, summary: ResultSummary) -> list[QueryChange]:
        """Every query of a result against the first stage, largest gain first; empty where that is not on the board."""
        before = self.first_stage(summary)
        if before is None:
            return []
        changes = []
        differences = differences_of(summary.values, before.values)
        rows = zip(summary.queries, summary.values.tolist(), before.values.tolist(), differences.tolist(), strict=True)
        for row in rows:
            changes.append(QueryChange(*row))
        return sorted(changes, key=lambda one: (-one.difference, one.query))

    def test(self, summary: ResultSummary) -> PairedTest:
        """A result against the first stage, from the values of both; as the result stores it where one is missing."""
        before = self.first_stage(summary)
        if before:
            return paired_test([summary.values], [before.values])
        # The queries of the first stage are not here, so the test cannot be computed again.
        stored = dict(summary.result.gain)
        if "t_test" in stored:  # version 0.1 stored the p of two tests
            stored["p"] = stored.pop("t_test")
            stored.pop("randomisation", None)
        stored["interval"] = tuple(stored["interval"])  # JSON has no tuples
        return PairedTest(**stored)

    def tests(self, slug: str) -> list[tuple[ResultSummary, PairedTest, float]]:
        """Every result of a submission with its test against the first stage, and p after Holm within its list."""
        summaries = self.by_submission[slug]
        tests = [self.test(summary) for summary in summaries]
        corrected = holm([test.p for test in tests], [summary.candidates for summary in summaries])
        return list(zip(summaries, tests, corrected, strict=True))


def group_by(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items of each key; keys and items in the order in which they come."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def members(t: Task) -> tuple[str, ...]:
    """The names of the tasks with judgements behind a task: itself, or those it is the mean of."""
    return t.members or (t.name,)


def single_names(tasks: Iterable[Task]) -> list[str]:
    """The names of the tasks with judgements behind some tasks, each once, in their order."""
    names = {}
    for t in tasks:
        names.update(dict.fromkeys(members(t)))
    return list(names)


def first_stage(candidates: str) -> str:
    """The first stage that a candidate list's name begins with: `bm25-100` reads bm25."""
    return re.sub(r"-\d+$", "", candidates)


NEVER = "1970-01-01"
"""The date where there is no result: a feed needs one."""


def newest_day(summaries: Iterable[ResultSummary]) -> str:
    """The date of the newest of some results, or nothing."""
    return max((summary.result.created for summary in summaries), default="")


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def is_bound(submission: Submission) -> bool:
    """Is a submission a baseline that needs no model? The first stage is none: rerankers are measured against it."""
    return submission.kind == "baseline" and submission.slug != FIRST_STAGE


def _read_results(ledger: Ledger) -> list[ResultSummary]:
    """Every result of a leaderboard, in the order of the files. Raises BadInput for one that was edited."""
    files = ledger.result_files()
    by_file = {}
    # Thousands of results have the same queries: one copy of the ids is kept.
    shared: dict[tuple[str, ...], tuple[str, ...]] = {}
    for summary in map_unordered(_read_result, files, at_least=_FEWEST_FILES, chunk=_FILES_AT_ONCE):
        queries = shared.setdefault(summary.queries, summary.queries)
        by_file[summary.file] = replace(summary, queries=queries)
    return [by_file[file] for file in files]


def _read_result(file: Path) -> ResultSummary:
    result = read_result(file)
    measured = result.measurement
    candidates = result.candidates
    headline = measured.headline
    for part in (measured.metrics, measured.intervals, measured.per_query, result.first_stage, result.ceiling):
        if headline not in part:
            raise BadInput(f"lacks a value of {headline}; run `exabench bench verify`", file=file)
    values = measured.per_query[headline]
    unanswered = candidates.queries - measured.queries + measured.missing_queries
    lacked = (candidates.coverage or {}).get("missing", 0)
    return ResultSummary(
        submission=result.submission,
        task=result.task,
        candidates=candidates.name,
        depth=candidates.depth,
        headline=headline,
        value=result[headline],
        first_stage=result.first_stage[headline],
        ceiling=result.ceiling[headline],
        missing=max(0, unanswered) + lacked,
        digest=file_digest(file),
        file=file,
        result=replace(result, measurement=replace(measured, per_query={})),
        queries=tuple(values),
        values=np.array(list(values.values()), np.float64),
    )


def _rank_rows(
    tasks: tuple[Task, ...], submissions: Mapping[str, Submission], competing: Iterable[ResultSummary]
) -> tuple[Row, ...]:
    """The overview's lines, best mean first, lines without a mean after them."""
    wanted = set(single_names(tasks))
    by_line: dict[tuple[str, str], dict[str, ResultSummary]] = {}
    for summary in competing:
        if summary.task in wanted:
            by_line.setdefault((summary.submission, summary.candidates), {})[summary.task] = summary

    lines = []
    for (slug, candidates), by_task in by_line.items():
        values = {}
        parts = []
        arrays = []
        for t in tasks:
            part = [by_task[name] for name in members(t) if name in by_task]
            parts.append(part)
            if len(part) == len(members(t)) and not any(summary.missing for summary in part):
                values[t.name] = mean(summary.value for summary in part)
                arrays.append(as_one_task([summary.values for summary in part]))
        # Sorted, so that a row does not depend on the order in which results were found.
        results = tuple(by_task[name] for name in sorted(by_task))
        is_whole = len(values) == len(tasks) and bool(tasks)
        row = Row(
            submission=submissions[slug],
            candidates=candidates,
            depth=results[0].depth,
            values=values,
            results=results,
            finished=len(values),
            wanted=len(tasks),
            mean=mean(values.values()) if is_whole else None,
            spent=_cost_summary(submissions[slug], parts, is_whole),
        )
        best_first = -row.finished if row.mean is None else -row.mean
        lines.append(((not is_whole, best_first, row.submission.name, candidates), row, arrays))
    lines.sort(key=lambda line: line[0])
    rows = [row for _, row, _ in lines]

    # Only rows with a mean are ranked; they come first.
    complete = []
    systems = []
    for _, row, arrays in lines:
        if row.mean is not None:
            complete.append(row)
            systems.append(arrays)
    groups = _rank_groups([row.results[0] for row in complete], systems)
    starts = range(0, len(systems), _INTERVALS_AT_ONCE)

    def block(start: int) -> tuple[int, list[tuple[float, float]]]:
        return start, mean_intervals(systems[start : start + _INTERVALS_AT_ONCE])

    intervals = []
    for _, found in sorted(map_unordered(block, starts, at_least=3)):
        intervals.extend(found)
    # What a row gains is over the first stage of its own candidates.
    first_stages = {row.candidates: row.mean for row in complete if row.is_first_stage}
    for place, row in enumerate(complete):
        before = first_stages.get(row.candidates)
        gain = None
        if row.mean is not None and before is not None:
            gain = row.mean - before
        rows[place] = replace(row, interval=intervals[place], group=groups[place], gain=gain)
    return tuple(rows)


def _rank_groups(summaries: Sequence[ResultSummary], systems: Sequence[Sequence[np.ndarray]]) -> list[int]:
    """The rank group of each system, best first, of which one result is given. Raises BadInput for unlike queries."""
    first: list[int] = []
    for summary, arrays in zip(summaries, systems, strict=True):
        sizes = [len(values) for values in arrays]
        first = first or sizes
        if sizes != first:
            raise BadInput(
                "was measured on another number of queries than other results of its task; "
                "run `exabench bench run` again",
                file=summary.file,
            )
    return rank_groups(systems, [summary.candidates for summary in summaries])


def _cost_summary(submission: Submission, parts: Sequence[Sequence[ResultSummary]], is_whole: bool) -> CostSummary:
    if submission.slug == FIRST_STAGE:
        return CostSummary(0.0, 0.0, why="the first stage itself: nothing was reranked")
    if submission.kind in EXTERNAL_RUN_KINDS:
        return CostSummary(why="the ranking was sent in: what it took was not seen")
    costs = []
    for part in parts:
        known = [summary.result.cost for summary in part if summary.result.cost]
        if len(known) < len(part):
            return CostSummary(why="a result says nothing about its cost")
        costs.append(known)
    sizes = {cost.parameters for known in costs for cost in known}
    parameters = sizes.pop() if len(sizes) == 1 else None
    if not is_whole:
        return CostSummary(parameters=parameters, why="tasks are missing: a mean over the others is another number")
    exact = _mean_over_tasks(costs, lambda cost: cost.flops_exact)
    places = {cost.timing.hardware for known in costs for cost in known if cost.timing}
    p50 = None
    hardware = ""
    if len(places) == 1:  # seconds of two machines make no mean
        p50 = _mean_over_tasks(costs, lambda cost: cost.timing.p50 if cost.timing else None)
    if p50 is not None:
        hardware = places.pop()
    return CostSummary(
        flops_exact=exact,
        flops_paper=_mean_over_tasks(costs, lambda cost: cost.flops_paper),
        parameters=parameters,
        p50=p50,
        hardware=hardware,
        why="" if exact is not None else "the model behind its server is not known",
    )


def _mean_over_tasks(costs: Sequence[Sequence[Cost]], read: Callable[[Cost], float | None]) -> float | None:
    """The mean over tasks of the mean over their results; None where one is not known."""
    means = []
    for known in costs:
        numbers = []
        for cost in known:
            number = read(cost)
            if number is None:
                return None
            numbers.append(number)
        means.append(mean(numbers))
    return mean(means)
