"""Values as Markdown: text that stays text, figures that stay exact, tables whose rows keep their cells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TITLES = {
    "blocks": "Queries by source and first stage",
    "first stages": "First stages (share of rows)",
    "labels": "Labels (share of rows)",
    "leaks": "Overlap with benchmark queries and judged passages",
    "lists": "Teacher's orders (share of rows)",
    "overlap": "Source overlap (mean share of passages that two first stages have in common)",
    "query sources": "Sources of the queries (share of rows)",
    "negative sources": "First stages that brought the negatives",
    "repairs": "What the teacher's orders needed",
}
"""What reports are known to hold; any other key is its own title."""

_FIRST = ("rows", "rate", "mean", "min", "p5", "p50", "p95", "max")  # columns that have an order of their own


class Markdown(str):
    """Text that is Markdown already; whatever else a template shows is escaped."""


def plain(value: object) -> Markdown:
    """A value as text that stays text anywhere in a Markdown line: no markup, no HTML, no break, no end of a cell."""
    line = " ".join("".join(c if c.isprintable() else " " for c in figure(value)).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markdown(re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", line))


def code(value: object) -> Markdown:
    """A value in code type; one that might break out of it, or out of a table, is shown as plain text instead."""
    shown = figure(value)
    return Markdown(f"`{shown}`") if re.fullmatch(r"[\w./@:+=,()-]+( [\w./@:+=,()-]+)*", shown) else plain(shown)


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table. Cells are escaped where they are no Markdown, so that every row has as many as the header."""
    lines = [header, [Markdown("---")] * len(header), *rows]
    cells = ([cell if isinstance(cell, Markdown) else plain(cell) for cell in line] for line in lines)
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in cells))


def figures(report: Mapping[str, Any]) -> Markdown:
    """A report by its shape, sorted: plain values in one table, mappings of the same keys in one, each other alone."""
    keys = sorted(report, key=natural)
    parts = []
    if simple := [key for key in keys if _is_simple(report[key])]:
        parts.append(table(["", "figure"], ([title(key), report[key]] for key in simple)))
    alike: dict[tuple[str, ...], dict[str, Any]] = {}
    for key in keys:
        if _is_record(report[key]):
            alike.setdefault(tuple(sorted(report[key])), {})[key] = report[key]
    grids = [rows for rows in alike.values() if len(rows) > 1]
    parts += [_grid({title(key): row for key, row in rows.items()}) for rows in grids]
    done = {*simple, *(key for rows in grids for key in rows)}
    parts += [Markdown(f"#### {plain(title(key))}\n\n{_value(report[key])}") for key in keys if key not in done]
    return Markdown("\n\n".join(parts))


def figure(value: object) -> str:
    """A value as people read it: whole numbers exactly, others to four digits."""
    if value is None or isinstance(value, bool):
        return "-" if value is None else "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def title(key: object) -> str:
    """What a key of a report is called."""
    words = str(key).replace("_", " ")
    return TITLES.get(words) or words[:1].upper() + words[1:]


def natural(key: object) -> tuple[tuple[bool, int, str], ...]:
    """Sorts p5 before p50 before p100, so that nothing hangs on the order in which a mapping was made."""
    parts = re.split(r"([0-9]+)", str(key))
    return tuple((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts)


def _value(value: Any) -> Markdown:
    """A value as a line, a list, or tables; its keys are data and shown as they are."""
    if isinstance(value, Mapping) and value:
        keys = sorted(value, key=lambda key: (_place(key), natural(key)))
        if all(_is_record(value[key]) for key in keys):
            return _grid({key: value[key] for key in keys})
        simple = [key for key in keys if _is_simple(value[key])]
        parts = [table(["", "figure"], ([key, value[key]] for key in simple))] if simple else []
        return Markdown("\n\n".join([*parts, *(f"{plain(k)}:\n\n{_value(value[k])}" for k in keys if k not in simple)]))
    if isinstance(value, list | tuple) and value:
        if all(_is_record(row) for row in value):
            return _grid({str(number): row for number, row in enumerate(value, 1)})
        return Markdown("\n".join(f"- {plain(item if _is_simple(item) else json.dumps(item))}" for item in value))
    return plain("none" if isinstance(value, Mapping | list | tuple) else value)


def _grid(rows: Mapping[str, Mapping[str, Any]]) -> Markdown:
    columns = sorted({key for row in rows.values() for key in row}, key=lambda key: (_place(key), natural(key)))
    return table(["", *columns], ([name, *(row.get(column, "") for column in columns)] for name, row in rows.items()))


def _place(key: str) -> int:
    return _FIRST.index(key) if key in _FIRST else len(_FIRST)


def _is_simple(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_record(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(_is_simple(item) for item in value.values())
