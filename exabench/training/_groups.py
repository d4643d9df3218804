"""Groups: what every family of rows becomes before a loss sees it, a query with passages and their labels."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput
from exabench.nouns import Passage, Query
from exabench.releases import MANIFEST, load

if TYPE_CHECKING:
    from exabench.rows import Release, Row
    from exabench.training._plan import Data, Plan

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
    held_out: int


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
        return self._parts[place].group(number - (self._ends[place - 1] if place else 0), epoch)


@dataclass(frozen=True)
class _Part:
    """Rows of one split of one table, those of `numbers`."""

    rows: Any
    numbers: Sequence[int]
    read: Callable[[Row, Data, int], Group]
    data: Data

    def group(self, place: int, epoch: int) -> Group:
        return self.read(self.rows[self.numbers[place]], self.data, epoch)

    def cut(self, last: int) -> tuple[_Part, _Part]:
        """All but the last so many rows (half of them at most), and those; a query of theirs is in no other row."""
        least = len(self.numbers) // 2
        start = max(least, len(self.numbers) - last)
        queries = self.rows.select(self.numbers)["query_id"]
        aside = set(queries[start:])
        kept = [number for number, query in zip(self.numbers[:start], queries, strict=False) if query not in aside]
        return replace(self, numbers=kept), replace(self, numbers=self.numbers[start:])


def groups_of(plan: Plan, needs: str, lock: Path | None = None) -> tuple[Groups, Groups, tuple[Source, ...]]:
    """The groups to fit, those held out, and where they came from.

    Raises BadInput for a family that lacks what the loss `needs`, for a table without rows and for a row that the loss
    cannot be fitted to (one passage where an order is to be learnt), UnknownName, OutsideFailed.
    """
    tables = [_table(plan, data, needs, lock) for data in plan.data]
    if plan.dev.every and plan.dev.groups and not any(held.numbers for _, held in tables):
        tables = [fitted.cut(plan.dev.groups) for fitted, _ in tables]
    sources = [Source(fit.rows.release, fit.data, len(fit.numbers), len(held.numbers)) for fit, held in tables]
    return Groups([fitted for fitted, _ in tables]), Groups([held for _, held in tables]), tuple(sources)


def _table(plan: Plan, data: Data, needs: str, lock: Path | None) -> tuple[_Part, _Part]:
    """The rows of a table that are fitted, and those of its split that is held out, where it has one."""
    place = _place(data.release)
    given: dict[str, Any] = {"version": data.version, "lock": None if Path(place).is_dir() else lock}
    rows = load(place, data.table, data.split, **given)
    table = rows.release.tables[data.table]
    if table.family not in FITS[needs]:
        what = f"table {data.table} holds {table.family}, but loss {plan.loss['part']} needs {' or '.join(FITS[needs])}"
        raise BadInput(what, file=plan.recipe.file)
    fitted = _Part(rows, _numbers(rows, data), _READERS[table.family], data)
    held = replace(fitted, numbers=range(0))
    if not fitted.numbers:
        such = f" with {', '.join(map(str, data.only.items()))}" if data.only else ""
        raise BadInput(f"table {data.table} of {data.release} has no rows in split {data.split}{such}")
    if data.held_out in table.splits and data.held_out != data.split:
        rows = load(place, data.table, data.held_out, **given)
        held = replace(fitted, rows=rows, numbers=_numbers(rows, replace(data, limit=0)))
    for part in (fitted, held):
        _check(part, table.family, needs)
    return fitted, held


def _numbers(rows: Any, data: Data) -> Sequence[int]:
    """The rows that have one of the values that `only` names, the first `limit` of them."""
    if strange := sorted(data.only.keys() - set(rows.column_names)):
        raise BadInput(
            f"table {data.table} has no column {strange[0]}; data.only may name {', '.join(rows.column_names)}"
        )
    columns = {name: rows[name] for name in data.only}
    numbers = [n for n in range(len(rows)) if all(columns[name][n] in data.only[name] for name in columns)]
    return numbers[: data.limit or None] if columns else range(min(len(rows), data.limit or len(rows)))


def _place(release: str) -> str:
    """A folder with a manifest, a work folder of `data build` (its release), or a name for the Hub."""
    inner = Path(release) / "release"
    return str(inner) if not (Path(release) / MANIFEST).is_file() and (inner / MANIFEST).is_file() else release


def _check(part: _Part, family: str, needs: str) -> None:
    """Raises BadInput for the first row that cannot be learnt from, before anything is computed."""
    columns, problem = _CHECKS[family]
    for row in part.rows.select(part.numbers).select_columns(["id", *columns]):
        if found := problem(row, part.data, needs):
            raise BadInput(f"table {part.data.table}: {found}; leave this row out", id=row["id"])


def _without_target(row: Row, data: Data, needs: str) -> str:
    return "there is no text to write" if needs == "targets" and data.explanations and not row["target"] else ""


def _without_contrast(row: Row, data: Data, needs: str) -> str:
    if not row["positive"].strip() and not row["positive_title"].strip():
        return "there is no positive passage"
    alone = not row["negative_ids"] or data.passages == 1
    return "there is no negative passage, so no order to learn" if alone and needs in ("positive", "order") else ""


def _without_order(row: Row, data: Data, needs: str) -> str:
    values = (row["scores"] if "scores" in row else row["passage_ids"])[: data.passages or None]
    if len(values) < 2:
        return "fewer than two passages have no order to learn"
    alike = "scores" in row and needs == "order" and len(set(values)) == 1
    return "all of its scores are equal, so there is no order to learn" if alike else ""


_CHECKS: Mapping[str, tuple[Sequence[str], Callable[[Row, Data, str], str]]] = {
    "explanations": (["target"], _without_target),
    "contrastive": (["positive", "positive_title", "negative_ids"], _without_contrast),
    "listwise": (["passage_ids"], _without_order),
    "scored": (["scores"], _without_order),
}
"""The columns that a family's rows are looked at by, and what may be wrong with one (nothing: "")."""


def _explanation(row: Row, data: Data, epoch: int) -> Group:
    passage = Passage(row["passage_id"], row["passage"], row["title"])
    label = WORDS[0] if row["relevant"] else WORDS[1]
    target = row["target"] if data.explanations else label
    return Group(row["id"], _query(row), (passage,), (float(row["relevant"]),), (target,))


def _contrast(row: Row, data: Data, epoch: int) -> Group:
    positive = Passage(row["positive_id"], row["positive"], row["positive_title"])
    every = _passages(row, "negative_ids", "negatives", "negative_titles")
    negatives = tuple(every[place] for place in _places(row, len(every), data.passages - 1, data, epoch))
    labels, targets = (1.0, *[0.0] * len(negatives)), (WORDS[0], *[WORDS[1]] * len(negatives))
    return Group(row["id"], _query(row), (positive, *negatives), labels, targets)


def _order(row: Row, data: Data, epoch: int) -> Group:
    """The teacher's order, best first: of n passages the label of the first is n and of the last 1."""
    every = _passages(row, "passage_ids", "passages", "titles")
    passages = tuple(every[place] for place in _places(row, len(every), data.passages, data, epoch))
    return Group(row["id"], _query(row), passages, tuple(float(n) for n in range(len(passages), 0, -1)))


def _scores(row: Row, data: Data, epoch: int) -> Group:
    every = _passages(row, "passage_ids", "passages", "titles")
    places = _places(row, len(every), data.passages, data, epoch)
    labels = tuple(float(row["scores"][place]) for place in places)
    return Group(row["id"], _query(row), tuple(every[place] for place in places), labels)


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


def _passages(row: Row, ids: str, texts: str, titles: str) -> tuple[Passage, ...]:
    return tuple(starmap(Passage, zip(row[ids], row[texts], row[titles], strict=True)))


_READERS: Mapping[str, Callable[[Row, Data, int], Group]] = {
    "explanations": _explanation,
    "contrastive": _contrast,
    "listwise": _order,
    "scored": _scores,
}
