"""Ranking: the overview's lines and those of the task pages, with their means, intervals, groups and costs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from exabench.board._scores import Score, Vectors
from exabench.catalogue import expand, task
from exabench.errors import BadInput
from exabench.forking import made, processes_for
from exabench.metrics._measure import mean
from exabench.nouns import FIRST_STAGE, Candidates, Submission, Task
from exabench.statistics import mean_intervals, rank_groups
from exabench.submissions import SENT_IN

ALL = "All tasks"
TOGETHER = 512  # intervals that a process works out at a time


@dataclass(frozen=True, slots=True)
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

    Nor is a result that was measured otherwise than its frozen list among `candidates` tells. `known` are intervals of
    an earlier build by what they are of; `intervals` gathers those of this one.
    """

    submissions: Mapping[str, Submission]
    scores: Sequence[Score]
    vectors: Vectors
    candidates: Sequence[Candidates]
    known: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def rankings(self, views: Mapping[str, list[str]], tasks: tuple[Task, ...]) -> Iterator[Ranking]:
        """The board's views in its own order, then all its tasks. Raises BadInput where two would share a page."""
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
        parts = {t.name: members(t) for t in tasks}
        wanted = {name for names in parts.values() for name in names}
        grouped: dict[tuple[str, str], dict[str, Score]] = {}
        for score in self.scores:
            if score.task in wanted and self._competes(score):
                grouped.setdefault((score.submission, score.candidates), {})[score.task] = score
        lines = [_Line.of(parts, self.submissions[slug], found) for (slug, _), found in grouped.items()]
        complete = [line for line in lines if line.mean is not None]
        complete.sort(key=lambda line: (-(line.mean or 0), line.submission.name, line.results[0].candidates))
        arrays = [self._arrays(line.parts) for line in complete]
        _same_sizes([line.results[0] for line in complete], arrays)
        found = zip(complete, self._intervals(tasks, complete, arrays), rank_groups(arrays), strict=True)
        ranked = [line.row(len(tasks), interval, group) for line, interval, group in found]
        incomplete = [line.row(len(tasks)) for line in lines if line.mean is None]
        incomplete.sort(key=lambda row: (-row.finished, row.submission.name, row.candidates))
        return tuple(ranked + incomplete)

    def _intervals(
        self, tasks: tuple[Task, ...], lines: Sequence[_Line], arrays: Sequence[Sequence[np.ndarray]]
    ) -> list[tuple[float, float]]:
        """The interval of each line's mean; only those that no earlier build knew are worked out."""
        over = " ".join(t.name for t in tasks)
        keys = [sha256(" ".join((over, *(one.digest for one in line.results))).encode()).hexdigest() for line in lines]
        new = [place for place, key in enumerate(keys) if key not in self.known]
        blocks = [new[start : start + TOGETHER] for start in range(0, len(new), TOGETHER)]
        found = made(
            lambda block: (block, mean_intervals([arrays[place] for place in block])),
            blocks,
            processes_for(len(blocks), alone=2),
        )
        for block, intervals in found:
            self.intervals.update((keys[place], interval) for place, interval in zip(block, intervals, strict=True))
        self.intervals.update({key: self.known[key] for key in keys if key in self.known})
        return [self.intervals[key] for key in keys]

    def entries(self, tasks: Sequence[Task]) -> dict[str, tuple[Entry, ...]]:
        """The results on each task, best first; bounds carry no group."""
        mine: dict[str, list[Score]] = {t.name: [] for t in tasks}
        for score in self.scores:
            if score.task in mine and score.submission in self._counted:
                mine[score.task].append(score)
        return {name: self._ranked(scores) for name, scores in mine.items()}

    def _ranked(self, scores: list[Score]) -> tuple[Entry, ...]:
        scores.sort(key=lambda score: (-score.value, score.submission, score.candidates))
        ranked = [score for score in scores if self._competes(score)]
        arrays = [[self.vectors.row(score.digest)] for score in ranked]
        _same_sizes(ranked, arrays)
        numbered = {score.digest: group for score, group in zip(ranked, rank_groups(arrays), strict=True)}
        found = (
            (self.submissions[s.submission], s, numbered.get(s.digest), s.digest not in self.unlike) for s in scores
        )
        return tuple(Entry(*told) for told in found)

    def _competes(self, score: Score) -> bool:
        return score.submission in self._competing and score.digest not in self.unlike

    @cached_property
    def unlike(self) -> Collection[str]:
        """The digests of the results that were measured otherwise than their frozen lists tell."""
        listed = {(one.task, one.name): one for one in self.candidates}
        return {s.digest for s in self.scores if not s.measured_as(listed.get((s.task, s.candidates)))}

    @cached_property
    def _counted(self) -> Collection[str]:
        """The submissions that were not withdrawn."""
        return {slug for slug, one in self.submissions.items() if not one.withdrawn}

    @cached_property
    def _competing(self) -> Collection[str]:
        """Those that are lines of a ranking: the first stages are, bounds, which need no model, are not."""
        return {s for s in self._counted if s == FIRST_STAGE or self.submissions[s].kind != "baseline"}

    def _arrays(self, parts: Sequence[Sequence[Score]]) -> list[np.ndarray]:
        """Headline values, an array for each task; forums are weighted so that their mean is the mean of means."""
        return [_weighted([self.vectors.row(score.digest) for score in part]) for part in parts]


class _Line(NamedTuple):
    """A line of the overview before it is ranked: its results for each task, and what follows from them alone."""

    submission: Submission
    parts: Sequence[Sequence[Score]]
    results: tuple[Score, ...]
    values: Mapping[str, float]
    mean: float | None

    @classmethod
    def of(cls, tasks: Mapping[str, Sequence[str]], submission: Submission, by_task: Mapping[str, Score]) -> _Line:
        """The line of a submission over one kind of candidates; `tasks` are those wanted, with their members."""
        parts = [[by_task[name] for name in names if name in by_task] for names in tasks.values()]
        values: dict[str, float] = {}
        for (name, names), part in zip(tasks.items(), parts, strict=True):
            if len(part) == len(names) and all(score.whole for score in part):
                values[name] = mean(score.value for score in part)
        whole = len(values) == len(tasks) and bool(tasks)
        results = tuple(by_task[name] for name in sorted(by_task))
        return cls(submission, parts, results, values, mean(values.values()) if whole else None)

    def row(self, wanted: int, interval: tuple[float, float] | None = None, group: int | None = None) -> Row:
        """The line with its place in a ranking of so many tasks."""
        first = self.results[0]
        return Row(
            submission=self.submission,
            candidates=first.candidates,
            depth=first.depth,
            values=self.values,
            results=self.results,
            finished=len(self.values),
            wanted=wanted,
            mean=self.mean,
            interval=interval,
            group=group,
            spent=_spent(self.submission, self.parts, self.mean is not None),
        )


def _weighted(rows: Sequence[np.ndarray]) -> np.ndarray:
    if len(rows) == 1:
        return rows[0]
    total = sum(map(len, rows))
    return np.concatenate([row * (total / (len(rows) * len(row))) for row in rows])


def members(t: Task) -> tuple[str, ...]:
    """The tasks with judgements of their own that a task stands for: itself, or those it is the mean of."""
    return t.members or (t.name,)


def _same_sizes(scores: Sequence[Score], arrays: Sequence[Sequence[np.ndarray]]) -> None:
    sizes = [list(map(len, values)) for values in arrays]
    for score, size in zip(scores, sizes, strict=True):
        if size != sizes[0]:
            raise BadInput(
                "was measured on another number of queries than other results of its task; "
                "run `exabench bench run` again",
                file=score.file,
            )


_FIRST_STAGE = Spent(0.0, 0.0, why="the first stage itself: nothing was reranked")
_SENT_IN = Spent(why="the ranking was sent in: what it took was not seen")


def _spent(submission: Submission, parts: Sequence[Sequence[Score]], whole: bool) -> Spent:
    if submission.slug == FIRST_STAGE:
        return _FIRST_STAGE
    if submission.kind in SENT_IN:
        return _SENT_IN
    every = [score for part in parts for score in part]
    if not all(score.costed for score in every):
        return Spent(why="a result says nothing about its cost")
    sizes = {score.parameters for score in every}
    parameters = sizes.pop() if len(sizes) == 1 else None
    if not whole:
        return Spent(parameters=parameters, why="tasks are missing: a mean over the others is another number")
    places = {score.hardware for score in every if score.p50 is not None}
    timed = len(places) == 1 and all(score.p50 is not None for score in every)
    exact = _mean_of_means([[score.flops_exact for score in part] for part in parts])
    return Spent(
        flops_exact=exact,
        flops_paper=_mean_of_means([[score.flops_paper for score in part] for part in parts]),
        parameters=parameters,
        p50=_mean_of_means([[score.p50 for score in part] for part in parts]) if timed else None,
        hardware=places.pop() if timed else "",
        why="" if exact is not None else "the model behind its server is not known",
    )


def _mean_of_means(tasks: list[list[float | None]]) -> float | None:
    """None where one value is."""
    known = [[value for value in values if value is not None] for values in tasks]
    return mean(map(mean, known)) if list(map(len, known)) == list(map(len, tasks)) else None
