"""A table of text: columns between tabs, commas or spaces under a header that names them, as pandas writes one."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.measure.columns import Columns, GivenRow, Names, columns_of, row_names

_LONGEST = 10_000  # characters of a header; csv raises an error for far longer cells
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def table_columns(text: str, file: str | Path, values: Names) -> Columns | None:
    """The columns of a table, or None where the first line is not a header. Raises BadInput."""
    start = len(text) - len(text.lstrip("\r\n"))
    first = text[start : start + _LONGEST].partition("\n")[0].rstrip("\r")
    if len(first) == _LONGEST:
        return None
    for delimiter in "\t, ":
        names = next(csv.reader([first], delimiter=delimiter), [])
        # A line of a run may hold such words as ids, and then a number.
        if any(_NUMBER.fullmatch(name.strip()) for name in names):
            continue
        found = row_names(names, values)
        if found.query is not None and found.passage is not None and (found.value or found.rank):
            return columns_of(_rows(text, file, delimiter, found), file)
    return None


def _rows(text: str, file: str | Path, delimiter: str, names: GivenRow) -> Iterator[GivenRow]:
    """The rows under the header; `names` says what it calls the columns."""
    reader = csv.reader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter)
    try:
        header = next(reader)
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                found = plural(len(cells), "column")
                raise BadInput(f"has {found} where the header has {len(header)}", file=file, line=reader.line_num)
            row = []
            for name in names[:4]:
                cell = None
                if name is not None:
                    cell = cells[header.index(name)].strip()
                row.append(cell)
            query, passage, value, rank = row
            yield GivenRow(query, passage, _number(value), _number(rank), reader.line_num)
    except csv.Error as error:
        raise BadInput(f"cannot be read as csv ({error})", file=file, line=reader.line_num) from error


def _number(cell: str | None) -> Any:
    """A cell as a number; whatever else it holds is refused later, as it is there."""
    if cell is None or not _NUMBER.fullmatch(cell):
        return cell
    return float(cell)
