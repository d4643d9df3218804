"""Differences of two releases: tables, splits, fields, and rows by their ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, plural, printable
from exabench.core.rows import Release, Table
from exabench.data.releases._manifest import numbers, read
from exabench.data.releases._reading import batches

FIRST_VERSION = "1.0.0"  # of a new dataset; publishing counts on from it
EXAMPLES = 5  # ids that are named for each kind of change


@dataclass(frozen=True)
class TableDiff:
    """The changes of a table. `change` is "added", "removed" or "changed"; the lists of ids are examples.

    A row is the same where its id is; it changed where its split or a field that both releases have did, and
    `changed_ids` says which. `rows_changed` and the like count all of them.
    """

    change: str
    rows_before: int
    rows_after: int
    fields_added: Mapping[str, str] = field(default_factory=dict)
    fields_removed: Mapping[str, str] = field(default_factory=dict)
    fields_retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    splits_added: tuple[str, ...] = ()
    splits_removed: tuple[str, ...] = ()
    rows_added: int = 0
    rows_removed: int = 0
    rows_changed: int = 0
    added_ids: tuple[str, ...] = ()
    removed_ids: tuple[str, ...] = ()
    changed_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def breaking(self) -> bool:
        """May code that reads the old table fail on the new one?"""
        return bool(self.change == "removed" or self.fields_removed or self.fields_retyped or self.splits_removed)

    def lines(self, name: str) -> Iterator[str]:
        """The changes in words, a line each."""
        if self.change != "changed":
            rows = self.rows_after if self.change == "added" else self.rows_before
            yield f"table {name}: {self.change} ({plural(rows, 'row')})"
            return
        for added, kind in self.fields_added.items():
            yield f"table {name}: field {printable(added)} added ({kind})"
        for removed in self.fields_removed:
            yield f"table {name}: field {printable(removed)} removed"
        for retyped, (before, after) in self.fields_retyped.items():
            yield f"table {name}: field {printable(retyped)} was {before}, is {after}"
        for split in self.splits_added:
            yield f"table {name}: split {split} added"
        for split in self.splits_removed:
            yield f"table {name}: split {split} removed"
        changed = [f"{id} ({', '.join(fields)})" for id, fields in self.changed_ids.items()]
        for what, count, examples in (
            ("added", self.rows_added, self.added_ids),
            ("removed", self.rows_removed, self.removed_ids),
            ("changed", self.rows_changed, changed),
        ):
            if count:
                more = ", ..." if count > len(examples) else ""
                yield f"table {name}: {plural(count, 'row')} {what}: {', '.join(map(printable, examples))}{more}"


@dataclass(frozen=True)
class Diff:
    """The changes between two releases: the tables that changed, by name. Card, report and licence are not compared."""

    tables: Mapping[str, TableDiff]

    @property
    def breaking(self) -> bool:
        """May code that reads the old release fail on the new one?"""
        return any(table.breaking for table in self.tables.values())

    def lines(self) -> list[str]:
        """The changes in words, a line each; none where tables, fields and rows are the same."""
        lines: list[str] = []
        for name, table in self.tables.items():
            lines += table.lines(printable(name))
        return lines

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return {"breaking": self.breaking, **asdict(self)}


def diff(old_folder: str | Path, new_folder: str | Path) -> Diff:
    """Compare two releases on disk. Raises BadInput for a file that is not the one of its manifest.

    A table whose files are the same bytes in both is not read, and need not be there. Of any other, the row ids of
    the old one are held with 16 bytes for the content of each row: some 200 bytes a row.
    """
    before = read(old_folder).tables
    after = read(new_folder).tables
    changes = {}
    for name in sorted(before.keys() | after.keys()):
        old = before.get(name)
        new = after.get(name)
        if old and new:
            change = _difference(name, Path(old_folder), old, Path(new_folder), new)
            if change != TableDiff("changed", old.rows, new.rows):
                changes[name] = change
        elif new:
            changes[name] = TableDiff(
                "added", 0, new.rows, fields_added=new.columns, splits_added=tuple(sorted(new.splits))
            )
        elif old:
            changes[name] = TableDiff(
                "removed", old.rows, 0, fields_removed=old.columns, splits_removed=tuple(sorted(old.splits))
            )
    return Diff(changes)


def next_version(old: Release | None, new: Release, changes: Diff | None) -> str:
    """The version of `new`, that came after `old` with these `changes` (None where there is no old one).

    major: a table, a split or a field is gone, or a field has another type, so that a reader's code may break.
    minor: any other change of tables, splits, fields or rows. patch: anything else. The old version: one content.
    """
    if old is None:
        return FIRST_VERSION
    if old.content == new.content:
        return old.version
    if changes is None:
        raise BadInput(f"release {new.name} follows version {old.version}; compare the two first")
    major, minor, patch = numbers(old.version)
    if changes.breaking:
        return f"{major + 1}.0.0"
    if changes.tables:
        return f"{major}.{minor + 1}.0"
    return f"{major}.{minor}.{patch + 1}"


def _rows(folder: Path, table: Table, fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Every row of a table as its split and those fields, splits sorted."""
    for split in sorted(table.splits):
        for batch in batches(folder, table, split, fields):
            columns = [batch.column(name).to_pylist() for name in fields]
            for values in zip(*columns, strict=True):
                yield split, *values


def _digest(row: tuple[Any, ...]) -> bytes:
    # repr tells any two strings, numbers and lists of them apart, and is the fastest that does
    return hashlib.blake2b(repr(row).encode(), digest_size=16).digest()


def _difference(name: str, old_folder: Path, old: Table, new_folder: Path, new: Table) -> TableDiff:
    """The changes of the table `name`; rows are compared over the fields that both sides have with one type."""
    before = old.columns
    after = new.columns
    removed = {}
    retyped = {}
    fields = ["id"]
    for column, kind in before.items():
        if column not in after:
            removed[column] = kind
        elif after[column] != kind:
            retyped[column] = (kind, after[column])
        elif column != "id":
            fields.append(column)
    change = TableDiff(
        "changed",
        old.rows,
        new.rows,
        fields_added={column: kind for column, kind in after.items() if column not in before},
        fields_removed=removed,
        fields_retyped=retyped,
        splits_added=tuple(sorted(new.splits.keys() - old.splits.keys())),
        splits_removed=tuple(sorted(old.splits.keys() - new.splits.keys())),
    )
    # The same files hold the same rows.
    if old.splits == new.splits:
        return change

    if not before.get("id") == after.get("id") == "string":
        raise BadInput(f"table {name} has no ids in one of the two releases; its rows cannot be compared")
    known = {row[1]: _digest(row) for row in _rows(old_folder, old, fields)}
    added: list[str] = []
    changed: dict[str, tuple[Any, ...]] = {}
    rows_added = 0
    rows_changed = 0
    for row in _rows(new_folder, new, fields):
        id = row[1]
        old_digest = known.pop(id, None)
        if old_digest is None:
            rows_added += 1
            if len(added) < EXAMPLES:
                added.append(id)
        elif old_digest != _digest(row):
            rows_changed += 1
            if len(changed) < EXAMPLES:
                changed[id] = row
    # The old rows of the examples are read once more, to say which fields changed.
    changed_ids: dict[str, tuple[str, ...]] = dict.fromkeys(changed, ())
    old_rows = _rows(old_folder, old, fields)
    while changed:
        row = next(old_rows)
        if row[1] in changed:
            values = zip(["split", *fields], row, changed.pop(row[1]), strict=True)
            changed_ids[row[1]] = tuple(column for column, one, other in values if one != other)
    return replace(
        change,
        rows_added=rows_added,
        rows_removed=len(known),
        rows_changed=rows_changed,
        added_ids=tuple(added),
        removed_ids=tuple(islice(known, EXAMPLES)),
        changed_ids=changed_ids,
    )
