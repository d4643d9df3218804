"""What files that show the whole board are put together from, kept by key: of those that stay, nothing is made again.

A file of rows is an Arrow table behind the checksum of its bytes; any build can do without it. Nothing here calls
pa.array (nor what calls it): that would import pandas, which takes longer than all the rest.
"""

from __future__ import annotations

import json
import zlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import json as arrow_json

from exabench.files import write

FRESH = 0.002  # of the keys: what is less is made again sooner than written
_KEY = "_key"
_AT_ONCE = 500  # rows that are put into a table together
_CHECKSUM = 8

Made = Callable[[int], Iterable[Mapping[str, Any]]]


def rows(file: Path | None, schema: pa.Schema, settings: str, keys: Sequence[str], make: Made) -> pa.Table:
    """The rows of every key, in the order of the keys: those of the last build, or those that `make(place)` gives.

    Rows are made as JSON's values; half a character, which UTF-8 cannot hold, becomes a question mark.
    `settings` are what all of them depend on besides their keys; what depended on others is made again.
    """
    whole = schema.insert(0, pa.field(_KEY, pa.string())).with_metadata({"settings": settings})
    old = (_read(file, whole) if file else None) or pa.Table.from_batches([], whole)
    there, new, chosen = _places(old), _New(whole, old.num_rows), list[int]()
    for place, key in enumerate(keys):
        chosen += there.get(key) or new.add(key, make(place))
    indices = pa.Array.from_buffers(pa.int64(), len(chosen), [None, pa.py_buffer(array("q", chosen))])
    table = pa.concat_tables([old, *new.tables()]).take(indices)
    gone = len(there) + new.keys - len(keys)
    if file and max(new.keys, gone) > len(there) * FRESH:
        _write(file, table)
    return table.drop_columns([_KEY]).replace_schema_metadata(None).combine_chunks()


def texts(table: pa.Table, column: str) -> list[bytes]:
    """The texts of a column, as UTF-8."""
    found: list[bytes] = table[column].cast(pa.large_binary()).to_pylist()
    return found


class _New:
    """Rows that no table has yet; Arrow holds them in a fraction of the memory that Python takes."""

    def __init__(self, schema: pa.Schema, first: int) -> None:
        self.keys = 0
        self._schema, self._next = schema, first
        self._waiting: list[str] = []
        self._tables: list[pa.Table] = []

    def add(self, key: str, made: Iterable[Mapping[str, Any]]) -> range:
        """The places of the rows of a key."""
        rows = [json.dumps({_KEY: key, **row}, ensure_ascii=False, allow_nan=False) + "\n" for row in made]
        self._waiting += rows
        self._next += len(rows)
        self.keys += 1
        if len(self._waiting) >= _AT_ONCE:
            self._pack()
        return range(self._next - len(rows), self._next)

    def tables(self) -> list[pa.Table]:
        """All of them."""
        self._pack()
        return self._tables

    def _pack(self) -> None:
        text, self._waiting = "".join(self._waiting).encode("utf-8", "replace"), []
        if text:
            parsing = arrow_json.ParseOptions(explicit_schema=self._schema)
            reading = arrow_json.ReadOptions(use_threads=False, block_size=2**24)
            table = arrow_json.read_json(pa.BufferReader(text), reading, parsing)
            self._tables.append(table.replace_schema_metadata(self._schema.metadata))


def _places(table: pa.Table) -> dict[str, range]:
    """Where the rows of each key are; those of a key stand together."""
    found: dict[str, range] = {}
    for place, key in enumerate(table[_KEY].to_pylist()):
        found[key] = range(found[key].start if key in found else place, place + 1)
    return found


def _write(file: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    write(file, b"%08x" % zlib.crc32(data) + data)


def _read(file: Path, schema: pa.Schema) -> pa.Table | None:
    """What the file holds; None where it is not there, not whole, or of other columns or settings."""
    try:
        data = memoryview(file.read_bytes())
        if data[:_CHECKSUM] != b"%08x" % zlib.crc32(data[_CHECKSUM:]):
            return None
        table = pa.ipc.open_file(pa.py_buffer(data[_CHECKSUM:])).read_all()
        return table if table.schema.equals(schema, check_metadata=True) else None
    except (OSError, pa.ArrowException):
        return None
