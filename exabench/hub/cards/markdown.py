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
    "list": "Passages in a list",
    "leaks": "Leaks of benchmark queries and judged passages",
    "lists": "Teacher's orders (share of rows)",
    "overlap": "Source overlap (mean share of passages that two first stages have in common)",
    "query sources": "Sources of the queries (share of rows)",
    "negatives": "Negatives in a row",
    "negative sources": "First stages that brought the negatives",
    "repairs": "What the teacher's orders needed",
}
"""Titles of the keys that reports are known to hold; any other key is its own title."""

_FIRST = "rows rate mean min p5 p50 p95 max".split()  # columns in an order that people expect


class Markdown(str):
    """Text that is Markdown already; whatever else a template shows is escaped."""


def plain(value: object) -> Markdown:
    """A value as text that stays text anywhere in a Markdown line: no markup, no HTML, no break, no end of a cell."""
    text = figure(value)
    for character in set(text):
        if not character.isprintable():
            text = text.replace(character, " ")
    line = " ".join(text.split())
    # The ampersand first, or it would escape the other two again.
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return Markdown(re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", line))


def code(value: object) -> Markdown:
    """A value in code type; one that might break out of it, or out of a table, is shown as plain text instead."""
    shown = figure(value)
    # Letters, digits and a few marks with single spaces between: nothing that ends code or a cell.
    if not re.fullmatch(r"[\w./@:+=,()-]+( [\w./@:+=,()-]+)*", shown):
        return plain(shown)
    return Markdown(f"`{shown}`")


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Markdown:
    """A table. Cells are escaped where they are not Markdown, so that every row has as many as the header."""
    lines = []
    for row in (header, [Markdown("---")] * len(header), *rows):
        cells = [cell if isinstance(cell, Markdown) else plain(cell) for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return Markdown("\n".join(lines))


def figures(report: Mapping[str, Any]) -> Markdown:
    """A report by its shape, sorted: plain values in one table, mappings of the same keys in one, the rest singly."""
    keys = sorted(report, key=_natural)
    simple = []
    alike: dict[tuple[str, ...], dict[str, Any]] = {}
    for key in keys:
        value = report[key]
        if _is_simple(value):
            simple.append((_title(key), value))
        elif _is_record(value):
            alike.setdefault(tuple(sorted(value)), {})[key] = value
    parts = []
    if simple:
        parts.append(table(["", "figure"], simple))
    in_grids = set[str]()
    for records in alike.values():
        if len(records) > 1:
            parts.append(_grid({_title(key): record for key, record in records.items()}))
            in_grids.update(records)
    for key in keys:
        if key not in in_grids and not _is_simple(report[key]):
            parts.append(Markdown(f"#### {plain(_title(key))}\n\n{_value(report[key])}"))
    return Markdown("\n\n".join(parts))


def figure(value: object) -> str:
    """A value as people read it: whole numbers exactly, others to four digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):  # before int, of which it is one
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        # Four digits of a greater one may need an exponent.
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def _title(key: object) -> str:
    words = str(key).replace("_", " ")
    return TITLES.get(words) or words[:1].upper() + words[1:]


def _natural(key: object) -> list[tuple[bool, int, str]]:
    """Sorts p5 before p50 before p100, so that nothing hangs on the order in which a mapping was made."""
    order = []
    for part in re.split(r"([0-9]+)", str(key)):
        order.append((not part.isdecimal(), int(part) if part.isdecimal() else 0, part))
    return order


def _column(key: str) -> tuple[Any, ...]:
    """Sorts columns: the known ones first, in their own order."""
    place = _FIRST.index(key) if key in _FIRST else len(_FIRST)
    return place, _natural(key)


def _value(value: Any) -> Markdown:
    """A value as a line, a list, or tables; its keys are data and shown as they are."""
    if not isinstance(value, Mapping | list | tuple):
        return plain(value)
    if not value:
        return plain("none")
    if isinstance(value, Mapping):
        if all(map(_is_record, value.values())):
            return _grid({key: value[key] for key in sorted(value, key=_column)})
        simple = []
        parts = []
        for key in sorted(value, key=_column):
            if _is_simple(value[key]):
                simple.append((key, value[key]))
            else:
                parts.append(Markdown(f"{plain(key)}:\n\n{_value(value[key])}"))
        if simple:
            parts.insert(0, table(["", "figure"], simple))
        return Markdown("\n\n".join(parts))
    if all(map(_is_record, value)):
        return _grid({str(number): row for number, row in enumerate(value, 1)})
    lines = []
    for item in value:
        shown = plain(item if _is_simple(item) else json.dumps(item))
        lines.append(f"- {shown}")
    return Markdown("\n".join(lines))


def _grid(records: Mapping[str, Mapping[str, Any]]) -> Markdown:
    """Records as the rows of one table; a value that one lacks is an empty cell."""
    columns = sorted(set().union(*records.values()), key=_column)
    rows = []
    for name, record in records.items():
        cells = [record.get(column, "") for column in columns]
        rows.append([name, *cells])
    return table(["", *columns], rows)


def _is_simple(value: object) -> bool:
    return isinstance(value, str | int | float | None)


def _is_record(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(map(_is_simple, value.values()))
