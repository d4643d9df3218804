"""The lines of a ranking as columns: what the overview and the heat map give to the browser, small and in its order."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exabench.nouns import FIRST_STAGE, Submission
from exabench.pages._exposed import Exposures
from exabench.pages._format import clean, first_stage, hundredths, signed_hundredths, significant, training_shortly
from exabench.pages._views import Line, View

if TYPE_CHECKING:
    from exabench.board import Board, Ranking, Row

WRITTEN = 100  # lines in a page itself; the browser turns to the others
SHOWN = 20_000  # cells of tasks that an overview shows before it is asked for them
OPEN = re.compile(
    r"apache-2\.0|mit(-0)?|bsd-[23]-clause|isc|cc0-1\.0|cc-by(-sa)?-[34]\.0|unlicense|[al]?gpl-.*|mpl-2\.0|zlib"
)
_NUMBER = re.compile(r"0*(\d+)")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the overview: `kind` is "" for text, "number" (more first) or "up" (less first)."""

    key: str
    label: str
    kind: str = ""
    about: str = ""
    shown: bool = True


COLUMNS = (
    Column("group", "Group", "up", "rank group: the data cannot tell its members from the best of the group"),
    Column("name", "Submission"),
    Column(
        "mean", "Mean nDCG@10", "number", "mean of the headline metric over the tasks x 100, with its 95 % interval"
    ),
    Column("gain", "Over first stage", "number"),
    Column("stage", "First stage"),
    Column("depth", "Depth", "number"),
    Column("zero", "Zero-shot", "", "does the training data meet no task? unknown where it is not declared"),
    Column("state", "State"),
    Column("owner", "Owner", "", "who sent it, and how many submissions of theirs are in this table"),
    Column("flops", "TFLOPs per query", "up"),
    Column("parameters", "Parameters, millions", "up"),
    Column("latency", "Seconds per query", "up"),
    Column("licence", "Licence"),
    Column("training", "Training data"),
    Column("date", "Date"),
    Column("kind", "Kind", shown=False),
    Column("family", "Family", shown=False),
)


def overview_data(ranking: Ranking) -> str:
    """Where the columns of an overview lie."""
    return f"data/overview.{ranking.slug}.js"


def scores_data(ranking: Ranking) -> str:
    """Where the columns of an overview's tasks lie."""
    return f"data/overview.{ranking.slug}.tasks.js"


def heat_page(board: Board, ranking: Ranking) -> str:
    """The page of an overview's heat map."""
    return "heat.html" if ranking == board.rankings[0] else f"heat/{ranking.slug}.html"


def natural(text: str) -> str:
    """A key under which text2 comes before text10, whatever the case of the letters: a number follows its length."""
    return _NUMBER.sub(lambda found: f"\0{chr(len(found[1]))}{found[1]}", text.lower())


@dataclass(frozen=True)
class Table:
    """The lines of one ranking, best first, as both the page and the browser read them."""

    view: View
    ranking: Ranking

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Every line, with what it gains over its first stage."""
        before = {row.candidates: row.mean for row in self.ranking.rows if row.is_first_stage}
        return tuple(Line(row, _less(row.mean, before.get(row.candidates))) for row in self.ranking.rows)

    @cached_property
    def owners(self) -> Counter[str]:
        """How many submissions of each owner the table holds."""
        slugs = {row.submission.slug: row.submission.owner for row in self.ranking.rows}
        return Counter(slugs.values())

    @cached_property
    def exposures(self) -> Exposures:
        """What the training data of each submission meets."""
        return Exposures(self.view.board, self.ranking.tasks)

    @property
    def shows_tasks(self) -> bool:
        """Are there few enough cells to show a column for each task at once?"""
        return len(self.lines) * len(self.ranking.tasks) <= SHOWN

    def main(self) -> bytes:
        """The script file that every reader of the overview loads."""
        entrants = _distinct(((line.name, line.row.submission) for line in self.lines), key=lambda pair: pair[0])
        places = {name: place for place, (name, _) in enumerate(entrants)}
        told = {
            "build": self.view.everything[:12],
            "columns": [[c.key, c.label, c.kind, c.about, int(c.shown)] for c in COLUMNS],
            "tasks": [[t.name, int(not t.members)] for t in self.ranking.tasks],
            "showTasks": int(self.shows_tasks),
            "names": [name for name, _ in entrants],
            "slugs": {place: sub.slug for place, (name, sub) in enumerate(entrants) if sub.slug != _slug(name)},
            **self._entrants([submission for _, submission in entrants]),
            "who": [places[line.name] for line in self.lines],
            **self._rows(),
        }
        return _script("overview", told)

    def scores(self) -> bytes:
        """The script file of the tasks' own columns, loaded when a reader asks for one.

        Beside the scores stands what makes their differences to the first stage read as they do elsewhere: where
        rounding would show another tenth of a point, the hundredths to add.
        """
        rows = self.ranking.rows
        starts = {row.candidates: place for place, row in enumerate(rows) if row.is_first_stage}
        values, nudges = [], []
        for t in self.ranking.tasks:
            exact = [row.values.get(t.name) for row in rows]
            shown = [_number(value) for value in exact]
            values.append(shown)
            nudges.append([_nudge(exact, shown, i, starts.get(row.candidates)) for i, row in enumerate(rows)])
        return _script("scores", {"build": self.view.everything[:12], "values": values, "nudges": nudges})

    def _entrants(self, submissions: Sequence[Submission]) -> dict[str, Any]:
        licences, licence = _coded(["" if _is_stage(s) else s.licence for s in submissions])
        trainings, training = _coded(["" if _is_stage(s) else training_shortly(s) for s in submissions])
        kinds, kind = _coded([s.kind for s in submissions])
        families, family = _coded([s.family for s in submissions])
        met, meets = _coded([self.exposures.of(s) for s in submissions])
        return {
            "licences": licences,
            "open": [int(bool(OPEN.fullmatch(text.lower()))) for text in licences],
            "trainings": trainings,
            "kinds": kinds,
            "families": families,
            "exposures": met,
            "licence": licence,
            "training": training,
            "kind": kind,
            "family": family,
            "exposure": meets,
        }

    def _rows(self) -> dict[str, Any]:
        rows = self.ranking.rows
        lists, over = _coded([(row.candidates, first_stage(row.candidates), row.depth) for row in rows])
        states, state = _coded([" ".join(row.states) for row in rows])
        dates, date = _coded([_date(row) for row in rows])
        reasons, why = _coded([row.spent.why for row in rows])
        means = [_number(row.mean) for row in rows]
        return {
            "lists": lists,
            "states": states,
            "dates": dates,
            "reasons": reasons,
            "list": over,
            "state": state,
            "date": date,
            "why": why,
            "group": _steps([row.group for row in rows]),
            "mean": _steps(means),
            "below": [_apart(mean, row.interval and row.interval[0]) for mean, row in zip(means, rows, strict=True)],
            "above": [_apart(row.interval and row.interval[1], mean) for mean, row in zip(means, rows, strict=True)],
            "gain": [None if line.row.is_first_stage else _number(line.gain) for line in self.lines],
            "finished": [row.finished for row in rows],
            "flops": [_amount(row.spent.flops_exact, 1e12) for row in rows],
            "parameters": [_amount(row.spent.parameters, 1e6) for row in rows],
            "latency": [_amount(row.spent.p50, 1) for row in rows],
        }


def _date(row: Row) -> str:
    return row.submission.date or max((result.created for result in row.results), default="")


def _is_stage(submission: Submission) -> bool:
    return submission.slug == FIRST_STAGE


def _slug(name: str) -> str:
    return name.replace("/", "--")


def _less(own: float | None, before: float | None) -> float | None:
    return None if own is None or before is None else own - before


def _number(value: float | None) -> int | None:
    return None if value is None else hundredths(value)


def _apart(one: float | None, other: float | None) -> int | None:
    """The distance of two of (a score, a number of hundredths), whichever is which."""
    if one is None or other is None:
        return None
    return (one if isinstance(one, int) else hundredths(one)) - (other if isinstance(other, int) else hundredths(other))


def _nudge(exact: Sequence[float | None], shown: Sequence[int | None], own: int, start: int | None) -> int:
    """What to add to the difference of two shown numbers so that it reads as the difference of the exact ones."""
    if start is None or start == own:
        return 0
    value, before, rounded, base = exact[own], exact[start], shown[own], shown[start]
    if value is None or before is None or rounded is None or base is None:
        return 0
    wanted, rough = hundredths(value - before), rounded - base
    if wanted == rough or signed_hundredths(wanted) == signed_hundredths(rough):
        return 0
    return wanted - rough


def _amount(value: float | None, unit: float) -> float | int | None:
    if value is None:
        return None
    found = significant(value / unit)
    return int(found) if found == int(found) else found


def _steps(values: Sequence[int | None]) -> list[int | None]:
    """Each number less the one before it; None stays None, and the sum goes on after it."""
    found: list[int | None] = []
    last = 0
    for value in values:
        found.append(None if value is None else value - last)
        last = last if value is None else value
    return found


def _coded(values: Sequence[Hashable]) -> tuple[list[Any], list[int]]:
    """The distinct values in natural order, and for each value its place among them."""
    distinct = _distinct(values, key=lambda value: value)
    places = {value: place for place, value in enumerate(distinct)}
    return distinct, [places[value] for value in values]


def _distinct(values: Iterable[Any], key: Callable[[Any], Hashable]) -> list[Any]:
    found = {key(value): value for value in values}
    return sorted(found.values(), key=lambda value: [natural(str(part)) for part in _parts(key(value))])


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _script(name: str, told: Any) -> bytes:
    """A script of one call, which a page can load from a folder, too. Texts of strangers are made harmless."""
    text = json.dumps(_clean(told), ensure_ascii=False, separators=(",", ":"))
    return f"exabench.{name}({text});\n".encode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(part, str | list | tuple) for part in value[:1]):
        return [_clean(part) for part in value]
    return value
