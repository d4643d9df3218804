"""Parquet: a column for queries, one for passages, and one for scores, ranks or grades."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from exabench.core.errors import REASON, BadInput, printable
from exabench.core.files import USUAL_BOUND
from exabench.measure.columns import Columns, Names, named_columns, row_names

MAGIC = b"PAR1"
_ALWAYS_READ = 1_000_000  # rows, in however few bytes


def columns(data: bytes, file: str | Path, values: Names) -> Columns:
    """The columns of a Parquet file. Raises BadInput."""
    import pyarrow.parquet as pq  # it takes long to import

    try:
        about = pq.ParquetFile(pa.BufferReader(data))
        if about.metadata.num_rows > USUAL_BOUND.lines:
            raise BadInput(f"has more than {USUAL_BOUND.lines:,} rows", file=file)
        if about.metadata.num_rows > max(_ALWAYS_READ, len(data)):  # equal rows: a passage twice is refused in the end
            raise BadInput(f"has {about.metadata.num_rows:,} rows in {len(data):,} bytes, as no run has", file=file)
        names = about.schema_arrow.names
        found = row_names(names, values)
        wanted = [name for name in found[:4] if name is not None]
        for name in wanted:
            if names.count(name) > 1:
                raise BadInput(f"has the column {name} more than once", file=file)
        # One text packs into few bytes however often it is repeated: each is read once, with the rows that hold it.
        texts = []
        for name in wanted:
            if pa.types.is_string(about.schema_arrow.field(name).type):
                texts.append(name)
        source = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
        size = 0
        for batch in source.iter_batches(columns=texts):
            size += sum(map(_text_bytes, batch.columns))
            if size > USUAL_BOUND.bytes:
                raise BadInput(f"has more than {USUAL_BOUND.bytes:,} bytes of ids", file=file)
        table = source.read(wanted)
    except (pa.ArrowException, OSError) as error:
        reason = printable(str(error), REASON)
        raise BadInput(f"is not a whole Parquet file ({reason})", file=file) from error
    cells = {name: _cells(table[name]) for name in wanted}
    # Data frames keep ids of digits as whole numbers; the same ids are texts in the judgements.
    for name in (found.query, found.passage):
        if name in cells and pa.types.is_integer(table[name].type):
            cells[name] = list(map(str, cells[name]))
    return named_columns(cells, names, values, file)


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """A column as Python values; a text that is repeated is made once."""
    if not pa.types.is_dictionary(column.type) or column.null_count:
        return column.to_pylist()
    texts = column.unify_dictionaries().combine_chunks()
    each = texts.dictionary.to_pylist()
    return [each[place] for place in np.from_dlpack(texts.indices).tolist()]


def _text_bytes(cells: pa.Array) -> int:
    """How many bytes the texts of a column take when each is written in full."""
    lengths = pc.binary_length(cells.dictionary)
    return pc.sum(pc.take(lengths, cells.indices)).as_py() or 0
