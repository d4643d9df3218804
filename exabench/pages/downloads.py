"""The board as data: CSV, JSON and Parquet, beside the pages and from the same values."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.nouns import Submission
from exabench.pages._columns import Table
from exabench.pages._format import training
from exabench.pages._kept import rows, texts
from exabench.pages._page import Group, Page
from exabench.pages._records import Records, csv_line, json_line
from exabench.pages._views import Line, View

if TYPE_CHECKING:
    from exabench.board import Score

FORMAT = 1
_SAID = tuple(field.name for field in fields(Submission))
_TEXT = pa.schema([("json", pa.large_string())])
_TEXTS = pa.schema([("json", pa.large_string()), ("csv", pa.large_string())])


def pages(view: View) -> Iterator[Group]:
    """The board's tables in each format."""
    yield Group("results", (view.everything,), partial(_pages, view))


def _pages(view: View) -> Iterator[Page]:
    records, lines = Records(view), Lines(view)
    yield Page("data/board.json", partial(board_json, view, records, lines))
    yield Page("data/results.csv", partial(results_csv, records))
    yield Page("data/results.parquet", partial(results_parquet, records))
    yield Page("data/rows.csv", lines.csv)


def as_json(value: object) -> bytes:
    """Any value as JSON in one line; a half of a character, which UTF-8 cannot hold, becomes a question mark."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"{text}\n".encode("utf-8", "replace")


def board_json(view: View, records: Records, lines: Lines) -> bytes:
    """The whole board but for per-query values; a line for each submission, row and result."""
    board = view.board
    told = {
        "format": FORMAT,
        "title": board.title,
        "url": board.url,
        "updated": board.updated,
        "tasks": [{"name": t.name, "title": t.title, "members": list(t.members)} for t in board.tasks],
        "candidates": [candidates.as_json() for candidates in board.candidates],
        "reported": [{"name": r.name, "columns": r.columns, "rows": r.rows} for r in board.reported],
    }
    parts = [
        as_json(told).removesuffix(b"}\n") + b',"submissions":{\n',
        b",\n".join(_submissions(view)) + b'\n},"rows":[\n',
        b",\n".join(lines.json()) + b'\n],"results":[\n',
        b",\n".join(records.json) + b"\n]}\n",
    ]
    return b"".join(parts)


def _submissions(view: View) -> list[bytes]:
    """What each submission says, behind its slug."""
    board, listed = view.board, list(view.board.submissions.values())

    def told(place: int) -> Iterator[dict[str, str]]:
        said = {name: getattr(listed[place], name) for name in _SAID}
        yield {"json": json_line({listed[place].slug: said})[1:-1]}

    keys = [f"{one.slug} {board.digests[one.slug]}" for one in listed]
    return texts(rows(view.kept("submissions.arrow"), _TEXT, board.package, keys, told), "json")


def result_json(view: View, found: Score) -> bytes:
    """One result with every metric of every query, and the first stage's headline beside it."""
    result = view.full(found)
    measured = result.measurement.as_json()
    before = {change.query: change.before for change in view.changes(found)}
    return as_json(
        {
            "format": FORMAT,
            "submission": result.submission,
            "state": result.state,
            "candidates": result.candidates.as_json(),
            "measurement": measured,
            "first_stage": dict(result.first_stage),
            "first_stage_per_query": {result.measurement.headline: before},
            "ceiling": dict(result.ceiling),
            "gain": dict(result.gain),
            "run_digest": result.run_digest,
            "qrels_digest": result.qrels_digest,
            "qrels_source": result.qrels_source,
            "completed": result.completed,
            "versions": dict(result.versions),
            "model": dict(result.model),
            "cost": asdict(result.cost) if result.cost else None,
            "command": result.command,
            "created": result.created,
        }
    )


def results_csv(records: Records) -> bytes:
    """One line for each result."""
    return csv_line(records.schema.names).encode() + b"".join(records.csv)


def results_parquet(records: Records) -> bytes:
    """The same table with typed columns."""
    buffer = io.BytesIO()
    pq.write_table(records.table, buffer, compression="zstd")
    return buffer.getvalue()


@dataclass(frozen=True)
class Lines:
    """The lines of the overview, in order, as texts. A line's group changes with any other's: it is put in last."""

    view: View

    def json(self) -> list[bytes]:
        """Each as JSON; scores are fractions."""
        told = zip(self._ranked, texts(self._kept, "json"), strict=True)
        return [b'{"group":%s,%s' % (b"null" if group is None else b"%d" % group, text[1:]) for group, text in told]

    def csv(self) -> bytes:
        """The overview's table; scores are fractions, an empty cell is a task that is not finished."""
        names = [*_line(self._lines[0]), *(t.name for t in self.view.board.tasks)] if self._lines else []
        head = csv_line(["group", *names]).encode() if names else b""
        told = zip(self._ranked, texts(self._kept, "csv"), strict=True)
        return head + b"".join(b"%s,%s" % (b"" if group is None else b"%d" % group, text) for group, text in told)

    @cached_property
    def _lines(self) -> Sequence[Line]:
        return Table(self.view, self.view.board.rankings[-1]).lines

    @cached_property
    def _ranked(self) -> list[int | None]:
        return [line.row.group for line in self._lines]

    @cached_property
    def _kept(self) -> pa.Table:
        view, names = self.view, [t.name for t in self.view.board.tasks]

        def told(place: int) -> Iterator[dict[str, str]]:
            record, values = _line(self._lines[place]), self._lines[place].row.values
            text = csv_line([*record.values(), *map(values.get, names)])
            yield {"json": json_line({**record, "values": values}), "csv": text}

        keys = [f"{view.keys[line.row.submission.slug]} {line.row.candidates} {line.gain!r}" for line in self._lines]
        settings = " ".join((view.board.package, *names))
        return rows(view.kept("rows.arrow"), _TEXTS, settings, keys, told)


def _line(line: Line) -> dict[str, Any]:
    row, one, spent = line.row, line.row.submission, line.row.spent
    low, high = row.interval or (None, None)
    return {
        "submission": one.name,
        "kind": one.kind,
        "states": ", ".join(row.states),
        "candidates": row.candidates,
        "first_stage": line.stage,
        "depth": row.depth,
        "mean": row.mean,
        "low": low,
        "high": high,
        "difference": line.gain,
        "flops_exact": spent.flops_exact,
        "flops_paper": spent.flops_paper,
        "parameters": spent.parameters,
        "seconds_p50": spent.p50,
        "finished": row.finished,
        "wanted": row.wanted,
        "licence": one.licence,
        "training_data": training(one),
        "date": one.date or max(result.created for result in row.results),
    }
