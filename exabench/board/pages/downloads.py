"""The board as data: CSV, JSON and Parquet, beside the pages and from the same values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import json as arrow_json

from exabench.bench.ledger import result_json as stored_json
from exabench.board.pages._format import clean, first_stage, training
from exabench.board.pages._page import Page
from exabench.board.pages._paths import result_data
from exabench.board.pages._views import Line, Tested, View
from exabench.core.nouns import Cost

if TYPE_CHECKING:
    from exabench.board.ranking import Score

FORMAT = 2  # 2: one paired test, `p` and `p_holm`
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TEXTS = {
    *("submission", "kind", "withdrawn", "state", "task", "candidates", "first_stage", "headline", "precision"),
    *("run_digest", "candidates_digest", "qrels_digest", "convention_digest", "model", "hardware", "created", "data"),
}
_COUNTS = {
    *("depth", "wins", "losses", "ties", "queries", "missing_queries", "completed"),
    *("parameters", "cut_passages", "cut_queries", "repairs", "timed_queries"),
}


def pages(view: View) -> Iterator[Page]:
    """The board's tables in each format."""
    yield Page("data/board.json", partial(board_json, view))
    yield Page("data/results.csv", partial(results_csv, view))
    yield Page("data/results.parquet", partial(results_parquet, view))
    yield Page("data/rows.csv", partial(rows_csv, view))


def results(view: View) -> list[dict[str, Any]]:
    """Every result as a flat record, all with the same columns."""
    metrics = sorted({name for score in view.results for name in score.result.measurement.metrics})
    return [_result(view, one, metrics) for slug in view.by_submission for one in view.tested(slug)]


def _result(view: View, one: Tested, metrics: Iterable[str]) -> dict[str, Any]:
    score = one.score
    result = score.result
    measured = result.measurement
    submission = view.board.submissions[score.submission]
    low, high = score.interval
    record = {
        "submission": submission.name,
        "kind": submission.kind,
        "withdrawn": submission.withdrawn,
        "state": score.state,
        "task": score.task,
        "candidates": score.candidates,
        "first_stage": first_stage(score.candidates),
        "depth": score.depth,
        "headline": score.headline,
        "value": score.value,
        "low": float(low),
        "high": float(high),
        "first_stage_value": score.first_stage,
        "ceiling": score.ceiling,
        "difference": one.test.difference,
        "p": one.test.p,
        "p_holm": one.corrected,
        **{name: getattr(one.test, name) for name in ("effect_size", "wins", "losses", "ties")},
        "queries": measured.queries,
        "missing_queries": measured.missing_queries,
        "completed": result.completed,
        "tie_rate": float(measured.ties["rate"]),
        **{name: measured.metrics.get(name) for name in metrics},
        "run_digest": result.run_digest,
        "candidates_digest": result.candidates.digest,
        "qrels_digest": result.qrels_digest,
        "convention_digest": measured.convention.digest,
        "model": json.dumps(dict(result.model), sort_keys=True, ensure_ascii=False) if result.model else "",
        **_cost(result.cost),
        "created": score.created,
        "data": result_data(score),
    }
    return {key: clean(value) if isinstance(value, str) else value for key, value in record.items()}


def _cost(cost: Cost | None) -> dict[str, Any]:
    """A cost in flat columns, all there whether it is known or not; FLOPs and tokens are means per query."""
    known = vars(cost) if cost else {}
    timing = vars(cost.timing) if cost and cost.timing else {}
    quotients = {}
    for name in ("rpp", "qpp"):
        for key in ("exact", "paper"):
            quotients[f"{name}_{key}"] = known[name][key] if known else None
    alike = ("prompts", "input_tokens", "output_tokens", "flops_exact", "flops_paper")
    return {
        "precision": known.get("precision"),
        **{name: known.get(name) for name in alike},
        **quotients,
        **{name: timing.get(name) for name in ("p50", "p95", "pairs_per_second")},
        **{name: known.get(name) for name in ("parameters", "cut_passages", "cut_queries")},
        "repairs": sum(cost.repairs.values()) if cost else None,
        "timed_queries": timing.get("sample"),
        "hardware": timing.get("hardware"),
    }


def short(value: float | None) -> float | None:
    """A number with six digits: enough that the browser's tables show the same tenths of a point as the pages."""
    return None if value is None else float(f"{value:.6g}")


def row_record(line: Line) -> dict[str, Any]:
    """A line of an overview as a flat record; scores are fractions."""
    row = line.row
    sent = row.submission
    low, high = row.interval or (None, None)
    return {
        "group": row.group,
        "submission": sent.name,
        "kind": sent.kind,
        "states": ", ".join(row.states),
        "candidates": row.candidates,
        "first_stage": line.stage,
        "depth": row.depth,
        "mean": row.mean,
        "low": low,
        "high": high,
        "difference": line.gain,
        "flops_exact": row.spent.flops_exact,
        "flops_paper": row.spent.flops_paper,
        "parameters": row.spent.parameters,
        "seconds_p50": row.spent.p50,
        "finished": row.finished,
        "wanted": row.wanted,
        "licence": sent.licence,
        "training_data": training(sent),
        "date": sent.date or max(result.created for result in row.results),
    }


def board_json(view: View) -> bytes:
    """The whole board but for per-query values; a line for each submission, row and result."""
    board = view.board
    head = {
        "format": FORMAT,
        "title": board.title,
        "url": board.url,
        "updated": board.updated,
        "tasks": [{"name": t.name, "title": t.title, "members": list(t.members)} for t in board.tasks],
        "candidates": [candidates.as_json() for candidates in board.candidates],
        "reported": [{"name": r.name, "columns": r.columns, "rows": r.rows} for r in board.reported],
    }
    submissions = [_json({slug: asdict(one)})[1:-1] for slug, one in board.submissions.items()]
    lines = [_json({**row_record(line), "values": line.row.values}) for line in view.lines(board.rankings[-1])]
    parts = [
        f'{_json(head, sort_keys=True)[:-1]},"submissions":{{\n{_lines(submissions)}',
        f'}},"rows":[\n{_lines(lines)}',
        f'],"results":[\n{_lines(map(_json, results(view)))}]}}\n',
    ]
    return "".join(parts).encode("utf-8", "replace")


def result_json(view: View, score: Score) -> bytes:
    """One result with every metric of every query, and the first stage's headline beside it."""
    record = stored_json(view.board.full(score)) | {
        "format": FORMAT,
        "first_stage_per_query": {score.headline: {one.query: one.before for one in view.changes(score)}},
        "gain": view.test(score).as_json(),
    }
    del record["digest"]
    return f"{_json(record, sort_keys=True)}\n".encode("utf-8", "replace")


def results_csv(view: View) -> bytes:
    """One line for each result."""
    return _csv(results(view))


def rows_csv(view: View) -> bytes:
    """The overview's table; an empty cell is a task that is not finished."""
    records = []
    for line in view.lines(view.board.rankings[-1]):
        values = {t.name: line.row.values.get(t.name) for t in view.board.tasks}
        records.append(row_record(line) | values)
    return _csv(records)


def results_parquet(view: View) -> bytes:
    """The results with typed columns, also where nobody knows a value."""
    records = results(view)
    buffer = io.BytesIO()
    if not records:
        pq.write_table(pa.table({}), buffer, compression="zstd")
        return buffer.getvalue()
    types = dict.fromkeys(records[0], pa.float64())
    types |= dict.fromkeys(_TEXTS, pa.string()) | dict.fromkeys(_COUNTS, pa.int64())
    text = "\n".join(map(_json, records)).encode("utf-8", "replace")
    # Not pa.Table.from_pylist: that would import pandas, which takes longer than all the rest.
    parsing = arrow_json.ParseOptions(explicit_schema=pa.schema(list(types.items())))
    reading = arrow_json.ReadOptions(use_threads=False, block_size=2**24)
    pq.write_table(arrow_json.read_json(io.BytesIO(text), reading, parsing), buffer, compression="zstd")
    return buffer.getvalue()


def _json(value: Mapping[str, Any], sort_keys: bool = False) -> str:
    return json.dumps(value, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _lines(texts: Iterable[str]) -> str:
    return ",\n".join(texts) + "\n"


def _csv(records: list[dict[str, Any]]) -> bytes:
    """Records as CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([list(records[0])] if records else [])
    for record in records:
        values = record.values()
        writer.writerow(f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in values)
    return table.getvalue().encode("utf-8", "replace")
