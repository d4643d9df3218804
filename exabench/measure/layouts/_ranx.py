"""What ranx saves as .lz4: `{query: {passage: value}}` in CBOR, packed twice."""

from __future__ import annotations

import io
from pathlib import Path

from exabench.core.cbor import from_cbor
from exabench.core.errors import BadInput
from exabench.core.files import USUAL_BOUND, read_within_bounds
from exabench.core.unpacking import BROKEN, TooLarge, unpack
from exabench.measure.columns import Columns, nested_columns

MAGIC = b"\x04\x22\x4d\x18"  # LZ4 once more: the first packing is off already


def columns(data: bytes, file: str | Path) -> Columns:
    """The columns of such a file. Raises BadInput, MissingExtra."""
    try:
        content = read_within_bounds(unpack(io.BytesIO(data), len(data), USUAL_BOUND.bytes))
    except (*BROKEN, TooLarge) as error:
        raise BadInput(f"is not a whole file of ranx ({error})", file=file) from error
    table = from_cbor(content, file)
    if not isinstance(table, dict):
        raise BadInput("is not a file of ranx", file=file)
    return nested_columns(table, file)
