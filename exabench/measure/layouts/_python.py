"""Python values: dicts, DataFrames (pandas, polars), Arrow tables, data sets, ranx.Run and Qrels, rows of tuples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exabench.core.errors import BadInput, printable
from exabench.measure.columns import (
    Columns,
    GivenRow,
    Names,
    columns_of,
    named_columns,
    nested_columns,
    row_names,
)


def python_columns(value: Any, values: Names) -> Columns:
    """The columns of a Python value. `values` are the names of scores or of grades. Raises BadInput."""
    if isinstance(value, Mapping):
        return nested_columns(value)
    names = getattr(value, "column_names", None)  # pyarrow.Table, datasets.Dataset
    if names is None:
        names = getattr(value, "columns", None)  # pandas, polars
    if names is not None:
        if hasattr(value, "to_pydict"):
            value = value.to_pydict()
        return named_columns(value, names, values)
    if hasattr(value, "to_dict"):  # ranx
        return nested_columns(value.to_dict())
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return columns_of(_row(item, values) for item in value)
    raise BadInput(f"expected {{query: {{passage: value}}}}, a DataFrame or rows, not {type(value).__name__}")


def _row(item: Any, values: Names) -> GivenRow:
    """A row of ir_datasets or ir_measures (its fields have names), a record, or (query, passage, value)."""
    fields = getattr(item, "_fields", None)  # of a named tuple
    if fields is not None:
        item = dict(zip(fields, item, strict=True))
    if isinstance(item, Mapping):
        names = row_names(item, values)
        if names.query is None or names.passage is None:
            raise BadInput(f"a row has the fields {', '.join(map(str, item))}, and none is a query_id or a doc_id")
        return GivenRow(item[names.query], item[names.passage], item.get(names.value), item.get(names.rank))
    if isinstance(item, tuple | list) and len(item) == 3:
        return GivenRow(*item)
    raise BadInput(f"expected rows of (query, passage, value), not {printable(repr(item))}")
