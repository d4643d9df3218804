"""Ranking: the overview's lines and those of the task pages, with their means, intervals, groups and costs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from exabench.bench.submissions import EXTERNAL_RUN_KINDS
from exabench.board.ranking._scores import Score
from exabench.core.errors import BadInput
from exabench.core.nouns import FIRST_STAGE, Candidates, Cost, Submission, Task
from exabench.core.parallel import map_unordered, worker_count
from exabench.measure.metric_values import mean
from exabench.measure.statistics import mean_intervals, rank_groups
from exabench.tasks.catalogue import expand, task

ALL = "All tasks"
_TOGETHER = 512  # intervals that a process computes at a time


@dataclass(frozen=True, slots=True)
class CostSummary:
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


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the overview: a submission over one kind of candidates (first stage and depth), on all tasks.

    `values` holds a number for each finished task; `mean`, `interval` and `group` are None where a task of the
    board is missing, because a mean over other tasks is another number.
    """

    submission: Submission
    candidates: str
    depth: int
    values: Mapping[str, float]
    results: tuple[Score, ...]
    finished: int
    wanted: int
    mean: float | None = None
    interval: tuple[float, float] | None = None
    group: int | None = None
    spent: CostSummary = CostSummary()

    @property
    def is_first_stage(self) -> bool:
        """Is this the candidates' own order, which rerankers are measured against?"""
        return self.submission.slug == FIRST_STAGE

    @property
    def states(self) -> tuple[str, ...]:
        """The states of its results, each once."""
        return tuple(sorted({result.state for result in self.results}))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a task page: a result with its rank group on that task.

    None for a bound, and for a result that is not `alike`: measured over another list of that name, under another
    convention or by other judgements than the frozen list tells, it cannot be ranked with the others.
    """

    submission: Submission
    result: Score
    group: int | None
    alike: bool = True


@dataclass(frozen=True)
class Ranking:
    """The overview of some of the board's tasks: its own means, intervals and rank groups over those tasks alone."""

    title: str
    slug: str
    tasks: tuple[Task, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Ranker:
    """Ranks scores by what their submissions are; a submission that was withdrawn is in no ranking.

    Nor is a result that was measured otherwise than its frozen list among `candidates` tells.
    """

    submissions: Mapping[str, Submission]
    scores: Sequence[Score]
    candidates: Sequence[Candidates]

    def rankings(self, views: Mapping[str, list[str]], tasks: Sequence[Task]) -> Iterator[Ranking]:
        """The views in their order, then all tasks. Raises BadInput where two would share a page."""
        slugs = set[str]()
        for title, names in {**views, ALL: [t.name for t in tasks]}.items():
            chosen = tuple(task(name) for name in expand(names))
            slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "view"
            if slug in slugs:
                raise BadInput(f"two views of the board would be called {slug}; give them other titles")
            slugs.add(slug)
            yield Ranking(title, slug, chosen, self.rows(chosen))

    def rows(self, tasks: tuple[Task, ...]) -> tuple[Row, ...]:
        """The overview's lines, best mean first, lines without a mean after them; bounds are left to the task pages."""
        wanted = {name for t in tasks for name in members(t)}
        by_line: dict[tuple[str, str], dict[str, Score]] = {}
        for score in self.scores:
            if score.task in wanted and self._competes(score):
                by_line.setdefault((score.submission, score.candidates), {})[score.task] = score
        complete: list[Row] = []
        incomplete: list[Row] = []
        for (slug, _), by_task in by_line.items():
            row = _row(self.submissions[slug], tasks, by_task)
            place = incomplete if row.mean is None else complete
            place.append(row)
        complete.sort(key=lambda row: (-(row.mean or 0), row.submission.name, row.candidates))
        incomplete.sort(key=lambda row: (-row.finished, row.submission.name, row.candidates))
        arrays = [_arrays(tasks, row) for row in complete]
        _check_sizes([row.results[0] for row in complete], arrays)
        groups = rank_groups(arrays, [row.candidates for row in complete])
        ranked = [
            replace(row, interval=interval, group=group)
            for row, interval, group in zip(complete, _intervals(arrays), groups, strict=True)
        ]
        return tuple(ranked + incomplete)

    def entries(self, tasks: Sequence[Task]) -> dict[str, tuple[Entry, ...]]:
        """The results on each task, best first; bounds carry no group."""
        by_task: dict[str, list[Score]] = {t.name: [] for t in tasks}
        for score in self.scores:
            if score.task in by_task and self._counts(score):
                by_task[score.task].append(score)
        return {name: self._ranked(scores) for name, scores in by_task.items()}

    def _ranked(self, scores: list[Score]) -> tuple[Entry, ...]:
        scores.sort(key=lambda score: (-score.value, score.submission, score.candidates))
        competing = [score for score in scores if self._competes(score)]
        arrays = [[score.values] for score in competing]
        _check_sizes(competing, arrays)
        groups = dict(zip(competing, rank_groups(arrays, [score.candidates for score in competing]), strict=True))
        return tuple(
            Entry(self.submissions[score.submission], score, groups.get(score), score.digest not in self.unlike)
            for score in scores
        )

    def _counts(self, score: Score) -> bool:
        """Is it of a submission that is filed and not withdrawn?"""
        return score.submission in self.submissions and not self.submissions[score.submission].withdrawn

    def _competes(self, score: Score) -> bool:
        """Is it a line of a ranking? First stages are; bounds, which need no model, are not."""
        if not self._counts(score) or score.digest in self.unlike:
            return False
        return score.submission == FIRST_STAGE or self.submissions[score.submission].kind != "baseline"

    @cached_property
    def unlike(self) -> Collection[str]:
        """The digests of the results that were measured otherwise than their frozen lists tell."""
        listed = {(one.task, one.name): one for one in self.candidates}
        return {s.digest for s in self.scores if not s.measured_as(listed.get((s.task, s.candidates)))}


def members(t: Task) -> tuple[str, ...]:
    """The tasks with judgements of their own that a task stands for: itself, or those it is the mean of."""
    return t.members or (t.name,)


def _parts(tasks: Sequence[Task], by_task: Mapping[str, Score]) -> list[list[Score]]:
    """For each task the results that a line has on it: one, or one for each member."""
    return [[by_task[name] for name in members(t) if name in by_task] for t in tasks]


def _row(submission: Submission, tasks: Sequence[Task], by_task: Mapping[str, Score]) -> Row:
    """The line of a submission over one kind of candidates, before it is ranked."""
    parts = _parts(tasks, by_task)
    values: dict[str, float] = {}
    for t, part in zip(tasks, parts, strict=True):
        if len(part) == len(members(t)) and not any(score.missing for score in part):
            values[t.name] = mean(score.value for score in part)
    is_whole = len(values) == len(tasks) and bool(tasks)
    results = tuple(by_task[name] for name in sorted(by_task))
    return Row(
        submission=submission,
        candidates=results[0].candidates,
        depth=results[0].depth,
        values=values,
        results=results,
        finished=len(values),
        wanted=len(tasks),
        mean=mean(values.values()) if is_whole else None,
        spent=_spent(submission, parts, is_whole),
    )


def _arrays(tasks: Sequence[Task], row: Row) -> list[np.ndarray]:
    """Headline values, an array for each task; forums are weighted so that their mean is the mean of means."""
    arrays = []
    for part in _parts(tasks, {score.task: score for score in row.results}):
        total = sum(len(score.values) for score in part)
        weighted = [score.values * (total / (len(part) * len(score.values))) for score in part]
        arrays.append(np.concatenate(weighted) if len(part) > 1 else part[0].values)
    return arrays


def _intervals(arrays: Sequence[Sequence[np.ndarray]]) -> list[tuple[float, float]]:
    """The interval of each line's mean."""
    starts = range(0, len(arrays), _TOGETHER)
    blocks = map_unordered(
        lambda start: (start, mean_intervals(arrays[start : start + _TOGETHER])), starts, worker_count(len(starts), 3)
    )
    return [interval for _, intervals in sorted(blocks) for interval in intervals]


def _check_sizes(scores: Sequence[Score], arrays: Sequence[Sequence[np.ndarray]]) -> None:
    sizes = [[len(values) for values in tasks] for tasks in arrays]
    for score, size in zip(scores, sizes, strict=True):
        if size != sizes[0]:
            raise BadInput(
                "was measured on another number of queries than other results of its task; "
                "run `exabench bench run` again",
                file=score.file,
            )


def _spent(submission: Submission, parts: Sequence[Sequence[Score]], is_whole: bool) -> CostSummary:
    if submission.slug == FIRST_STAGE:
        return CostSummary(0.0, 0.0, why="the first stage itself: nothing was reranked")
    if submission.kind in EXTERNAL_RUN_KINDS:
        return CostSummary(why="the ranking was sent in: what it took was not seen")
    costs = [score.result.cost for part in parts for score in part]
    if None in costs:
        return CostSummary(why="a result says nothing about its cost")
    known = [cost for cost in costs if cost is not None]
    sizes = {cost.parameters for cost in known}
    parameters = sizes.pop() if len(sizes) == 1 else None
    if not is_whole:
        return CostSummary(parameters=parameters, why="tasks are missing: a mean over the others is another number")
    exact = _over_tasks(parts, lambda cost: cost.flops_exact)
    places = {cost.timing.hardware for cost in known if cost.timing}
    p50 = None
    if len(places) == 1:  # seconds of two machines make no mean
        p50 = _over_tasks(parts, lambda cost: cost.timing.p50 if cost.timing else None)
    return CostSummary(
        flops_exact=exact,
        flops_paper=_over_tasks(parts, lambda cost: cost.flops_paper),
        parameters=parameters,
        p50=p50,
        hardware=places.pop() if p50 is not None else "",
        why="" if exact is not None else "the model behind its server is not known",
    )


def _over_tasks(parts: Sequence[Sequence[Score]], read: Callable[[Cost], float | None]) -> float | None:
    """The mean over tasks of the mean over their results; None where one is not known."""
    means = []
    for part in parts:
        values = [read(score.result.cost) for score in part if score.result.cost]
        numbers = [value for value in values if value is not None]
        if len(numbers) < len(part):
            return None
        means.append(mean(numbers))
    return mean(means)
