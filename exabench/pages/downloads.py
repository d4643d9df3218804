"""The board as data: CSV, JSON and Parquet, beside the pages and from the same values."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from exabench.nouns import Submission
from exabench.pages._columns import Table
from exabench.pages._format import first_stage, training
from exabench.pages._page import Group, Page
from exabench.pages._records import Records, csv_text
from exabench.pages._views import View

if TYPE_CHECKING:
    from exabench.board import Row, Score

FORMAT = 1
_SAID = tuple(field.name for field in fields(Submission))


def pages(view: View) -> Iterator[Page | Group]:
    """The board's tables in each format."""
    of = (view.everything,)
    yield Group("results", of, partial(_of_records, view))
    yield Page("data/rows.csv", partial(rows_csv, view), of=of)


def _of_records(view: View) -> Iterator[Page]:
    records = Records(view)
    yield Page("data/board.json", partial(board_json, view, records))
    yield Page("data/results.csv", partial(results_csv, records))
    yield Page("data/results.parquet", partial(results_parquet, records))


def as_json(value: object) -> bytes:
    """Any value as JSON in one line; a half of a character, which UTF-8 cannot hold, becomes a question mark."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"{text}\n".encode("utf-8", "replace")


def board_json(view: View, records: Records) -> bytes:
    """The whole board but for per-query values; a line for each result."""
    board = view.board
    told = {
        "format": FORMAT,
        "title": board.title,
        "url": board.url,
        "updated": board.updated,
        "tasks": [{"name": t.name, "title": t.title, "members": list(t.members)} for t in board.tasks],
        "submissions": {slug: _submission(board.submissions[slug]) for slug in sorted(board.submissions)},
        "candidates": [candidates.as_json() for candidates in board.candidates],
        "rows": _row_records(view),
        "reported": [{"name": r.name, "columns": r.columns, "rows": r.rows} for r in board.reported],
    }
    results = "".join(lines.json for lines in records.lines).rstrip("\n").replace("\n", ",\n").encode()
    return as_json(told).removesuffix(b"}\n") + b',"results":[\n' + results + b"\n]}\n"


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


def rows_csv(view: View) -> bytes:
    """The overview's table; scores are fractions, an empty cell is a task that is not finished."""
    names, rows = [t.name for t in view.board.tasks], _row_records(view)
    lines = ((*list(row.values())[:-1], *(row["values"].get(name) for name in names)) for row in rows)
    head = csv_text([[*list(rows[0])[:-1], *names]]) if rows else ""
    return (head + csv_text(lines)).encode("utf-8", "replace")


def results_csv(records: Records) -> bytes:
    """One line for each result."""
    return (csv_text([records.schema.names]) + "".join(lines.csv for lines in records.lines)).encode()


def results_parquet(records: Records) -> bytes:
    """The same table with typed columns."""
    buffer = io.BytesIO()
    pq.write_table(records.table(), buffer, compression="zstd")
    return buffer.getvalue()


def _row_records(view: View) -> list[dict[str, Any]]:
    return [_row(line.row, line.gain) for line in Table(view, view.board.rankings[-1]).lines]


def _row(row: Row, gain: float | None) -> dict[str, Any]:
    low, high = row.interval or (None, None)
    return {
        "group": row.group,
        "submission": row.submission.name,
        "kind": row.submission.kind,
        "states": ", ".join(row.states),
        "candidates": row.candidates,
        "first_stage": first_stage(row.candidates),
        "depth": row.depth,
        "mean": row.mean,
        "low": low,
        "high": high,
        "difference": gain,
        "flops_exact": row.spent.flops_exact,
        "flops_paper": row.spent.flops_paper,
        "parameters": row.spent.parameters,
        "seconds_p50": row.spent.p50,
        "finished": row.finished,
        "wanted": row.wanted,
        "licence": row.submission.licence,
        "training_data": training(row.submission),
        "date": row.submission.date or max(result.created for result in row.results),
        "values": dict(row.values),
    }


def _submission(one: Submission) -> dict[str, Any]:
    return {name: getattr(one, name) for name in _SAID}
