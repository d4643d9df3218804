"""Exporting a split of a release in the format of other training code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exabench.core.errors import BadInput, UnknownName
from exabench.core.rows import Row
from exabench.data.exports import EXPORTS, Exported
from exabench.data.releases import read, rows


def export(folder: str | Path, table: str, format: str, to: str | Path, *, split: str = "train") -> Exported:
    """Write a split of a table of the release in `folder` to `to`, in one of the formats of data/exports.

        exabench.export("my-build/release", "listwise", "sentence_transformers", "train.parquet").rows

    A hyphen in the format's name counts as an underscore. The file (or BEIR's folder) appears whole or not at all, and
    the same rows give the same bytes. Raises UnknownName for a format, table or split, BadInput for a format that
    cannot hold the table's family and for a damaged release, CannotWrite.
    """
    name = format.replace("-", "_")
    exporter = EXPORTS[name]()
    release = read(folder)
    if table not in release.tables:
        raise UnknownName("table", table, release.tables, file=folder)
    family = release.tables[table].family
    if family not in exporter.families:
        formats = ", ".join(formats_of(family)) or "no format"
        raise BadInput(
            f"table {table} contains {family} rows, and {name} cannot hold them; export it as: {formats}", file=folder
        )
    written: Exported = exporter.write(family, split, _Split(folder, table, split), Path(to))
    return written


def formats_of(family: str) -> list[str]:
    """The formats that rows of the family can be written in."""
    return [name for name in EXPORTS if family in EXPORTS[name].families]


@dataclass(frozen=True)
class _Split:
    """The rows of a split, read anew (and checked against the manifest) each time they are gone through."""

    folder: str | Path
    table: str
    split: str

    def __iter__(self) -> Iterator[Row]:
        return rows(self.folder, self.table, self.split)
