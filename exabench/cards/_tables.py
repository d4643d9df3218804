"""What a table comes to: its splits in order, their rows and bytes, its fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exabench.errors import BadInput
from exabench.rows import FAMILIES, DataFile, Table

_ORDER = ("train", "validation", "test")


def splits_of(table: Table) -> dict[str, tuple[DataFile, ...]]:
    """The files by split: train, validation, test, then the others by name."""
    order = sorted(table.splits, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))
    return {name: table.splits[name] for name in order}


def files_of(tables: Iterable[Table]) -> list[DataFile]:
    """The files of the tables, each table's splits in order."""
    return [file for table in tables for files in splits_of(table).values() for file in files]


def rows_in(files: Iterable[DataFile]) -> int:
    """The rows of files."""
    return sum(file.rows for file in files)


def bytes_in(files: Iterable[DataFile]) -> int:
    """The bytes of files."""
    return sum(file.bytes for file in files)


def fields_of(table: Table) -> Mapping[str, str]:
    """Field and type, in the order of the columns. Raises BadInput where neither table nor family says it."""
    if not table.fields and table.family not in FAMILIES:
        raise BadInput(f"a table of the unknown family {table.family!r} must list its fields")
    known = FAMILIES.get(table.family, {})
    fields = table.fields or known
    return {name: fields[name] for name in [*(n for n in known if n in fields), *sorted(fields.keys() - known.keys())]}
