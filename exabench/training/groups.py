"""Groups: what every family of rows becomes before a loss sees it, a query with passages and their labels."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query
from exabench.data.releases import MANIFEST, load

if TYPE_CHECKING:
    from exabench.core.rows import Release, Row
    from exabench.training.plan import Data, Plan

FITS: Mapping[str, tuple[str, ...]] = {
    "targets": ("explanations", "contrastive"),
    "binary": ("explanations", "contrastive"),
    "positive": ("contrastive",),
    "order": ("listwise", "contrastive", "scored"),
    "scores": ("scored",),
}
"""Which families have what a loss needs."""

WORDS = ("true", "false")
"""What a language model writes of a passage that has a label and no text: monoT5's two words."""


@dataclass(frozen=True)
class Group:
    """A query and passages, a label for each (higher is better) and, for a loss that needs them, texts to write."""

    id: str
    query: Query
    passages: tuple[Passage, ...]
    labels: tuple[float, ...]
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One table that is learnt from, as the model's card names it: what it is, at which version, and how much of it."""

    release: Release
    data: Data
    rows: int

    def as_json(self) -> dict[str, Any]:
        """The table with its teacher and the release's own report of leaks; `repository` where it is on the Hub."""
        table = self.release.tables[self.data.table]
        is_folder = Path(self.data.release).is_dir()
        return {
            "name": self.release.name,
            "version": self.release.version,
            "content": self.release.content,
            "table": self.data.table,
            "family": table.family,
            "rows": self.rows,
            "licence": table.licence,
            "repository": "" if is_folder else self.data.release,
            "teacher": {key: value for key, value in table.teacher.items() if key != "server"},
            "leaks": table.report.get("leaks", {}),
        }


class Groups(Sequence[Group]):
    """The rows of some tables as groups, one after the other; a row is read from disk when it is asked for."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = [part for part in parts if part.numbers]
        self._ends = list(accumulate(len(part.numbers) for part in self._parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: Any) -> Any:
        return self.seen(number, 0)

    def seen(self, number: int, epoch: int) -> Group:
        """Group `number` as it is learnt in an epoch: where a table says so, each draws its own passages of a list."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        place = bisect_right(self._ends, number)
        before = self._ends[place - 1] if place else 0
        part = self._parts[place]
        row = part.rows[part.numbers[number - before]]
        return part.family.group(row, part.data, epoch)


def groups_of(plan: Plan, needs: str, lock: Path | None = None) -> tuple[Groups, Groups, tuple[Source, ...]]:
    """The groups to fit, those held out, and where they came from.

    Raises BadInput for a family that lacks what the loss `needs`, for a table without rows and for a row that the loss
    cannot be fitted to (one passage where an order is to be learnt), UnknownName, OutsideFailed.
    """
    tables = [_read_table(plan, data, needs, lock) for data in plan.data]
    evaluates = plan.dev.every > 0
    if evaluates and plan.dev.groups and not any(held.numbers for _, held in tables):
        tables = [_cut(fitted, plan.dev.groups) for fitted, _ in tables]
    sources = tuple(Source(fitted.rows.release, fitted.data, len(fitted.numbers)) for fitted, _ in tables)
    return Groups([fitted for fitted, _ in tables]), Groups([held for _, held in tables]), sources


@dataclass(frozen=True)
class _Part:
    """Rows of one split of one table, those of `numbers`."""

    rows: Any
    numbers: Sequence[int]
    family: _Family
    data: Data


def _read_table(plan: Plan, data: Data, needs: str, lock: Path | None) -> tuple[_Part, _Part]:
    """The rows of a table that are fitted, and those of its split that is held out, where it has one."""
    place = _release_folder(data.release)
    given: dict[str, Any] = {"version": data.version, "lock": None if Path(place).is_dir() else lock}
    rows = load(place, data.table, data.split, **given)
    table = rows.release.tables[data.table]
    if table.family not in FITS[needs]:
        what = f"table {data.table} holds {table.family}, but loss {plan.loss['part']} needs {' or '.join(FITS[needs])}"
        raise BadInput(what, file=plan.recipe.file)
    family = _FAMILIES[table.family]
    fitted = _Part(rows, _numbers(rows, data, data.limit), family, data)
    if not fitted.numbers:
        such = f" with {', '.join(map(str, data.only.items()))}" if data.only else ""
        raise BadInput(f"table {data.table} of {data.release} has no rows in split {data.split}{such}")
    held = replace(fitted, numbers=range(0))
    if data.held_out in table.splits and data.held_out != data.split:
        rows = load(place, data.table, data.held_out, **given)
        held = _Part(rows, _numbers(rows, data, 0), family, data)
    for part in (fitted, held):
        _check_rows(part, needs)
    return fitted, held


def _release_folder(release: str) -> str:
    """A folder as it is, the work folder of a build as its release, or a name for the Hub."""
    inner = Path(release) / "release"
    is_work_folder = not (Path(release) / MANIFEST).is_file() and (inner / MANIFEST).is_file()
    return str(inner) if is_work_folder else release


def _numbers(rows: Any, data: Data, limit: int) -> Sequence[int]:
    """The numbers of the rows that `data.only` lets through, at most `limit` of them (0: all)."""
    numbers: Sequence[int] = range(len(rows))
    for column, values in data.only.items():
        if column not in rows.column_names:
            names = ", ".join(rows.column_names)
            raise BadInput(f"table {data.table} has no column {column}; data.only may name {names}")
        column_values = rows[column]
        numbers = [number for number in numbers if column_values[number] in values]
    return numbers[:limit] if limit else numbers


def _cut(part: _Part, last: int) -> tuple[_Part, _Part]:
    """All but the last so many rows (half of them at most), and those; a query of theirs is in no other row."""
    start = max(len(part.numbers) // 2, len(part.numbers) - last)
    queries = part.rows.select(part.numbers)["query_id"]
    held_queries = set(queries[start:])
    kept = []
    for number, query in zip(part.numbers[:start], queries, strict=False):
        if query not in held_queries:
            kept.append(number)
    return replace(part, numbers=kept), replace(part, numbers=part.numbers[start:])


def _check_rows(part: _Part, needs: str) -> None:
    """Raises BadInput for the first row that cannot be learnt from, before anything is computed."""
    for row in part.rows.select(part.numbers).select_columns(["id", *part.family.columns]):
        if found := part.family.problem(row, part.data, needs):
            raise BadInput(f"table {part.data.table}: {found}; leave this row out", id=row["id"])


@dataclass(frozen=True)
class _Family:
    """How a family's rows become groups: `group` of row, table and epoch; and what may be wrong with one.

    `problem` of row, table and what the loss needs is empty for a good row; it looks at `columns` alone.
    """

    group: Callable[[Row, Data, int], Group]
    columns: Sequence[str]
    problem: Callable[[Row, Data, str], str]


def _explanation(row: Row, data: Data, epoch: int) -> Group:
    passage = Passage(row["passage_id"], row["passage"], row["title"])
    label = WORDS[0] if row["relevant"] else WORDS[1]
    target = row["target"] if data.explanations else label
    return Group(row["id"], _query(row), (passage,), (float(row["relevant"]),), (target,))


def _explanation_problem(row: Row, data: Data, needs: str) -> str:
    if needs == "targets" and data.explanations and not row["target"]:
        return "there is no text to write"
    return ""


def _contrast(row: Row, data: Data, epoch: int) -> Group:
    positive = Passage(row["positive_id"], row["positive"], row["positive_title"])
    listed = _passages(row, "negative_ids", "negatives", "negative_titles")
    negatives = [listed[place] for place in _places(row, len(listed), data.passages - 1, data, epoch)]
    labels = (1.0, *[0.0] * len(negatives))
    targets = (WORDS[0], *[WORDS[1]] * len(negatives))
    return Group(row["id"], _query(row), (positive, *negatives), labels, targets)


def _contrast_problem(row: Row, data: Data, needs: str) -> str:
    if not row["positive"].strip() and not row["positive_title"].strip():
        return "there is no positive passage"
    if needs in ("positive", "order") and (not row["negative_ids"] or data.passages == 1):
        return "there is no negative passage, so no order to learn"
    return ""


def _ranked(row: Row, data: Data, epoch: int) -> Group:
    """The teacher's scores; of an order without scores, best first, n passages have the labels n, n - 1, ... 1."""
    listed = _passages(row, "passage_ids", "passages", "titles")
    places = _places(row, len(listed), data.passages, data, epoch)
    labels = [float(place) for place in range(len(places), 0, -1)]
    if "scores" in row:
        labels = [float(row["scores"][place]) for place in places]
    return Group(row["id"], _query(row), tuple(listed[place] for place in places), tuple(labels))


def _ranked_problem(row: Row, data: Data, needs: str) -> str:
    values = (row["scores"] if "scores" in row else row["passage_ids"])[: data.passages or None]
    if len(values) < 2:
        return "fewer than two passages have no order to learn"
    if "scores" in row and needs == "order" and len(set(values)) == 1:
        return "all of its scores are equal, so there is no order to learn"
    return ""


_FAMILIES = {
    "explanations": _Family(_explanation, ["target"], _explanation_problem),
    "contrastive": _Family(_contrast, ["positive", "positive_title", "negative_ids"], _contrast_problem),
    "listwise": _Family(_ranked, ["passage_ids"], _ranked_problem),
    "scored": _Family(_ranked, ["scores"], _ranked_problem),
}


def _places(row: Row, count: int, most: int, data: Data, epoch: int) -> Sequence[int]:
    """Which of a list's `count` places are learnt: the first `most`, or as many of them all, drawn by row and epoch."""
    if not data.passages or count <= most:
        return range(count)
    if not data.draw:
        return range(most)
    keys = [hashlib.blake2b(f"{row['id']} {epoch} {place}".encode(), digest_size=8).digest() for place in range(count)]
    return sorted(sorted(range(count), key=keys.__getitem__)[:most])


def _query(row: Row) -> Query:
    return Query(row["query_id"], row["query"])


def _passages(row: Row, ids: str, texts: str, titles: str) -> list[Passage]:
    return [Passage(*each) for each in zip(row[ids], row[texts], row[titles], strict=True)]
