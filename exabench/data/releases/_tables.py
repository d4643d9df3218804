"""The tables of a release as Parquet files: their schema, and writing rows as they come."""

from __future__ import annotations

import array
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exabench.core.errors import BadInput
from exabench.core.files import file_digest, replacing_folder, writing
from exabench.core.rows import FAMILIES, DataFile, Row, checked_row

if TYPE_CHECKING:
    import datasets

ROWS_PER_GROUP = 1_000  # what a reader holds at once: some 20 MB of the widest rows, 1 MB of the narrowest
ROWS_PER_FILE = 100_000
_TABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_SPLIT = re.compile(r"[a-z][a-z0-9_]{0,63}")  # no hyphen: the glob <split>-*.parquet never meets another split
_TYPES = {"string": pa.string(), "bool": pa.bool_(), "int64": pa.int64(), "double": pa.float64()}
_NOTED = {"double": "float64"}  # a type that `datasets` calls otherwise
_FORMAT: Mapping[str, Any] = {
    "version": "2.6",
    "compression": "zstd",
    "compression_level": 3,
    "write_page_index": True,  # lets the Hub's viewer read one row without its row group
}


def features(family: str) -> datasets.Features:
    """The family's contract as `datasets` holds it: a Value for each field, a List of Values for each list."""
    import datasets

    return datasets.Features.from_arrow_schema(schema(family))


def schema(family: str) -> pa.Schema:
    """The arrow schema of a family's files, with the metadata from which `datasets` reads the Features.

    A list is noted as a `Sequence`, the one name for it that every version of `datasets` knows (2, 3, 4 and 5).
    """
    fields: dict[str, pa.DataType] = {}
    noted: dict[str, Any] = {}
    for name, kind in FAMILIES[family].items():
        inner = kind.removeprefix("list<").removesuffix(">")
        value = {"dtype": _NOTED.get(inner, inner), "_type": "Value"}
        fields[name] = _TYPES[inner] if kind == inner else pa.list_(_TYPES[inner])
        noted[name] = value if kind == inner else {"feature": value, "_type": "Sequence"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": noted}})})


def fields_of(found: pa.Schema) -> dict[str, str]:
    """Field and type of a Parquet file, in the words of the families."""
    fields = {}
    for field in found:
        fields[field.name] = f"list<{field.type.value_type}>" if pa.types.is_list(field.type) else str(field.type)
    return fields


def file_name(table: str, split: str, part: int, parts: int) -> str:
    """Where in a release a part of a split lies."""
    return f"data/{table}/{split}-{part:05d}-of-{parts:05d}.parquet"


def check_names(table: str, splits: Iterable[str], file: Path | None = None) -> None:
    """Raise BadInput for a name that cannot stand in a path, a glob and the Hub's YAML alike."""
    if not _TABLE.fullmatch(table):
        raise BadInput(f"table {table!r}: name it with letters, digits, dots, hyphens and underscores", file=file)
    for split in splits:
        if not _SPLIT.fullmatch(split):
            raise BadInput(f"split {split!r} of {table}: name it with lower case letters, digits, _", file=file)


def write_table(
    folder: str | Path,
    name: str,
    family: str,
    rows_by_split: Mapping[str, Iterable[Row]],
    *,
    rows_per_file: int = ROWS_PER_FILE,
) -> Mapping[str, tuple[DataFile, ...]]:
    """Write a table's rows below `folder`/data/`name` as they come, and say what was written for each split.

    Held at once are one row group and, for the check that no two rows have one id, 8 bytes a row. The table's folder
    appears whole, in place of the one that was there, or not at all. A split without rows leaves no file and is not
    among the answers. One order of rows gives the same bytes every time (under one version of pyarrow).
    Raises BadInput for a row that is not of the family or whose id was there before, CannotWrite.
    """
    check_names(name, rows_by_split)
    if rows_per_file < 1:
        raise BadInput(f"rows_per_file must be 1 or more, not {rows_per_file}")
    place = Path(folder) / "data" / name
    ids = array.array("Q")
    files: dict[str, tuple[DataFile, ...]] = {}
    try:
        with replacing_folder(place) as new:
            parts = {}
            for split, rows in rows_by_split.items():
                parts[split] = _write_split(new / split, family, _checked(family, rows, ids), rows_per_file)
            _check_ids(ids, [file for written in parts.values() for file in written])
            for split, written in parts.items():
                if written:
                    files[split] = tuple(_named(name, split, written))
    except _SourceError as error:
        raise error.args[0] from None
    if not files:
        with writing(place):
            place.rmdir()
    return files


class _SourceError(Exception):
    """An error of the system that the rows' source raised; it says nothing about the disk that is written to."""


def _checked(family: str, rows: Iterable[Row], ids: array.array[int]) -> Iterator[Row]:
    """Rows held against their family; `ids` takes a digest of each one's id."""
    source = iter(rows)
    while True:
        try:
            row = next(source, None)
        except OSError as error:
            raise _SourceError(error) from error
        if row is None:
            return
        good = checked_row(family, row)
        digest = hashlib.blake2b(good["id"].encode("utf-8", "surrogatepass"), digest_size=8).digest()
        ids.append(int.from_bytes(digest, "little"))
        yield good


def _write_split(stem: Path, family: str, rows: Iterator[Row], rows_per_file: int) -> list[Path]:
    """The files of a split, named by their numbers alone: how many there will be is not known yet."""
    files: list[Path] = []
    kinds = schema(family)
    while (first := next(rows, None)) is not None:
        file = stem.with_name(f"{stem.name}-{len(files):05d}")
        part = chain([first], islice(rows, rows_per_file - 1))
        with pq.ParquetWriter(file, kinds, **_FORMAT) as writer:
            while some := list(islice(part, ROWS_PER_GROUP)):
                writer.write_table(_table(some, kinds), row_group_size=ROWS_PER_GROUP)
        files.append(file)
    return files


def _table(rows: list[Row], kinds: pa.Schema) -> pa.Table:
    try:
        return pa.Table.from_pylist(rows, schema=kinds)
    except (ValueError, OverflowError) as error:  # half of a surrogate pair, a number over 64 bits
        if len(rows) == 1:
            raise BadInput(f"a row cannot be stored ({error})", id=rows[0]["id"]) from error
    return pa.concat_tables(_table([row], kinds) for row in rows)


def _check_ids(ids: array.array[int], files: list[Path]) -> None:
    """Raise BadInput with an id that two rows have; `ids` are the digests of all of them, in order."""
    digests = np.frombuffer(ids, dtype=np.uint64)
    values, counts = np.unique(digests, return_counts=True)
    if not (counts > 1).any():
        return
    place = int(np.flatnonzero(digests == values[counts > 1][0])[0])
    for file in files:
        column = pq.read_table(file, columns=["id"]).column("id")
        if place < len(column):
            raise BadInput("two rows have one id; each row of a table needs its own", id=column[place].as_py())
        place -= len(column)


def _named(table: str, split: str, files: list[Path]) -> Iterator[DataFile]:
    """Give the files of a split their names, and say what each of them is."""
    for part, file in enumerate(files):
        path = file_name(table, split, part, len(files))
        digest = file_digest(file).removeprefix("sha256:")
        rows = pq.read_metadata(file).num_rows
        yield DataFile(path, digest, file.stat().st_size, rows)
        os.rename(file, file.with_name(PurePosixPath(path).name))
