"""The board as data: CSV, JSON and Parquet, next to the pages and from the same values."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import json as arrow_json

from exabench.bench.ledger import result_json as stored_json
from exabench.board.pages._format import clean_texts, https, model_link, training
from exabench.board.pages._page import Page, compact_json, result_data
from exabench.board.ranking import Board, Row
from exabench.board.records import FORMAT
from exabench.board.summaries import ResultSummary, newest_day

# Spreadsheets run text that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS = """
submission kind withdrawn state task candidates first_stage headline precision
run_digest candidates_digest qrels_digest convention_digest model hardware created data
""".split()
_COUNTS = """
depth wins losses ties queries missing_queries completed
parameters passages cut_passages cut_queries repairs timed_queries
""".split()


def pages(board: Board) -> Iterator[Page]:
    """The board's tables in each format."""
    yield Page("data/board.json", partial(board_json, board))
    yield Page("data/results.csv", lambda: _csv(_records(board)))
    yield Page("data/results.parquet", partial(results_parquet, board))
    yield Page("data/rows.csv", partial(rows_csv, board))


def short(value: float | None) -> float | None:
    """A number with six digits: enough that the browser's tables show the same tenths of a point as the pages."""
    return None if value is None else float(f"{value:.6g}")


def row_record(row: Row) -> dict[str, Any]:
    """A row of an overview as a flat record; scores are fractions."""
    low, high = row.interval or (None, None)
    sample_low, sample_high = row.range or (None, None)
    spent = row.spent
    sent = row.submission
    credit = row.credit
    return {
        "group": row.group,
        "system": row.name,
        "submission": sent.name,
        "type": row.kind,
        "samples": len(row.samples),
        "states": ", ".join(row.states),
        "candidates": row.candidates,
        "first_stage": row.stage,
        "depth": row.depth,
        "mean": row.mean,
        "low": low,
        "high": high,
        "sample_low": sample_low,
        "sample_high": sample_high,
        "difference": row.gain,
        "more_queries": row.more_queries,
        "flops_exact": spent.flops_exact,
        "flops_paper": spent.flops_paper,
        "parameters": spent.parameters,
        "seconds_p50": spent.p50,
        "finished": row.finished,
        "wanted": row.wanted,
        "owner": credit.owner,
        "licence": credit.licence,
        "training_data": training(credit),
        "link": https(credit.link) if row.is_first_stage else model_link(sent),
        "date": sent.date or newest_day(row.results),
    }


def overview_rows(board: Board) -> Iterator[dict[str, Any]]:
    """Every row of every overview in the order shown, with the values of its tasks under `values`."""
    for ranking in board.rankings:
        for contest in ranking.tables:
            over = {"view": ranking.title, "contest": contest.title}
            for row in contest.shown:
                yield over | row_record(row) | {"values": row.values}


def _records(board: Board) -> list[dict[str, Any]]:
    """The results as records, with the place of each one's own file."""
    records = []
    for record, summary in zip(board.records, board.shown_results, strict=True):
        records.append({**record, "data": result_data(summary)})
    return records


def board_json(board: Board) -> bytes:
    """The whole board but for per-query values; a line for each submission, row and result."""
    head = {
        "format": FORMAT,
        "title": board.title,
        "url": board.url,
        "updated": board.updated,
        "tasks": [{"name": t.name, "title": t.title, "members": t.members} for t in board.tasks],
        "candidates": [candidates.as_json() for candidates in board.candidates],
        "reported": [asdict(table) for table in board.reported],
    }
    submissions = []
    for slug, one in board.submissions.items():
        submissions.append(compact_json({slug: asdict(one)})[1:-1])  # without its braces
    rows = map(compact_json, overview_rows(board))
    results = map(compact_json, _records(board))
    # By hand: `json` cannot lay out one line for each entry.
    start = compact_json(head, sort_keys=True).removesuffix("}")
    text = f'{start},"submissions":{{\n'
    text += ",\n".join(submissions)
    text += '\n},"rows":[\n'
    text += ",\n".join(rows)
    text += '\n],"results":[\n'
    text += ",\n".join(results)
    text += "\n]}\n"
    # Text of a submission may hold half of a surrogate pair, which has no bytes.
    return text.encode("utf-8", "replace")


def result_json(board: Board, summary: ResultSummary) -> bytes:
    """One result with every metric of every query, and the first stage's headline next to it."""
    before = {one.query: one.before for one in board.query_changes(summary)}
    record = stored_json(board.full(summary))
    record["format"] = FORMAT
    record["first_stage_per_query"] = {summary.headline: before}
    record["gain"] = board.test(summary).as_json()
    del record["digest"]  # that of the board's own file, which this is not
    return f"{compact_json(record, sort_keys=True)}\n".encode("utf-8", "replace")


def rows_csv(board: Board) -> bytes:
    """The overviews as the pages show them: a line for each row of each contest; an unfinished task is left empty."""
    tasks: dict[str, None] = {}  # each once, in the order of the views
    for ranking in board.rankings:
        for t in ranking.tasks:
            tasks[t.name] = None
    records = []
    for record in overview_rows(board):
        values = record.pop("values")
        for name in tasks:
            record[name] = values.get(name)
        records.append(record)
    return _csv(records)


def results_parquet(board: Board) -> bytes:
    """The results with typed columns; a column has its type also where every value is unknown."""
    records = _records(board)
    table = pa.table({})
    if records:  # Arrow reads no table from an empty text
        # Metrics are numbers, and so is whatever is not named above.
        types = dict.fromkeys(records[0], pa.float64())
        types.update(dict.fromkeys(_TEXTS, pa.string()))
        types.update(dict.fromkeys(_COUNTS, pa.int64()))
        text = "\n".join(map(compact_json, records)).encode("utf-8", "replace")
        # Not pa.Table.from_pylist: that would import pandas, which takes longer than all the rest.
        parsing = arrow_json.ParseOptions(explicit_schema=pa.schema(types))
        reading = arrow_json.ReadOptions(use_threads=False, block_size=2**24)
        table = arrow_json.read_json(io.BytesIO(text), reading, parsing)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _csv(records: list[dict[str, Any]]) -> bytes:
    """Records as CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    if records:
        writer.writerow(records[0])
    for record in records:
        cells = []
        for value in record.values():
            value = clean_texts(value)
            if isinstance(value, str) and value.startswith(_FORMULA):
                value = f"'{value}"
            cells.append(value)
        writer.writerow(cells)
    return table.getvalue().encode("utf-8", "replace")
