"""What the overview and the pages of submissions and results show, worked out as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from exabench.catalogue import task
from exabench.metrics._measure import mean
from exabench.nouns import FIRST_STAGE, Result, Submission, Task
from exabench.pages import figures
from exabench.pages._format import count, first_stage, newest, score
from exabench.statistics import holm

if TYPE_CHECKING:
    from exabench.board import Board, Ranking, Row

DRAWN = 40  # lines in the overview's figures; its table holds all
EXTREMES = 5

STATES = {
    "reproduced": "exabench ran the reranker itself, on the frozen candidates, and measured the ranking it got.",
    "re-computed": "The ranking, or the first stage under it, came as a file. exabench held it against the frozen "
    "candidates and computed every number from it; how the file was made is its sender's word.",
    "reported": "Printed elsewhere and not measured here. Such numbers stay on pages of their own.",
}


@dataclass(frozen=True)
class Line:
    """One line of the overview with what the table adds to the row."""

    row: Row
    gain: float | None
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """What the line is called."""
        return f"first stage: {self.stage}" if self.row.is_first_stage else self.row.submission.name

    @property
    def stage(self) -> str:
        """The first stage's name."""
        return first_stage(self.row.candidates)


@dataclass(frozen=True)
class Cell:
    """A score on one task: the number, and the result behind it (None for the mean of several)."""

    task: Task
    value: float | None
    result: Result | None


@dataclass(frozen=True)
class Change:
    """One query: what the submission got, what the first stage had."""

    query: str
    own: float
    before: float

    @property
    def difference(self) -> float:
        """Own value less the first stage's."""
        return self.own - self.before


@dataclass(frozen=True)
class Comparison:
    """A result with its p-values corrected over all results of the submission, and its queries."""

    result: Result
    t_test: float
    randomisation: float
    changes: tuple[Change, ...]

    @property
    def gains(self) -> tuple[Change, ...]:
        """The largest gains, largest first."""
        return tuple(change for change in self.changes[:EXTREMES] if change.difference > 0)

    @property
    def losses(self) -> tuple[Change, ...]:
        """The largest losses, largest first."""
        return tuple(change for change in self.changes[::-1][:EXTREMES] if change.difference < 0)


@dataclass(frozen=True)
class View:
    """The board as its pages see it: results on its tasks by filed submissions, and look-ups over them."""

    board: Board

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """Every result that has a page, in the order of submission, task and candidates."""
        board = self.board
        shown = (r for r in board.results if r.submission in board.submissions and r.task in board.entries)
        return tuple(sorted(shown, key=lambda r: (r.submission, r.task, r.candidates.name)))

    @cached_property
    def by_submission(self) -> Mapping[str, tuple[Result, ...]]:
        """The results of each filed submission."""
        found: dict[str, list[Result]] = {slug: [] for slug in sorted(self.board.submissions)}
        for result in self.results:
            found[result.submission].append(result)
        return {slug: tuple(results) for slug, results in found.items()}

    @cached_property
    def single_tasks(self) -> tuple[Task, ...]:
        """The board's tasks with judgements of their own: members stand for the task they belong to."""
        names = dict.fromkeys(name for t in self.board.tasks for name in (t.members or (t.name,)))
        return tuple(task(name) for name in names)

    @cached_property
    def version(self) -> str:
        """The newest exabench that made a result."""
        return newest(result.versions for result in self.results)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The overview's lines."""
        means = {row.candidates: row.mean for row in self.board.rows if row.is_first_stage}
        return tuple(self._line(row, means.get(row.candidates)) for row in self.board.rows)

    def _line(self, row: Row, before: float | None) -> Line:
        mine = {result.task: result for result in row.results}
        cells = tuple(Cell(t, row.values.get(t.name), mine.get(t.name)) for t in self.board.tasks)
        return Line(row, None if row.mean is None or before is None else row.mean - before, cells)

    def changes(self, result: Result) -> tuple[Change, ...]:
        """Every query of a result against the first stage, largest gain first; empty where that is not on the board."""
        before = self.board.result(FIRST_STAGE, result.task, result.candidates.name)
        own = headline_values(result)
        if before is None or set(own) != set(old := headline_values(before)):
            return ()
        found = (Change(query, value, old[query]) for query, value in own.items())
        return tuple(sorted(found, key=lambda change: (-change.difference, change.query)))


def headline_values(result: Result) -> Mapping[str, float]:
    """The headline metric, query by query."""
    return result.measurement.per_query[result.measurement.headline]


def stamp(results: Iterable[Result]) -> tuple[str, str]:
    """The newest date and version among the results that a page shows."""
    listed = list(results)
    return max((result.created for result in listed), default=""), newest(result.versions for result in listed)


def overview(whole: View, ranking: Ranking) -> dict[str, Any]:
    """An overview: the board seen through the tasks of one ranking."""
    view = View(replace(whole.board, tasks=ranking.tasks, rows=ranking.rows))
    lines, rows = view.lines, view.board.rows
    return {
        "ranking": ranking,
        "lines": lines,
        "tasks": view.board.tasks,
        "stages": sorted({line.stage for line in lines}),
        "depths": sorted({row.depth for row in rows}),
        "states": sorted({state for row in rows for state in row.states}),
        "submissions": sum(s.kind != "baseline" for s in view.board.submissions.values()),
        "heat_map": _heat_map(view),
        "scores": _scores(view),
        "drawn": min(DRAWN, len(lines)),
        "stamp": stamp(result for row in rows for result in row.results),
    }


def _heat_map(view: View) -> Markup | None:
    before = {row.candidates: row.values for row in view.board.rows if row.is_first_stage}
    rows = [line for line in view.lines if not line.row.is_first_stage][:DRAWN]
    if not rows:
        return None
    columns = [t.name for t in view.board.tasks]
    bands = [
        figures.Band(
            line.name, line.row.candidates, _less(line.row.values, before.get(line.row.candidates, {}), columns)
        )
        for line in rows
    ]
    about = "Headline metric x 100 less the first stage's; a line for each submission and candidate list, a column for"
    return figures.heat_map("heat", columns, bands, f"{about} each task. The scores are in the table above.")


def _less(own: Mapping[str, float], before: Mapping[str, float], names: Sequence[str]) -> tuple[float | None, ...]:
    return tuple(own[name] - before[name] if name in own and name in before else None for name in names)


def _scores(view: View) -> Markup:
    named = [(t.name, _groups(view, t)) for t in view.board.tasks]
    about = "For each task and candidate list: the first stage, all who reranked it, and the ceiling."
    about = f"{about} The vertical axis is the headline metric x 100. The scores are in the table above."
    return figures.panels("scores", [pair for pair in named if pair[1]], "Score by first stage and depth", about)


def _groups(view: View, t: Task) -> list[figures.Group]:
    groups = []
    for name in sorted({row.candidates for row in view.board.rows}):
        rows = [row for row in view.board.rows if row.candidates == name and t.name in row.values]
        if rows:
            stage = next((row.values[t.name] for row in rows if row.is_first_stage), None)
            others = tuple(row.values[t.name] for row in rows if not row.is_first_stage)[:DRAWN]
            detail = f"top {rows[0].depth}"
            groups.append(figures.Group(first_stage(name), detail, stage, _ceiling(rows[0], t), others))
    return groups


def _ceiling(row: Row, t: Task) -> float:
    wanted = set(t.members or (t.name,))
    return mean(r.ceiling[r.measurement.headline] for r in row.results if r.task in wanted)


def submission(view: View, one: Submission) -> dict[str, Any]:
    """The page of a submission."""
    results = view.by_submission[one.slug]
    return {
        "submission": one,
        "comparisons": comparisons(view, results),
        "states": {state: STATES.get(state, "") for state in sorted({result.state for result in results})},
        "ladder": _ladder(results) if results else None,
        "stamp": stamp(results),
    }


def comparisons(view: View, results: Sequence[Result]) -> tuple[Comparison, ...]:
    """Each result's test against its first stage, both p-values with Holm's correction over all of them."""
    t_tests = holm([result.gain["t_test"] for result in results])
    flips = holm([result.gain["randomisation"] for result in results])
    made = zip(results, t_tests, flips, strict=True)
    return tuple(Comparison(result, t, flip, view.changes(result)) for result, t, flip in made)


def _ladder(results: Sequence[Result]) -> Markup:
    rungs = []
    for result in results:
        name = result.measurement.headline
        bounds = result.first_stage[name], result[name], result.interval, result.ceiling[name]
        rungs.append(figures.Rung(result.task, result.candidates.name, *bounds))
    about = "Headline metric x 100, from 0 to 100. The numbers are in the table below."
    return figures.ladder("ladder", rungs, about)


def result(view: View, one: Result) -> dict[str, Any]:
    """The page of a result."""
    changes = view.changes(one)
    return {
        "result": one,
        "submission": view.board.submissions[one.submission],
        "changes": changes,
        "alone": () if changes else sorted(headline_values(one).items()),
        "bars": _bars(one, changes) if changes else None,
        "about_state": STATES.get(one.state, ""),
        "identity": identity(one.model),
        "stamp": stamp([one]),
    }


def identity(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a result says of its model, name and revision first, values that are no text as JSON."""
    first = [key for key in ("name", "model", "revision") if key in model]
    keys = [*first, *sorted(set(model) - set(first))]
    said = ((key, model[key]) for key in keys if model[key] not in ("", None))
    return [(key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) for key, value in said]


def _bars(one: Result, changes: Sequence[Change]) -> Markup:
    gain = one.gain
    about = (
        f"{count(len(changes))} queries, largest gain left: "
        f"{gain['wins']} gain, {gain['losses']} lose, {gain['ties']} stay. "
        f"The largest gain is {score(changes[0].difference)}, the largest loss {score(changes[-1].difference)} points. "
        "The values are in the table below."
    )
    return figures.bars("bars", [change.difference for change in changes], about)
