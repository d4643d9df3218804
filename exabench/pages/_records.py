"""Every result as a flat record, for the tables that the site offers; those of results that stay are kept."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from exabench.nouns import Cost, Result, Submission
from exabench.pages._format import clean, first_stage
from exabench.pages._kept import rows, texts
from exabench.pages._paths import result_data
from exabench.pages._views import View
from exabench.statistics import holm

_JSON, _CSV = "_json", "_csv"
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

    @property
    def table(self) -> pa.Table:
        """The records, (results, columns)."""
        return self._kept.select(self.schema.names)

    @property
    def json(self) -> list[bytes]:
        """Each record as JSON."""
        return texts(self._kept, _JSON)

    @property
    def csv(self) -> list[bytes]:
        """Each record as a line of CSV."""
        return texts(self._kept, _CSV)

    @cached_property
    def _kept(self) -> pa.Table:
        """The records and their texts; results that were read for an earlier build are not read again."""
        view = self.view
        slugs = [slug for slug, scores in view.by_submission.items() if scores]
        schema = self.schema.append(pa.field(_JSON, pa.large_string())).append(pa.field(_CSV, pa.large_string()))
        keys = [view.keys[slug] for slug in slugs]
        return rows(
            view.kept("records.arrow"), schema, view.board.package, keys, lambda place: self._made(slugs[place])
        )

    def _made(self, slug: str) -> Iterator[dict[str, Any]]:
        submission = self.view.board.submissions[slug]
        results = [self.view.full(score) for score in self.view.by_submission[slug]]
        corrected = holm([result.gain["randomisation"] for result in results])
        for result, p in zip(results, corrected, strict=True):
            record = self._record(submission, result, p)
            yield {**record, _JSON: json_line(record), _CSV: csv_line(record.values())}

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


def json_line(record: Mapping[str, Any]) -> str:
    """A record as JSON, in the order of its keys."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def csv_line(values: Iterable[Any]) -> str:
    """Values as a line of CSV; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    line = io.StringIO(newline="")
    shown = [f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for value in values]
    csv.writer(line, lineterminator="\n").writerow(shown)
    return line.getvalue()
