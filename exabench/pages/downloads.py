"""The board as data: CSV, JSON, Parquet and an Atom feed, beside the pages and from the same values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.parquet as pq

from exabench.files import digest_of, json_text
from exabench.nouns import Cost, Result, Submission
from exabench.pages._format import clean, first_stage, score, training
from exabench.pages._paths import result_data, submission_page
from exabench.pages._views import View, headline_values, stamp
from exabench.statistics import holm

if TYPE_CHECKING:
    from exabench.board import Row

FORMAT = 1
NEVER = "1970-01-01"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBERS: tuple[str, ...] = ("prompts", "input_tokens", "output_tokens", "flops_exact", "flops_paper")
_NUMBERS += ("rpp_exact", "rpp_paper", "qpp_exact", "qpp_paper", "p50", "p95", "pairs_per_second")
_COUNTS = ("parameters", "cut_passages", "cut_queries", "repairs", "timed_queries")
_COST: Mapping[str, pa.DataType] = {  # typed, because a column that nobody knows has no type of its own
    "precision": pa.string(),
    **dict.fromkeys(_NUMBERS, pa.float64()),
    **dict.fromkeys(_COUNTS, pa.int64()),
    "hardware": pa.string(),
}
_TESTED = ("difference", "t_test", "randomisation", "effect_size", "wins", "losses", "ties")


def as_json(value: object) -> bytes:
    """Any value as JSON; a half of a character, which UTF-8 cannot hold, becomes a question mark."""
    return json_text(value).encode("utf-8", "replace")


def compact_json(value: Mapping[str, Any]) -> str:
    """A mapping in one line, for a cell of a table; nothing for an empty one."""
    return json.dumps(dict(value), sort_keys=True, ensure_ascii=False) if value else ""


def board_json(view: View) -> bytes:
    """The whole board but for per-query values."""
    board = view.board
    return as_json(
        {
            "format": FORMAT,
            "title": board.title,
            "url": board.url,
            "updated": board.updated,
            "tasks": [{"name": t.name, "title": t.title, "members": list(t.members)} for t in board.tasks],
            "submissions": {slug: _submission(board.submissions[slug]) for slug in sorted(board.submissions)},
            "candidates": [candidates.as_json() for candidates in board.candidates],
            "rows": _row_records(view),
            "results": result_records(view),
            "reported": [{"name": r.name, "columns": r.columns, "rows": r.rows} for r in board.reported],
        }
    )


def result_json(view: View, result: Result) -> bytes:
    """One result with every metric of every query, and the first stage's headline beside it."""
    measured = result.measurement.as_json()
    before = {change.query: change.before for change in view.changes(result)}
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
    names = [t.name for t in view.board.tasks]
    records = [{**record, **{name: record["values"].get(name) for name in names}} for record in _row_records(view)]
    return _csv([{key: value for key, value in record.items() if key != "values"} for record in records])


def results_csv(view: View) -> bytes:
    """One line for each result."""
    return _csv(result_records(view))


def results_parquet(view: View) -> bytes:
    """The same table with typed columns."""
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(result_records(view))
    for place, name in enumerate(table.column_names):
        if name in _COST:
            table = table.set_column(place, name, table[name].cast(_COST[name]))
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def result_records(view: View) -> list[dict[str, Any]]:
    """The results as flat records, all with the same keys."""
    metrics = sorted({name for result in view.results for name in result.measurement.metrics})
    records = []
    for slug, results in view.by_submission.items():
        corrected = holm([result.gain["randomisation"] for result in results])
        submission = view.board.submissions[slug]
        records += [_result(submission, one, metrics, p) for one, p in zip(results, corrected, strict=True)]
    return records


def _result(submission: Submission, one: Result, metrics: Sequence[str], corrected: float) -> dict[str, Any]:
    headline = one.measurement.headline
    record = {
        "submission": submission.name,
        "kind": submission.kind,
        "state": one.state,
        "task": one.task,
        "candidates": one.candidates.name,
        "first_stage": first_stage(one.candidates),
        "depth": one.candidates.depth,
        "headline": headline,
        "value": one[headline],
        "low": float(one.interval[0]),
        "high": float(one.interval[1]),
        "first_stage_value": one.first_stage[headline],
        "ceiling": one.ceiling[headline],
        **{key: one.gain[key] for key in _TESTED},
        "randomisation_holm": corrected,
        "queries": one.measurement.queries,
        "missing_queries": one.measurement.missing_queries,
        "completed": one.completed,
        "tie_rate": float(one.measurement.ties["rate"]),
        **{name: one.measurement.metrics.get(name) for name in metrics},
        "run_digest": one.run_digest,
        "candidates_digest": one.candidates.digest,
        "qrels_digest": one.qrels_digest,
        "convention_digest": one.measurement.convention.digest,
        "model": compact_json(one.model),
        **_cost(one.cost),
        "created": one.created,
        "data": result_data(one),
    }
    return {key: clean(value) if isinstance(value, str) else value for key, value in record.items()}


def _cost(cost: Cost | None) -> dict[str, Any]:
    """A cost in flat columns, all there whether it is known or not; FLOPs and tokens are means per query."""
    if cost is None:
        return dict.fromkeys(_COST)
    kept = {key: getattr(cost, key) for key in ("precision", "parameters", "prompts", "input_tokens", "output_tokens")}
    counts = {"cut_passages": cost.cut_passages, "cut_queries": cost.cut_queries}
    seen = {"flops_exact": cost.flops_exact, "flops_paper": cost.flops_paper, "repairs": sum(cost.repairs.values())}
    quotients = {f"{name}_{key}": getattr(cost, name)[key] for name in ("rpp", "qpp") for key in ("exact", "paper")}
    timing = vars(cost.timing) if cost.timing else {}
    record = {**kept, **seen, **quotients, **counts, **timing, "timed_queries": timing.get("sample")}
    return {key: record.get(key) for key in _COST}


def _row_records(view: View) -> list[dict[str, Any]]:
    return [_row(line.row, line.gain) for line in view.lines]


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
        "date": row.submission.date or stamp(row.results)[0],
        "values": dict(row.values),
    }


def _submission(one: Submission) -> dict[str, Any]:
    data = one.training_data
    return {**vars(one), "training_data": data if isinstance(data, str) else list(data)}


def _csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    lines = io.StringIO(newline="")
    if records:
        writer = csv.DictWriter(lines, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _plain(value) for key, value in record.items()} for record in records)
    return lines.getvalue().encode("utf-8", "replace")


def _plain(value: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA) else value


# -- the feed --------------------------------------------------------------------------------------------------


def feed(view: View) -> bytes:
    """An Atom feed: one entry for each submission, newest first."""
    board = view.board
    entries = [(stamp(results)[0] or NEVER, slug) for slug, results in view.by_submission.items()]
    entries.sort(key=lambda entry: entry[0], reverse=True)  # stable: those of one day stay in the order of slugs
    home = board.url.rstrip("/")
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="en">',
        f"  <title>{_xml(board.title)}</title>",
        f"  <id>{_xml(_id(view, ''))}</id>",
        f"  <updated>{_time(board.updated)}</updated>",
        f"  <author><name>{_xml(board.title) or 'exabench'}</name></author>",
        f'  <link rel="alternate" type="text/html" href={_address(home, "index.html")}/>',
        f'  <link rel="self" type="application/atom+xml" href={_address(home, "feed.atom")}/>',
    ]
    for date, slug in entries:
        lines += _entry(view, slug, date, home)
    return ("\n".join([*lines, "</feed>"]) + "\n").encode()


def _entry(view: View, slug: str, date: str, home: str) -> list[str]:
    submission, results = view.board.submissions[slug], view.by_submission[slug]
    page = submission_page(slug)
    return [
        "  <entry>",
        f"    <title>{_xml(submission.name)}</title>",
        f"    <id>{_xml(_id(view, page))}</id>",
        f"    <updated>{_time(date)}</updated>",
        f'    <link rel="alternate" type="text/html" href={_address(home, page)}/>',
        f'    <summary type="text">{_xml(_summary(submission, results))}</summary>',
        "  </entry>",
    ]


def _summary(submission: Submission, results: Iterable[Result]) -> str:
    return ". ".join(part for part in (submission.description, *map(_in_words, results)) if part) + "."


def _in_words(one: Result) -> str:
    name, queries = one.measurement.headline, len(headline_values(one))
    before = f"first stage {score(one.first_stage[name])}, {queries} queries, {one.state}"
    return f"{one.task} over {one.candidates.name}: {name} {score(one[name])} ({before})"


def _id(view: View, page: str) -> str:
    """An address below the board's own, or a tag URI (RFC 4151) made of its title."""
    if view.board.url.startswith("https://"):
        return f"{view.board.url.rstrip('/')}/{page}"
    return f"tag:exabench.github.io,2026:{digest_of(view.board.title)[7:23]}/{page}"


def _address(home: str, page: str) -> str:
    return quoteattr(clean(f"{home}/{page}" if home.startswith("https://") else page))


def _time(date: str) -> str:
    return _xml(f"{date}T00:00:00Z")


def _xml(text: str) -> str:
    return escape(clean(text))
