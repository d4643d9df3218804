"""The tables of a release as Parquet files: their schema, and writing rows as they come."""

from __future__ import annotations

import array
import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from exabench.errors import BadInput
from exabench.files import writing
from exabench.rows import FAMILIES, DataFile, Row, checked_row

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
    kinds = {field.name: field.type for field in found}
    return {n: f"list<{kind.value_type}>" if pa.types.is_list(kind) else str(kind) for n, kind in kinds.items()}


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
    data = Path(folder) / "data"
    place, new, old = data / name, data / f".{name}.new", data / f".{name}.old"
    ids = array.array("Q")
    try:
        with writing(new):
            _tidied(place, new, old)  # a process that was killed left them
            new.mkdir(parents=True)
        parts = {
            split: list(_written(new / split, family, _checked(family, rows, ids), rows_per_file))
            for split, rows in rows_by_split.items()
        }
        _no_id_twice(ids, [file for files in parts.values() for file in files])
        files = {split: tuple(_named(name, split, files)) for split, files in parts.items() if files}
        with writing(place):
            if place.exists():
                os.rename(place, old)
            os.rename(new, place)
            shutil.rmtree(old, ignore_errors=True)
            if not files:
                place.rmdir()
    finally:
        _tidied(place, new, old)
    return files


def _tidied(place: Path, new: Path, old: Path) -> None:
    """Leave one folder: the table in its place, or the old one where no new one took it."""
    if old.exists() and not place.exists():
        os.rename(old, place)
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _checked(family: str, rows: Iterable[Row], ids: array.array[int]) -> Iterator[Row]:
    for row in rows:
        good = checked_row(family, row)
        digest = hashlib.blake2b(good["id"].encode("utf-8", "surrogatepass"), digest_size=8).digest()
        ids.append(int.from_bytes(digest, "little"))
        yield good


def _written(stem: Path, family: str, rows: Iterator[Row], rows_per_file: int) -> Iterator[Path]:
    part = 0
    while (first := next(rows, None)) is not None:
        file = stem.with_name(f"{stem.name}-{part:05d}")
        _write_file(file, schema(family), chain([first], islice(rows, rows_per_file - 1)))
        yield file
        part += 1


def _write_file(file: Path, kinds: pa.Schema, rows: Iterator[Row]) -> None:
    """Write rows to a file. What the rows themselves raise on their way here passes through as it is."""
    with writing(file):
        writer = pq.ParquetWriter(file, kinds, **_FORMAT)
    try:
        while some := list(islice(rows, ROWS_PER_GROUP)):
            table = _table(some, kinds)
            with writing(file):
                writer.write_table(table, row_group_size=ROWS_PER_GROUP)
    except BaseException:
        with contextlib.suppress(OSError, pa.ArrowException):
            writer.close()
        raise
    with writing(file):
        writer.close()
        with open(file, "rb") as stream:
            os.fsync(stream.fileno())


def _table(rows: list[Row], kinds: pa.Schema) -> pa.Table:
    try:
        return pa.Table.from_pylist(rows, schema=kinds)
    except (ValueError, OverflowError) as error:  # half of a surrogate pair, a number over 64 bits
        if len(rows) == 1:
            raise BadInput(f"a row cannot be stored ({error})", id=rows[0]["id"]) from error
    return pa.concat_tables(_table([row], kinds) for row in rows)


def _no_id_twice(ids: array.array[int], files: list[Path]) -> None:
    """Raise BadInput with an id that two rows have; `ids` are the digests of all of them, in order."""
    digests = np.frombuffer(ids, dtype=np.uint64)
    found, counts = np.unique(digests, return_counts=True)
    if not (counts > 1).any():
        return
    place = int(np.flatnonzero(digests == found[counts > 1][0])[0])
    for file in files:
        column = pq.read_table(file, columns=["id"]).column("id")
        if place < len(column):
            raise BadInput("two rows have one id; each row of a table needs its own", id=column[place].as_py())
        place -= len(column)


def _named(table: str, split: str, files: list[Path]) -> Iterator[DataFile]:
    for part, file in enumerate(files):
        path = file_name(table, split, part, len(files))
        with writing(file), open(file, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            rows = pq.ParquetFile(stream).metadata.num_rows
            data = DataFile(path, digest, stream.seek(0, os.SEEK_END), rows)
            os.rename(file, file.with_name(Path(path).name))
        yield data
