"""The Board: all results of a leaderboard, joined, ranked and tested. It knows nothing of HTML."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from exabench.bench.contests import is_alike, is_bound, system_of, system_type
from exabench.bench.excerpts import read_excerpts
from exabench.bench.ledger import Ledger, ReportedSource, gain_of, read_result
from exabench.bench.settings import ALL, view_slugs
from exabench.bench.study_reports import StudyReport
from exabench.bench.submissions import EXTERNAL_RUN_KINDS, Training
from exabench.board.records import FORMAT, result_record
from exabench.board.summaries import NEVER, ResultSummary, first_stage, newest_day, read_summaries
from exabench.core.errors import BadInput, printable
from exabench.core.files import file_digest, read_text
from exabench.core.nouns import FIRST_STAGE, BoardChange, Candidates, Cost, Credit, Result, Submission, Task
from exabench.core.parallel import map_unordered
from exabench.core.rows import Release
from exabench.core.tables import data_frame
from exabench.data.releases import read as read_release
from exabench.hub.client import find_commit, is_repo, snapshot
from exabench.measure.metric_values import mean
from exabench.measure.statistics import (
    PairedTest,
    as_one_task,
    differences_of,
    mean_intervals,
    paired_test,
    standings,
)
from exabench.tasks.catalogue import task
from exabench.tasks.locks import with_counts

Item = TypeVar("Item")
Key = TypeVar("Key")
AUDIT = "audit_discrepancies"
_ON_THE_HUB = "hub:"
_INTERVALS_AT_ONCE = 512  # intervals that a process computes at a time


@dataclass(frozen=True, slots=True)
class CostSummary:
    """Cost of a query on a line of the overview: means over its tasks, each of the same weight.

    A first stage reranked nothing and spent 0. What is not known is None, and `why` says why FLOPs are not. `p50` is
    the mean of the tasks' median seconds, where all were taken on the same `hardware`, of `timed` queries in total.
    """

    flops_exact: float | None = None
    flops_paper: float | None = None
    parameters: int | None = None
    p50: float | None = None
    hardware: str = ""
    timed: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class RunSample:
    """One of several runs of a system: its values by task, and their mean where none is missing."""

    submission: Submission
    values: Mapping[str, float]
    mean: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the overview: a system over one kind of candidates (first stage and depth), on all tasks of a view.

    `values` holds a number for each finished task, and `per_query` the float64 array (queries,) that it is the mean of;
    `mean`, `interval`, `group` and `gain` (over the mean of the first stage) are None where a task is missing, because
    a mean over other tasks is another number. Of a system with `samples` every number is the mean over them, and
    `submission` is the first. `group` is that of the contest which the row is in, and so are `limit`, under which the p
    of a test against a system below it is significant, `p` of its test against the first stage (corrected), and
    `more_queries`, which would separate it from the next row of its group: see statistics.Standing.
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
    limit: float | None = None
    p: float | None = None
    more_queries: float | None = None
    gain: float | None = None
    spent: CostSummary = CostSummary()
    samples: tuple[RunSample, ...] = ()
    per_query: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_first_stage(self) -> bool:
        """Is this the candidates' own order, which rerankers are measured against?"""
        return self.submission.slug == FIRST_STAGE

    @property
    def stage(self) -> str:
        """The name of the first stage."""
        return first_stage(self.candidates)

    @property
    def credit(self) -> Credit:
        """Whose work it is: a first stage's own, as its lists say it, or the submission's."""
        sent = self.submission
        if not self.is_first_stage:
            return Credit(sent.owner, sent.link, sent.licence, sent.training_data, sent.description)
        # Lists of one name may have several makers: what they do not agree on is as unknown as what no one said.
        said = {summary.result.candidates.credit for summary in self.results}
        agreed = {}
        for one in fields(Credit):
            values = {getattr(credit, one.name) for credit in said}
            if len(values) == 1:
                agreed[one.name] = values.pop()
        return Credit(**agreed)

    @property
    def name(self) -> str:
        """The name on pages: a first stage's own, or the system's."""
        return f"first stage: {self.stage}" if self.is_first_stage else system_of(self.submission)

    @property
    def kind(self) -> str:
        """The type of system: "first stage", what the submission says, what its reranker is, or "run"."""
        return "first stage" if self.is_first_stage else system_type(self.submission)

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest mean of its samples, where there are several and each has one."""
        means = [sample.mean for sample in self.samples if sample.mean is not None]
        if len(means) < 2 or len(means) < len(self.samples):
            return None
        return min(means), max(means)

    @property
    def states(self) -> tuple[str, ...]:
        """The states of its results, each once, sorted."""
        return tuple(sorted({summary.result.state for summary in self.results}))

    @property
    def cut_share(self) -> float | None:
        """The share of all its passages that were cut; None where one result does not know it."""
        cut = 0
        passages = 0
        for summary in self.results:
            cost = summary.result.cost
            if cost is None or cost.passages is None:
                return None
            cut += cost.cut_passages
            passages += cost.passages
        return cut / passages if passages else None


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
class Contest:
    """Systems that rerank one candidate list, measured on the tasks of one view; their groups are formed among these.

    `rows` are best first, the list's own order among them. `others` are the other first stages on the same tasks, one
    for each that finished them all: for reference, without a group.
    """

    candidates: str
    rows: tuple[Row, ...]
    others: tuple[Row, ...] = ()

    @property
    def title(self) -> str:
        """The candidate list, or what a ranking over all lists asks."""
        return self.candidates or "best pipeline"

    @property
    def shown(self) -> list[Row]:
        """All rows in the order of a table, those for reference last."""
        return [*self.rows, *self.others]


@dataclass(frozen=True)
class Ranking:
    """A view of the board, some of its tasks: a contest for each candidate list, that with the most systems first.

    `rows` rank the systems over all lists, first stage and reranker together: which pipeline is best.
    """

    title: str
    slug: str
    tasks: tuple[Task, ...]
    rows: tuple[Row, ...]
    contests: tuple[Contest, ...]

    @property
    def mean_of(self) -> str:
        """What its means are means of, "Mean nDCG@10" say; just "Mean" where the tasks have different metrics."""
        metrics = {one.headline for one in self.tasks}
        if len(metrics) != 1:
            return "Mean"
        return f"Mean {metrics.pop()}"

    @property
    def tables(self) -> list[Contest]:
        """The contests, and where rows rerank several lists the ranking of all, as a contest over no list by name."""
        tables = list(self.contests)
        if len(tables) != 1 or len({row.candidates for row in self.rows}) > 1:
            tables.append(Contest("", self.rows))
        return tables


@dataclass(frozen=True)
class Reported:
    """Numbers printed elsewhere: one CSV file, as it is, with its title and where it comes from."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    about: str = ""
    link: str = ""


@dataclass(frozen=True)
class TrainingTable:
    """A table that a model learnt from, as its report tells, and the board's own release of that dataset or None."""

    told: Mapping[str, Any]
    release: Release | None

    @property
    def same(self) -> bool:
        """Is the board's release the one that was learnt from, or has it another content by now?"""
        return self.release is not None and self.release.content == self.told["content"]

    @property
    def withdrawn(self) -> Mapping[str, str]:
        """The rows that were withdrawn from the table, with reasons, since the model learnt from it."""
        if self.release is None or self.told["table"] not in self.release.tables:
            return {}
        withdrawn = self.release.tables[self.told["table"]].withdrawn
        known = self.told.get("withdrawn", 0)  # when it was trained; rows are only ever added to them
        if len(withdrawn) <= known:
            return {}
        return withdrawn


class QueryChange(NamedTuple):
    """One query: the value of the submission, that of the first stage before it, and by how much it is higher."""

    query: str
    own: float
    before: float
    difference: float


@dataclass(frozen=True)
class Board:
    """Everything the pages show: every result in short (`full` reads one whole), and the rankings of them.

    What board.toml leaves out (bench/settings has its keys) is empty. `submissions` are in the order of their slugs,
    `digests` those of their files. `entries` are the lines of each task, best first, and `contests` those on each
    task. `unlike` holds the digests of results that were not measured as their frozen list says.
    """

    folder: Path
    title: str
    description: str
    source: str
    contact: str
    citation: str
    licence: str
    url: str
    views: Mapping[str, Sequence[str]]
    tasks: tuple[Task, ...]
    submissions: Mapping[str, Submission]
    candidates: tuple[Candidates, ...]
    results: tuple[ResultSummary, ...]
    reported: tuple[Reported, ...]
    rankings: tuple[Ranking, ...]
    datasets: tuple[Release, ...]
    trainings: Mapping[str, Training]
    studies: tuple[StudyReport, ...]
    entries: Mapping[str, tuple[Entry, ...]]
    contests: Mapping[str, tuple[Contest, ...]]
    changes: tuple[BoardChange, ...]
    digests: Mapping[str, str]
    unlike: Collection[str]

    @classmethod
    def read(cls, folder: str | Path) -> Board:
        """Read and rank a leaderboard: a folder, or `hub:OWNER/NAME[@REVISION]`, a dataset of the Hub that holds one.

        Raises BadInput for any file that is not what it says, OutsideFailed where the Hub cannot be read.
        """
        ledger = Ledger(_folder_of(folder))
        settings = ledger.settings()
        tasks = tuple(ledger.tasks())
        submissions = dict(sorted(ledger.submissions().items()))
        results = read_summaries(ledger)
        candidates = tuple(ledger.candidates())

        # No ranking takes what was withdrawn, nor a result that was measured otherwise than its frozen list tells.
        lists = {(one.task, one.name): one for one in candidates}
        unlike = set[str]()
        counted = []
        competing = {}
        for summary in results:
            if not is_alike(summary.result, lists.get((summary.task, summary.candidates))):
                unlike.add(summary.digest)
            sent = submissions.get(summary.submission)
            if sent is None or sent.withdrawn:
                continue
            counted.append(summary)
            if not is_bound(sent) and summary.digest not in unlike:
                competing[summary.digest] = summary

        # The views of the board in their order, then all tasks: `Board.rows` takes the last.
        rankings = {}
        overviews = {**ledger.views(), ALL: tasks}
        for title, slug in view_slugs(settings.views).items():
            chosen = tuple(with_counts(one, ledger.lock) for one in overviews[title])
            rows = _measured_rows(chosen, submissions, competing.values())
            rankings[slug] = Ranking(title, slug, chosen, _ranked(rows), _contests(rows))

        # Task pages also list bounds and results that are not alike, without a group.
        by_task = group_by(counted, lambda one: one.task)
        contests = {}
        entries = {}
        for name in single_names(tasks):
            alone = (task(name, board=ledger.folder),)
            contests[name] = _contests(_measured_rows(alone, submissions, competing.values()))
            groups: dict[str, int | None] = {}
            for contest in contests[name]:
                for row in contest.rows:
                    for summary in row.results:
                        groups[summary.digest] = row.group
            listing = sorted(by_task.get(name, ()), key=lambda one: (-one.value, one.submission, one.candidates))
            lines = []
            for one in listing:
                lines.append(Entry(submissions[one.submission], one, groups.get(one.digest), one.digest not in unlike))
            entries[name] = tuple(lines)

        reported = []
        sources = ledger.reported_sources()
        for file in ledger.reported_files():
            table = csv.reader(io.StringIO(read_text(file), newline=""))
            columns = tuple(next(table, ()))
            filled = tuple(tuple(line) for line in table if line)
            source = sources.get(file.stem, ReportedSource(title=file.stem))
            reported.append(Reported(file.stem, columns, filled, source.title, source.about, source.link))
        return cls(
            folder=ledger.folder,
            title=settings.title,
            description=settings.description,
            source=settings.source,
            contact=settings.contact,
            citation=settings.citation,
            licence=settings.licence,
            url=settings.url,
            views=settings.views,
            tasks=tasks,
            submissions=submissions,
            candidates=candidates,
            results=tuple(results),
            rankings=tuple(rankings.values()),
            datasets=tuple(read_release(file.parent) for file in sorted(ledger.datasets.glob("*/manifest.json"))),
            trainings={slug: report for slug, report in ledger.trainings().items() if slug in submissions},
            studies=tuple(ledger.study_reports()),
            reported=tuple(reported),
            entries=entries,
            contests=contests,
            changes=ledger.changes(),
            digests={slug: file_digest(ledger.submission_file(slug)) for slug in submissions},
            unlike=unlike,
        )

    @property
    def home(self) -> str:
        """The address of the pages, which ends in a slash; empty where board.toml gives none."""
        if not self.url:
            return ""
        return f"{self.url.rstrip('/')}/"

    @property
    def ledger(self) -> Ledger:
        """The files of the board's folder."""
        return Ledger(self.folder)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows over all tasks and all candidate lists; that ranking comes last."""
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
        parts += [_digest(report) for report in self.studies]
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    @cached_property
    def _by_name(self) -> dict[tuple[str, str, str], ResultSummary]:
        return {(one.submission, one.task, one.candidates): one for one in self.results}

    def result(self, slug: str, task: str, candidates: str) -> ResultSummary | None:
        """One result in short, or None."""
        return self._by_name.get((slug, task, candidates))

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The results with pages as flat records in their order, all with the same columns (board/records)."""
        names = set[str]()
        for summary in self.shown_results:
            names.update(summary.result.measurement.metrics)
        metrics = sorted(names)
        records = []
        for one in self.shown_results:
            sent = self.submissions[one.submission]
            records.append(result_record(one, sent, self.test(one), self.corrected(one), metrics))
        return records

    def to_pandas(self) -> Any:
        """Every result as a row of a pandas DataFrame, in the columns of the download results.csv.

        Its `attrs` say the number of the format ("format"), title, address and day of the board. Raises MissingExtra
        where pandas is not installed.
        """
        frame = data_frame(self.records)
        frame.attrs.update(format=FORMAT, title=self.title, url=self.url, updated=self.updated)
        return frame

    def full(self, summary: ResultSummary) -> Result:
        """All of a result. Raises BadInput where its file is another one by now."""
        return read_result(summary.file, of=summary.digest)

    def has_run(self, summary: ResultSummary) -> bool:
        """Does the board's folder hold the run of a result?"""
        return self.ledger.has_run(summary.submission, summary.task, summary.candidates)

    @cached_property
    def _shown(self) -> dict[tuple[str, str], Mapping[str, Any] | None]:
        return {}

    def shown(self, task: str, candidates: str) -> Mapping[str, Any] | None:
        """What pages may show of a list (`bench.excerpts`), or None where nothing was kept; read once.

        Raises BadInput where the file is of another list of that name.
        """
        key = (task, candidates)
        if key not in self._shown:
            values = None
            file = self.ledger.shown_file(task, candidates)
            if file.is_file():
                values = read_excerpts(file)
                if values["candidates_digest"] != self.ledger.one_candidates(task, candidates).digest:
                    again = "freeze the list again (exabench bench candidates)"
                    raise BadInput(f"was made of another list; {again}", file=file)
            self._shown[key] = values
        return self._shown[key]

    @cached_property
    def query_texts(self) -> Mapping[str, Mapping[str, str]]:
        """The words of each task's queries by id; none of a task whose texts may not be redistributed."""
        texts: dict[str, dict[str, str]] = {name: {} for name in self.entries}
        for one in self.candidates:
            shown = self.shown(one.task, one.name)
            if shown and shown["texts"] and one.task in texts:
                for query in shown["queries"]:
                    texts[one.task][query["id"]] = query["text"]
        return texts

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
        return gain_of(summary.result)

    @cached_property
    def _competing(self) -> dict[str, Row]:
        """The row in which each ranked result competes on its task, by the digest of its file."""
        rows: dict[str, Row] = {}
        for contests in self.contests.values():
            for contest in contests:
                for row in contest.rows:
                    if row.mean is None:
                        continue
                    for summary in row.results:
                        rows[summary.digest] = row
        return rows

    def row(self, summary: ResultSummary) -> Row | None:
        """The row of a result in the contest on its task and candidate list; None where it is not ranked."""
        return self._competing.get(summary.digest)

    def corrected(self, summary: ResultSummary) -> float | None:
        """The p of a result against the first stage, corrected in its contest; None where that does not test it.

        It tests neither the first stage itself nor a sample: a system is tested as a whole.
        """
        row = self.row(summary)
        if row is None or row.samples:
            return None
        return row.p


def _folder_of(place: str | Path) -> Path:
    """The folder of a leaderboard: that of the commit in the Hub client's cache where `place` is on the Hub."""
    text = str(place)
    if not text.startswith(_ON_THE_HUB):
        return Path(place)
    repo, mark, revision = text.removeprefix(_ON_THE_HUB).partition("@")
    if not is_repo(repo) or (mark and not revision) or not revision.isprintable():
        raise BadInput(f"{printable(text)!r} must read hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
    return snapshot(repo, find_commit(repo, revision, None), kind="dataset")


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


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


def _measured_rows(
    tasks: tuple[Task, ...], submissions: Mapping[str, Submission], competing: Iterable[ResultSummary]
) -> list[Row]:
    """The rows over every candidate list, best mean first, those without a mean after them; without groups."""
    wanted = set(single_names(tasks))
    by_row: dict[tuple[str, str], dict[str, dict[str, ResultSummary]]] = {}
    for summary in competing:
        if summary.task in wanted:
            system = system_of(submissions[summary.submission])
            by_slug = by_row.setdefault((system, summary.candidates), {})
            by_slug.setdefault(summary.submission, {})[summary.task] = summary

    rows = []
    for (_, candidates), by_slug in by_row.items():
        sent = sorted((submissions[slug] for slug in by_slug), key=lambda one: (one.sample, one.name))
        rows.append(_row(tasks, candidates, sent, [by_slug[one.slug] for one in sent]))
    rows.sort(key=_place)

    # Only rows with a mean have an interval and a gain; they come first.
    complete = [row for row in rows if row.mean is not None]
    starts = range(0, len(complete), _INTERVALS_AT_ONCE)

    def block(start: int) -> tuple[int, list[tuple[float, float]]]:
        return start, mean_intervals(list(map(_arrays, complete[start : start + _INTERVALS_AT_ONCE])))

    _check_sizes(complete)
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
        rows[place] = replace(row, interval=intervals[place], gain=gain)
    return rows


def _row(
    tasks: tuple[Task, ...],
    candidates: str,
    sent: Sequence[Submission],
    results: Sequence[Mapping[str, ResultSummary]],
) -> Row:
    """The row of a system over a candidate list, from its samples (or itself alone) and their results by task."""
    values = {}
    per_query = {}
    parts = []
    of_samples: list[dict[str, float]] = [{} for _ in sent]
    for t in tasks:
        part = []
        arrays = []
        for by_task, of_sample in zip(results, of_samples, strict=True):
            own = [by_task[name] for name in members(t) if name in by_task]
            part += own
            if len(own) == len(members(t)) and not any(summary.missing for summary in own):
                of_sample[t.name] = mean(summary.value for summary in own)
                arrays.append(as_one_task([summary.values for summary in own]))
        parts.append(part)
        if len(arrays) == len(sent):  # every sample has finished the task
            values[t.name] = mean(of_sample[t.name] for of_sample in of_samples)
            per_query[t.name] = _mean_of_samples(arrays, part)
    is_whole = len(values) == len(tasks) and bool(tasks)
    samples = []
    found = []
    for one, of_sample, by_task in zip(sent, of_samples, results, strict=True):
        # Sorted, so that a row does not depend on the order in which results were found.
        for name in sorted(by_task):
            found.append(by_task[name])
        if one.system:
            whole = None
            if len(of_sample) == len(tasks):
                whole = mean(of_sample.values())
            samples.append(RunSample(one, of_sample, whole))
    return Row(
        submission=sent[0],
        candidates=candidates,
        depth=found[0].depth,
        values=values,
        results=tuple(found),
        finished=len(values),
        wanted=len(tasks),
        mean=mean(values.values()) if is_whole else None,
        spent=_cost_summary(sent[0], parts, is_whole),
        samples=tuple(samples),
        per_query=per_query,
    )


def _mean_of_samples(arrays: Sequence[np.ndarray], results: Sequence[ResultSummary]) -> np.ndarray:
    """The mean of each query over samples. Raises BadInput where they have other queries."""
    if len(arrays) == 1:
        return arrays[0]
    if len({len(values) for values in arrays}) > 1:
        raise _unlike_queries(results[-1])
    return np.mean(arrays, axis=0)


def _place(row: Row) -> tuple[bool, float, str, str]:
    """The place of a row in a table: best mean first, without a mean those with the most finished tasks first."""
    best_first = -row.finished if row.mean is None else -row.mean
    return row.mean is None, best_first, row.submission.name, row.candidates


def _arrays(row: Row) -> list[np.ndarray]:
    return list(row.per_query.values())


def _ranked(rows: Iterable[Row], reference: bool = False) -> tuple[Row, ...]:
    """The rows with what the tests among them say; rows without a mean are not tested, and come last.

    With a `reference` the first stage among them is what the others are tested against.
    """
    rows = list(rows)
    complete = [row for row in rows if row.mean is not None]
    place = None
    if reference:
        place = next((place for place, row in enumerate(complete) if row.is_first_stage), None)
    for number, found in enumerate(standings(list(map(_arrays, complete)), place)):
        rows[number] = replace(rows[number], **found._asdict())
    return tuple(rows)


def _contests(rows: Sequence[Row]) -> tuple[Contest, ...]:
    """A contest for each candidate list that some system reranked on all tasks.

    Where no one did on any list, those whose own order has all tasks are contests, and where there is none, all lists.
    """
    by_list = group_by(rows, lambda row: row.candidates)
    finished: dict[str, int] = {}
    first_stages = []
    for row in rows:
        if row.is_first_stage and row.mean is not None:
            first_stages.append(row)
        elif row.mean is not None:
            finished[row.candidates] = finished.get(row.candidates, 0) + 1
    names = list(finished) or [row.candidates for row in first_stages] or list(by_list)
    names.sort(key=lambda name: (-finished.get(name, 0), name))

    contests = []
    for name in names:
        others: dict[str, Row] = {}
        for row in first_stages:
            if row.stage != first_stage(name):
                others.setdefault(row.stage, row)  # the order of a first stage is the same at any depth
        contests.append(Contest(name, _ranked(by_list[name], reference=True), tuple(others.values())))
    return tuple(contests)


def _check_sizes(rows: Iterable[Row]) -> None:
    """Raise BadInput where rows have values of another number of queries."""
    first: list[int] = []
    for row in rows:
        sizes = [len(values) for values in row.per_query.values()]
        first = first or sizes
        if sizes != first:
            raise _unlike_queries(row.results[0])


def _unlike_queries(summary: ResultSummary) -> BadInput:
    return BadInput(
        "was measured on another number of queries than other results of its task; run `exabench bench run` again",
        file=summary.file,
    )


def _cost_summary(submission: Submission, parts: Sequence[Sequence[ResultSummary]], is_whole: bool) -> CostSummary:
    if submission.slug == FIRST_STAGE:
        return CostSummary(0.0, 0.0, why="the first stage itself: nothing was reranked")
    if submission.kind in EXTERNAL_RUN_KINDS:
        return CostSummary(why="submitted run: its cost is not known")
    costs = []
    sizes = set()
    places = set()
    timed = 0
    for part in parts:
        known = []
        for summary in part:
            cost = summary.result.cost
            if cost is None:
                return CostSummary(why="a result has no cost data")
            known.append(cost)
            sizes.add(cost.parameters)
            if cost.timing:
                places.add(cost.timing.hardware)
                timed += cost.timing.sample
        costs.append(known)
    parameters = sizes.pop() if len(sizes) == 1 else None
    if not is_whole:
        return CostSummary(parameters=parameters, why="tasks are missing")
    exact = _mean_over_tasks(costs, lambda cost: cost.flops_exact)
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
        timed=timed,
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
