"""Small tables of results, as notebooks show them: HTML, and a data frame where pandas is installed."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from exabench.core.errors import MissingExtra


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table under its title; numbers are shown with four digits."""
    lines = [f"<table><caption>{html.escape(title)}</caption>", _line("th", header)]
    for row in rows:
        lines.append(_line("td", [shown(cell) for cell in row]))
    return "\n".join([*lines, "</table>"])


def _line(tag: str, cells: Sequence[str]) -> str:
    inside = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inside}</tr>"


def shown(cell: object) -> str:
    """A cell as text: a number with four digits, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.4f}"
    return str(cell)


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A pandas DataFrame with a row for each of the mappings, their keys as columns. Raises MissingExtra."""
    try:
        import pandas  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtra("to_pandas() needs a package: pip install pandas") from error
    return pandas.DataFrame(list(rows))
