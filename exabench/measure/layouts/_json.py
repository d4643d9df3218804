"""JSON: `{query: {passage: value}}`, MTEB's predictions, rank_llm's and RankGPT's lists, rows of records; and JSONL."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, printable
from exabench.core.files import USUAL_BOUND, text_of
from exabench.measure.columns import (
    PASSAGE,
    QUERY,
    Columns,
    GivenRow,
    Names,
    column,
    columns_of,
    nested_columns,
    row_names,
)

_FORMS = '{query: {passage: value}}, or a list of {"query": {"qid": ...}, "candidates": [{"docid": ..., "score": ...}]}'
_LISTS = ("candidates", "hits", "results")  # where a record holds the passages of its query


def columns(data: bytes, file: str | Path, values: Names) -> Columns:
    """The columns of a JSON or JSONL file. Raises BadInput."""
    if data.count(b",") > USUAL_BOUND.lines:  # each value takes tens of bytes in memory
        raise BadInput(f"has more than {USUAL_BOUND.lines:,} values", file=file)
    text = text_of(data, file)
    # JSON over several lines has a first line that is not a value by itself, a bracket most often.
    first, _, others = text.lstrip().partition("\n")
    if others.strip() and _is_whole(first):
        return columns_of(_rows(_lines(text, file), file, values), file)
    value = _parse(text, file)
    if isinstance(value, Mapping) and "mteb_model_meta" in value:
        value = _only_ranking(value, file)
    if _is_request(value) or _is_record(value):
        value = [value]
    if _is_listed(value):
        rows = (_row(hit, file, None, values, query) for query, hits in value.items() for hit in hits)
        return columns_of(rows, file)
    if isinstance(value, Mapping):
        return nested_columns(value, file)
    if isinstance(value, list):
        return columns_of(_rows(((None, record) for record in value), file, values), file)
    raise BadInput(f"is neither a run nor judgements: they are {_FORMS}", file=file)


def _lines(text: str, file: str | Path) -> Iterator[tuple[int, Any]]:
    """The lines of JSONL that are not empty, with their numbers."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, _parse(line, file, number)


def _is_whole(line: str) -> bool:
    """Is a line a whole JSON value?"""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parse(text: str, file: str | Path, line: int | None = None) -> Any:
    try:
        # NaN stays one, so that it is refused with its query and passage.
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise BadInput(f"is not JSON ({error.msg})", file=file, line=line or error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"is not JSON that can be read ({error})", file=file, line=line) from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dict. Raises ValueError for a key that appears twice, of which json would keep the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {printable(twice)!r} appears twice; keep one")
    return found


def _only_ranking(predictions: Mapping[str, Any], file: str | Path) -> Any:
    """MTEB writes {subset: {split: {query: {passage: score}}}} next to the model's name: the one ranking in there."""
    found = {}
    for subset, splits in predictions.items():
        if subset != "mteb_model_meta" and isinstance(splits, Mapping):
            for split, ranking in splits.items():
                found[f"{subset}/{split}"] = ranking
    if len(found) != 1:
        names = ", ".join(sorted(found)) or "none"
        raise BadInput(f"must contain exactly one ranking, and has {names}; write one to its own file", file=file)
    return next(iter(found.values()))


def _is_request(value: Any) -> bool:
    """Is it a query with its list, as rank_llm (candidates) and RankGPT (hits) write it?"""
    return isinstance(value, Mapping) and any(isinstance(value.get(key), list) for key in _LISTS)


def _is_nested(value: Any) -> bool:
    """Is it {query: {passage: value}}, as a line of JSONL may hold for each query?"""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(row, Mapping) for row in value.values())


def _is_listed(value: Any) -> bool:
    """Is it {query: [record of a passage, ...]}?"""
    if not isinstance(value, Mapping) or not value:
        return False
    for hits in value.values():
        if not isinstance(hits, list) or not all(isinstance(hit, Mapping) for hit in hits):
            return False
    return True


def _is_record(value: Any) -> bool:
    """Is it one passage of a ranking or one judgement, under names that people use?"""
    if not isinstance(value, Mapping) or any(isinstance(cell, Mapping) for cell in value.values()):
        return False
    return column(value, QUERY) is not None and column(value, PASSAGE) is not None


def _rows(records: Iterable[tuple[int | None, Any]], file: str | Path, values: Names) -> Iterator[GivenRow]:
    """The rows of lines and their records: queries with their lists, or flat ones (query_id, doc_id, score)."""
    for line, record in records:
        if _is_request(record):
            query = _query_of(record)
            hits = next(record[key] for key in _LISTS if isinstance(record.get(key), list))
            for position, hit in enumerate(hits, 1):  # a list is in ranking order
                row = _row(hit, file, line, values, query)
                yield row._replace(rank=row.rank or position)
        elif _is_nested(record):
            nested = nested_columns(record, file)
            for query, passage, given in zip(nested.queries, nested.passages, nested.values or (), strict=True):
                yield GivenRow(query, passage, given, line=line)
        else:
            yield _row(record, file, line, values)


def _row(record: Any, file: str | Path, line: int | None, values: Names, query: Any = None) -> GivenRow:
    """One passage of a ranking, or one judgement; its `query` may be known from the list that it is in."""
    if not isinstance(record, Mapping):
        raise BadInput(f"has {printable(repr(record))}; expected {_FORMS}", file=file, line=line)
    names = _names(tuple(record), values)
    if query is None:
        query = record.get(names.query)
    passage = record.get(names.passage)
    for found, wanted in ((query, QUERY), (passage, PASSAGE)):
        if found is None:
            raise BadInput(f"a record lacks the field {' or '.join(wanted[:3])}", file=file, line=line)
    return GivenRow(_id(query), _id(passage), record.get(names.value), record.get(names.rank), line)


# The records of a file have few sets of keys, and columns are looked for once in each.
_names = functools.lru_cache(maxsize=100)(row_names)


def _query_of(record: Mapping[str, Any]) -> Any:
    """The id of a list's query: rank_llm has it in `query`; None for RankGPT, which has it in every hit."""
    query = record.get("query")
    if not isinstance(query, Mapping):
        query = dict(record)
        query.pop("query", None)  # a text here, which `column` would take for an id
    return query.get(column(query, QUERY))


def _id(value: Any) -> Any:
    """A file may hold ids as whole numbers; whatever else they are is refused later."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value
