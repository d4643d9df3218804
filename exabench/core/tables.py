"""Small tables of results: HTML as notebooks show it, LaTeX, CSV, and a data frame where pandas is installed."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

from exabench.core.errors import MissingExtra


def html_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table under its title; numbers are shown with four decimals."""
    lines = [f"<table><caption>{html.escape(title)}</caption>", _line("th", header)]
    for row in rows:
        lines.append(_line("td", [_cell_text(cell) for cell in row]))
    return "\n".join([*lines, "</table>"])


def _line(tag: str, cells: Sequence[str]) -> str:
    inside = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inside}</tr>"


def _cell_text(cell: object) -> str:
    """A cell as text: a number with four decimals, nothing for None."""
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


def latex_table(columns: str, header: str, rows: Sequence[str]) -> str:
    """A LaTeX table (it needs the package booktabs) of lines that are LaTeX already, without their ends."""
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", header + r" \\", r"\midrule"]
    lines += [row + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def latex_text(text: str) -> str:
    """Text as LaTeX prints it, whatever signs are in it."""
    text = text.replace("\\", r"\textbackslash ")  # first: the signs below get a backslash of their own
    for sign in "&%$#_{}":
        text = text.replace(sign, f"\\{sign}")
    # With a backslash these two are accents over the next letter.
    text = text.replace("~", r"\textasciitilde ").replace("^", r"\textasciicircum ")
    return text


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as CSV with a header, numbers as they are."""
    out = io.StringIO(newline="")  # as csv wants it: a line break inside a cell stays what it is
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
