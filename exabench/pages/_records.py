"""Every result as a flat record, for the tables that the site offers; those of results that stay are kept."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from exabench.files import write
from exabench.nouns import Cost, Result, Submission
from exabench.pages._format import clean, first_stage
from exabench.pages._paths import result_data
from exabench.pages._views import View
from exabench.statistics import holm

if TYPE_CHECKING:
    from exabench.board import Score

FILE = "records.npz"
FRESH = 0.01  # of the file: what is less is made again sooner than written
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TESTED = ("difference", "t_test", "randomisation", "effect_size")
_FIGURES: tuple[str, ...] = ("prompts", "input_tokens", "output_tokens", "flops_exact", "flops_paper")
_FIGURES += ("rpp_exact", "rpp_paper", "qpp_exact", "qpp_paper", "p50", "p95", "pairs_per_second")
_COUNTED = ("parameters", "cut_passages", "cut_queries", "repairs", "timed_queries")
_COST: Mapping[str, pa.DataType] = {
    "precision": pa.string(),
    **dict.fromkeys(_FIGURES, pa.float64()),
    **dict.fromkeys(_COUNTED, pa.int64()),
    "hardware": pa.string(),
}
_BEFORE: Mapping[str, pa.DataType] = {
    **dict.fromkeys(("submission", "kind", "withdrawn", "state", "task", "candidates", "first_stage"), pa.string()),
    **{"depth": pa.int64(), "headline": pa.string()},
    **dict.fromkeys(("value", "low", "high", "first_stage_value", "ceiling", *_TESTED), pa.float64()),
    **dict.fromkeys(("wins", "losses", "ties"), pa.int64()),
    "randomisation_holm": pa.float64(),
    **dict.fromkeys(("queries", "missing_queries", "completed"), pa.int64()),
    "tie_rate": pa.float64(),
}
_AFTER: Mapping[str, pa.DataType] = {
    **dict.fromkeys(("run_digest", "candidates_digest", "qrels_digest", "convention_digest", "model"), pa.string()),
    **_COST,
    **dict.fromkeys(("created", "data"), pa.string()),
}


class Lines(NamedTuple):
    """The records of one submission: a line of JSON for each, and the same as lines of CSV."""

    json: str
    csv: str


@dataclass(frozen=True)
class Records:
    """The results of a board as flat records, all with the same columns; typed, for some columns nobody may know."""

    view: View

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Every metric of every result."""
        named = {score.metrics for score in self.view.results}
        return tuple(sorted({name for names in named for name in names.split()}))

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        columns = {**_BEFORE, **dict.fromkeys(self.metrics, pa.float64()), **_AFTER}
        return pa.schema(list(columns.items()))

    @cached_property
    def lines(self) -> tuple[Lines, ...]:
        """The records of each submission that has any; a submission that was written before is not read again."""
        view, index = self.view, self.view.index
        old = _kept(index / FILE) if index else {}
        found: dict[str, Lines] = {}
        for slug, scores in view.by_submission.items():
            if scores:
                key = self._key(slug, scores)
                found[key] = old.get(key) or self._made(view.board.submissions[slug], scores)
        if index and len(found.keys() ^ old.keys()) > len(old) * FRESH:
            write(index / FILE, _packed(found))
        return tuple(found.values())

    def table(self) -> pa.Table:
        """The records as an Arrow table."""
        text = "".join(lines.json for lines in self.lines).encode()
        if not text:
            return self.schema.empty_table()
        options = arrow_json.ParseOptions(explicit_schema=self.schema)
        reading = arrow_json.ReadOptions(use_threads=False, block_size=2**24)
        return arrow_json.read_json(pa.BufferReader(text), reading, options)

    def _key(self, slug: str, scores: Sequence[Score]) -> str:
        board = self.view.board
        told = (board.package, self.view.digest_of(board.submissions[slug]), *self.metrics, *(s.digest for s in scores))
        return hashlib.sha256("\0".join(told).encode()).hexdigest()

    def _made(self, submission: Submission, scores: Sequence[Score]) -> Lines:
        results = [self.view.full(score) for score in scores]
        corrected = holm([result.gain["randomisation"] for result in results])
        records = [self._record(submission, one, p) for one, p in zip(results, corrected, strict=True)]
        rows = [json.dumps(r, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n" for r in records]
        return Lines("".join(rows), csv_text(record.values() for record in records))

    def _record(self, submission: Submission, one: Result, corrected: float) -> dict[str, Any]:
        measured, headline = one.measurement, one.measurement.headline
        record = {
            "submission": submission.name,
            "kind": submission.kind,
            "withdrawn": submission.withdrawn,
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
            **{key: one.gain[key] for key in (*_TESTED, "wins", "losses", "ties")},
            "randomisation_holm": corrected,
            "queries": measured.queries,
            "missing_queries": measured.missing_queries,
            "completed": one.completed,
            "tie_rate": float(measured.ties["rate"]),
            **{name: measured.metrics.get(name) for name in self.metrics},
            "run_digest": one.run_digest,
            "candidates_digest": one.candidates.digest,
            "qrels_digest": one.qrels_digest,
            "convention_digest": measured.convention.digest,
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


def compact_json(value: Mapping[str, Any]) -> str:
    """A mapping in one line, for a cell of a table; nothing for an empty one."""
    return json.dumps(dict(value), sort_keys=True, ensure_ascii=False) if value else ""


def csv_text(rows: Any) -> str:
    """Rows as lines of CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    lines = io.StringIO(newline="")
    csv.writer(lines, lineterminator="\n").writerows(
        [f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for value in row]
        for row in rows
    )
    return lines.getvalue()


def _packed(found: Mapping[str, Lines]) -> bytes:
    """Lines by key as an npz file: all texts end to end, and where each ends."""
    buffer, named = io.BytesIO(), {"keys": np.array(list(found), "S64")}
    for kind in Lines._fields:
        texts = [getattr(lines, kind).encode() for lines in found.values()]
        named[f"{kind}_ends"] = np.cumsum([len(text) for text in texts], dtype=np.int64)
        named[kind] = np.frombuffer(b"".join(texts), np.uint8)
    parts: dict[str, Any] = dict(named)
    np.savez(buffer, **parts)
    return buffer.getvalue()


def _kept(file: Path) -> dict[str, Lines]:
    """What the file holds, or nothing where it is not there or not whole."""
    try:
        with np.load(file, allow_pickle=False) as index:
            texts = [_cut(index[kind].tobytes(), index[f"{kind}_ends"].tolist()) for kind in Lines._fields]
            keys = [key.decode() for key in index["keys"].tolist()]
            return {key: Lines(*both) for key, *both in zip(keys, *texts, strict=True)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        return {}


def _cut(data: bytes, ends: Sequence[int]) -> list[str]:
    return [data[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
