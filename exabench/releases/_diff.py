"""What changed between two releases: tables, splits, fields, and rows by their ids."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exabench.errors import BadInput, plural, printable
from exabench.releases._checks import batches, contract
from exabench.releases._manifest import read
from exabench.rows import Release, Table

EXAMPLES = 5  # ids that are named for each kind of change


@dataclass(frozen=True)
class TableDiff:
    """What changed in a table. `change` is "added", "removed" or "changed"; the lists of ids are examples.

    A row is the same where its id is; it changed where its split or a field that both releases have did, and
    `changed_ids` says which. `rows_changed` and the like count all of them.
    """

    change: str
    rows_before: int
    rows_after: int
    fields_added: Mapping[str, str]
    fields_removed: Mapping[str, str]
    fields_retyped: Mapping[str, tuple[str, str]]
    splits_added: tuple[str, ...]
    splits_removed: tuple[str, ...]
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
    """What changed between two releases: the tables that did, by name. Card, report and licence are not compared."""

    tables: Mapping[str, TableDiff]

    @property
    def breaking(self) -> bool:
        """May code that reads the old release fail on the new one?"""
        return any(table.breaking for table in self.tables.values())

    def lines(self) -> list[str]:
        """The changes in words, a line each; none where tables, fields and rows are the same."""
        return [line for name, table in self.tables.items() for line in table.lines(printable(name))]

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return {"breaking": self.breaking, **asdict(self)}


def diff(old_folder: str | Path, new_folder: str | Path) -> Diff:
    """Compare two releases on disk. Raises BadInput for a file that is not the one of its manifest.

    A table whose files are the same bytes in both is not read, and need not be there. Of any other, the row ids of
    the old one are held with 16 bytes for the content of each row: some 200 bytes a row.
    """
    old, new = Path(old_folder), Path(new_folder)
    before, after = read(old), read(new)
    tables: dict[str, TableDiff] = {}
    for name in sorted(before.tables.keys() | after.tables.keys()):
        sides = _side(old, name, before), _side(new, name, after)
        if sides[0] is None or sides[1] is None:
            tables[name] = _come_or_gone(*sides)
        elif found := _compared(sides[0], sides[1]):
            tables[name] = found
    return Diff(tables)


@dataclass(frozen=True)
class _Side:
    """A table in one of the two releases."""

    folder: Path
    name: str
    table: Table

    @property
    def fields(self) -> Mapping[str, str]:
        return contract(self.name, self.table)

    @property
    def count(self) -> int:
        return sum(file.rows for files in self.table.splits.values() for file in files)

    def batches(self, fields: Sequence[str]) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Every batch with the name of its split, splits sorted."""
        for split in sorted(self.table.splits):
            for batch in batches(self.folder, self.name, self.table, split, fields):
                yield split, batch

    def digests(self, fields: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The id of every row, and a digest of its split and those fields (`id` is the first of them)."""
        for split, batch in self.batches(fields):
            for values in zip(*(batch.column(name).to_pylist() for name in fields), strict=True):
                # repr tells any two strings, numbers and lists of them apart, and is the fastest that does
                yield values[0], hashlib.blake2b(repr((split, values)).encode(), digest_size=16).digest()

    def rows(self, fields: Sequence[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows of those ids, with `split` among the fields."""
        found: dict[str, dict[str, Any]] = {}
        wanted = pa.array(ids, pa.string())
        for split, batch in self.batches(fields):
            for row in batch.filter(pc.is_in(batch.column("id"), value_set=wanted)).to_pylist():
                found[row["id"]] = {"split": split, **row}
        return found


def _side(folder: Path, name: str, release: Release) -> _Side | None:
    return _Side(folder, name, release.tables[name]) if name in release.tables else None


def _come_or_gone(old: _Side | None, new: _Side | None) -> TableDiff:
    return TableDiff(
        change="removed" if new is None else "added",
        rows_before=0 if old is None else old.count,
        rows_after=0 if new is None else new.count,
        fields_added={} if new is None else dict(new.fields),
        fields_removed={} if old is None else dict(old.fields),
        fields_retyped={},
        splits_added=() if new is None else tuple(sorted(new.table.splits)),
        splits_removed=() if old is None else tuple(sorted(old.table.splits)),
    )


def _compared(old: _Side, new: _Side) -> TableDiff | None:
    before, after = old.fields, new.fields
    found = TableDiff(
        change="changed",
        rows_before=old.count,
        rows_after=new.count,
        fields_added={name: kind for name, kind in after.items() if name not in before},
        fields_removed={name: kind for name, kind in before.items() if name not in after},
        fields_retyped={n: (kind, after[n]) for n, kind in before.items() if after.get(n, kind) != kind},
        splits_added=tuple(sorted(new.table.splits.keys() - old.table.splits.keys())),
        splits_removed=tuple(sorted(old.table.splits.keys() - new.table.splits.keys())),
        **_compared_rows(old, new),
    )
    nothing = TableDiff("changed", found.rows_before, found.rows_after, {}, {}, {}, (), ())
    return None if found == nothing else found


def _compared_rows(old: _Side, new: _Side) -> dict[str, Any]:
    """The part of a TableDiff that is about rows, over the fields that both sides have with one type."""
    if old.table.splits == new.table.splits:
        return {}
    fields = [name for name, kind in old.fields.items() if new.fields.get(name) == kind and name != "id"]
    if not old.fields.get("id") == new.fields.get("id") == "string":
        raise BadInput(f"table {old.name} has no ids in one of the two releases; its rows cannot be compared")
    known = dict(old.digests(["id", *fields]))
    count: Counter[str] = Counter()
    examples: dict[str, list[str]] = {"added": [], "changed": []}
    for id, digest in new.digests(["id", *fields]):
        was = known.pop(id, None)
        if was == digest:
            continue
        what = "added" if was is None else "changed"
        count[what] += 1
        if count[what] <= EXAMPLES:
            examples[what].append(id)
    return {
        "rows_added": count["added"],
        "rows_removed": len(known),
        "rows_changed": count["changed"],
        "added_ids": tuple(examples["added"]),
        "removed_ids": tuple(islice(known, EXAMPLES)),
        "changed_ids": _changed_fields(old, new, ["id", *fields], examples["changed"]),
    }


def _changed_fields(old: _Side, new: _Side, fields: Sequence[str], ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    if not ids:
        return {}
    before, after = old.rows(fields, ids), new.rows(fields, ids)
    return {id: tuple(name for name in after[id] if before[id][name] != after[id][name]) for id in ids}
