"""The tables of a release as Parquet files: their schema, and writing rows as they come."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.core.errors import BadInput, printable
from exabench.core.files import file_digest, replacing_folder, writing
from exabench.core.rows import FAMILIES, DataFile, Row, check_row

ROWS_PER_GROUP = 1_000  # what a reader holds at once: some 20 MB of the widest rows, 1 MB of the narrowest
ROWS_PER_FILE = 100_000
# At most 96 characters, as for names on the Hub.
_TABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_SPLIT = re.compile(r"[a-z][a-z0-9_]{0,63}")  # no hyphen: the glob <split>-*.parquet never meets another split


def schema(family: str) -> pa.Schema:
    """The arrow schema of a family's files, with the metadata from which `datasets` reads the Features.

    A list is noted as a `Sequence`, the one name for it that every version of `datasets` knows (2, 3, 4 and 5).
    """
    fields: dict[str, pa.DataType] = {}
    noted: dict[str, Any] = {}
    for name, kind in FAMILIES[family].items():
        inner = kind.removeprefix("list<").removesuffix(">")
        value = {"dtype": inner.replace("double", "float64"), "_type": "Value"}
        fields[name] = pa.type_for_alias(inner)
        noted[name] = value
        if kind != inner:
            fields[name] = pa.list_(fields[name])
            noted[name] = {"feature": value, "_type": "Sequence"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": noted}})})


def fields_of(found: pa.Schema) -> dict[str, str]:
    """Field and type of a Parquet file, in the words of the families. Raises BadInput for a field given twice."""
    fields: dict[str, str] = {}
    for field in found:
        if field.name in fields:
            raise BadInput(f"has the field {printable(field.name)!r} twice")
        fields[field.name] = str(field.type)
        if pa.types.is_list(field.type):  # arrow names the item, too
            fields[field.name] = f"list<{field.type.value_type}>"
    return fields


def file_name(table: str, split: str, part: int, parts: int) -> str:
    """Where in a release a part of a split lies."""
    return f"data/{table}/{split}-{part:05d}-of-{parts:05d}.parquet"


def check_names(table: str, splits: Iterable[str], file: Path | None = None) -> None:
    """Raise BadInput for a name that cannot be in a path, a glob and the Hub's YAML alike."""
    if not _TABLE.fullmatch(table):
        raise BadInput(
            f"table {printable(table)!r}: name it with letters, digits, dots, hyphens and underscores", file=file
        )
    for split in splits:
        if not _SPLIT.fullmatch(split):
            raise BadInput(
                f"split {printable(split)!r} of {printable(table)}: name it with lower case letters, digits, _",
                file=file,
            )


def write_table(
    folder: str | Path,
    name: str,
    family: str,
    rows_by_split: Mapping[str, Iterable[Row]],
    *,
    rows_per_file: int = ROWS_PER_FILE,
) -> Mapping[str, tuple[DataFile, ...]]:
    """Write a table's rows below `folder`/data/`name` as they come, and say what was written for each split.

    Held at once are one row group and, for the check that no two rows have one id, all ids. The table's folder
    appears whole, in place of the one that was there, or not at all. A split without rows leaves no file and is not
    among the answers. One order of rows gives the same bytes every time (under one version of pyarrow).
    Raises BadInput for a row that is not of the family or whose id was there before, CannotWrite.
    """
    check_names(name, rows_by_split)
    if rows_per_file < 1:
        raise BadInput(f"rows_per_file must be 1 or more, not {rows_per_file}")
    place = Path(folder) / "data" / name
    kinds = schema(family)
    ids = set[str]()
    files = {}
    try:
        with replacing_folder(place) as new:
            for split, rows in rows_by_split.items():
                good_rows = _good_rows(family, rows, ids)
                parts: list[Path] = []
                # A file is opened for a row that exists, so that no empty one follows a full last one.
                for first in good_rows:
                    part = new / f"{split}-{len(parts):05d}"
                    parts.append(part)
                    rows_of_file = chain([first], islice(good_rows, rows_per_file - 1))
                    # The page index lets the Hub's viewer read one row without its row group.
                    with pq.ParquetWriter(
                        part, kinds, version="2.6", compression="zstd", compression_level=3, write_page_index=True
                    ) as writer:
                        while group := list(islice(rows_of_file, ROWS_PER_GROUP)):
                            writer.write_table(_arrow_table(group, kinds), row_group_size=ROWS_PER_GROUP)
                # Their names say how many files there are, which is not known before the last one is written.
                named = []
                for number, part in enumerate(parts):
                    path = file_name(name, split, number, len(parts))
                    digest = file_digest(part).removeprefix("sha256:")
                    rows_of_part = pq.read_metadata(part).num_rows
                    named.append(DataFile(path, digest, part.stat().st_size, rows_of_part))
                    os.rename(part, new / Path(path).name)
                if named:
                    files[split] = tuple(named)
    except _SourceError as error:
        raise error.args[0] from None
    if not files:
        with writing(place):
            place.rmdir()
    return files


class _SourceError(Exception):
    """An error of the system that the rows' source raised; it says nothing about the disk that is written to."""


def _good_rows(family: str, rows: Iterable[Row], ids: set[str]) -> Iterator[Row]:
    """Rows that were checked against their family and `ids`, those of the rows before."""
    try:
        for row in rows:
            good = check_row(family, row)
            if good["id"] in ids:
                raise BadInput("two rows have one id; each row of a table needs its own", id=good["id"])
            ids.add(good["id"])
            yield good
    except OSError as error:
        raise _SourceError(error) from error


def _arrow_table(rows: list[Row], kinds: pa.Schema) -> pa.Table:
    """Rows as arrow; where they cannot be, one by one, so that the error names the row."""
    try:
        return pa.Table.from_pylist(rows, schema=kinds)
    except (ValueError, OverflowError) as error:  # half of a surrogate pair, a number over 64 bits
        if len(rows) == 1:
            raise BadInput(f"a row cannot be stored ({error})", id=rows[0]["id"]) from error
    return pa.concat_tables(_arrow_table([row], kinds) for row in rows)
