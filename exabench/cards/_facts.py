"""The tables of figures that every card has: what there is, how it was made, what was left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from exabench.cards._markdown import Markdown, code, figure, plain, table
from exabench.cards._tables import bytes_in, fields_of, files_of, rows_in, splits_of
from exabench.errors import plural
from exabench.rows import Release, Table

REASONS = 20  # that are listed, the most frequent first; the others are summed up


def overview(release: Release) -> Markdown:
    """A line for each table, and one for all where there are several."""
    rows = [
        [code(name), each.family, *_sizes([each]), _by_split(each), each.licence]
        for name, each in sorted(release.tables.items())
    ]
    if len(rows) > 1:
        rows.append(["all", "", *_sizes(release.tables.values()), "", ""])
    return table(["table", "family", "rows", "bytes", "rows by split", "licence"], rows)


def made(each: Table) -> Markdown:
    """Who answered what, and what it took."""
    return table(["made with", ""], [*_teacher(each), *_effort(each)])


def left_out(each: Table) -> Markdown:
    """Why inputs did not become rows, the most frequent reason first; empty where all did."""
    reasons = sorted(each.counts.get("reasons", {}).items(), key=lambda item: (-item[1], item[0]))
    more = reasons[REASONS:]
    shown = [*reasons[:REASONS], *([(plural(len(more), "other reason"), sum(n for _, n in more))] if more else [])]
    return table(["why not a row", "inputs"], shown) if shown else Markdown("")


def fields(each: Table) -> Markdown:
    """Field and type, in the order of the columns."""
    return table(["field", "type"], [[code(name), _type(kind)] for name, kind in fields_of(each).items()])


def _type(kind: str) -> str:
    return f"list of {kind[5:-1]}" if kind.startswith("list<") else kind


def _sizes(tables: Iterable[Table]) -> list[int]:
    files = files_of(tables)
    return [rows_in(files), bytes_in(files)]


def _by_split(each: Table) -> str:
    return ", ".join(f"{name} {figure(rows_in(files))}" for name, files in splits_of(each).items()) or "none"


def _teacher(each: Table) -> Iterator[tuple[str, Markdown]]:
    """The teacher's identity but for the address of its server, which says nothing about the answers."""
    known = {key: value for key, value in each.teacher.items() if key != "server"}
    if not known:
        yield "teacher", plain("none: no language model was asked")
    if "model" in known:
        yield "teacher", code(known.pop("model"))
    if "revision" in known:
        yield "teacher's revision", code(known.pop("revision") or "not known")
    for key in sorted(known):
        yield f"teacher's {key.replace('_', ' ')}", code(known[key])
    if each.prompt:
        yield "prompt", code(each.prompt)


def _effort(each: Table) -> Iterator[tuple[str, Markdown]]:
    for key in sorted(each.tokens):
        yield f"{key.replace('_', ' ')}, in all", plain(each.tokens[key])
    yield "recipe's fingerprint", code(each.fingerprint)
    yield "can be made again from the replies stored with it", plain(each.replayable)
