"""Columns of a run or of judgements as they were handed in, whatever the layout: what they may hold is checked here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from exabench.core.errors import REASON, BadInput, printable

BAD_ID = "an id must not be empty or contain whitespace or control characters"
# A space would end a column of a TREC line, a control character is invisible, and half of a surrogate pair is not text
# in UTF-8.
_NOT_IN_IDS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# How people call the columns of runs and judgements, the surest name first: ir_datasets and ir_measures, PyTerrier
# (whose docid is a row number and whose query is a text), BEIR and the Hub, ranx, MS MARCO. In small letters, with _.
Names: TypeAlias = tuple[str, ...]
QUERY: Names = tuple("query_id qid q_id queryid topic_id topic query".split())
PASSAGE: Names = tuple("doc_id docno corpus_id passage_id docid pid document_id did passage document doc".split())
SCORE: Names = tuple("score scores sim similarity".split())
GRADE: Names = tuple("relevance rel grade label judgment judgement score".split())
RANK: Names = ("rank",)

LARGEST_SCORE = 3.4028235677973366e38
"""Scores below it round to a finite number in single precision: it is half-way from the largest of these to 2**128."""


def is_id(text: str) -> bool:
    """Can a text be the id of a query or a passage: is it not empty, without spaces and control characters?"""
    return text != "" and not _NOT_IN_IDS.search(text)


def check_query_ids(queries: Iterable[str]) -> None:
    """Raises BadInput for a query that a line of a TREC file cannot hold: trec_eval takes # for a comment."""
    for query in queries:
        if query.startswith("#"):
            raise BadInput("a line that begins with # is a comment in TREC files: rename the query", id=query)


@dataclass(frozen=True)
class Columns:
    """A run or judgements as columns of one length, each a sequence of Python values that no one has checked.

    `values` are scores or grades, None where a run has only `ranks`. `lines` are those of `file`, where it has some.
    """

    queries: Sequence[Any]
    passages: Sequence[Any]
    values: Sequence[Any] | None
    ranks: Sequence[Any] | None = None
    lines: Sequence[int] | None = None
    file: str | Path | None = None

    def problem(self, row: int, what: str) -> BadInput:
        """An error about one row, with its line where there is one, and its passage."""
        return BadInput(what, file=self.file, line=self._line(row), id=str(self.passages[row]))

    def _line(self, row: int) -> int | None:
        if self.lines is None:
            return None
        return self.lines[row]

    def check_ids(self) -> None:
        """Raises BadInput for an id that is not text, that is empty or that holds spaces or control characters."""
        if _are_plain(self.queries) and _are_plain(self.passages):
            return
        known = set[str]()
        for row, (query, passage) in enumerate(zip(self.queries, self.passages, strict=True)):
            # A query has hundreds of rows and is looked at once; a passage is looked at wherever it is listed.
            if not (isinstance(query, str) and query in known):
                self._check_id(row, query)
                known.add(query)
            if not isinstance(passage, str) or passage == "" or _NOT_IN_IDS.search(passage):
                self._check_id(row, passage)

    def _check_id(self, row: int, id: Any) -> None:
        line = self._line(row)
        if not isinstance(id, str):
            what = f"ids are strings, not {type(id).__name__}: write str(id)"
            if id is not self.queries[row]:
                what += f", for query {printable(self.queries[row])!r}"
            raise BadInput(what, file=self.file, line=line, id=str(id))
        if not is_id(id):
            raise BadInput(BAD_ID, file=self.file, line=line, id=id)

    def scores(self) -> np.ndarray:
        """The scores, float64. Raises BadInput for one that is not a number or not finite in single precision."""
        values = self._numbers(self.values, "score")
        try:
            scores = np.array(values, np.float64)
        except OverflowError:  # a whole number beyond all floats
            scores = np.array([float(np.clip(value, -1e300, 1e300)) for value in values])
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            bad = np.flatnonzero(~np.isfinite(scores.astype(np.float32)))
        if len(bad):
            row = int(bad[0])
            raise self.problem(
                row,
                f"score {printable(str(values[row]))} of query {printable(self.queries[row])!r} is not a finite number "
                "in single precision",
            )
        return scores

    def grades(self) -> list[int]:
        """The grades. Raises BadInput for one that is not a whole number of at most nine digits."""
        values = self._numbers(self.values, "grade")
        if set(map(type, values)) == {int} and min(values) > -1e9 and max(values) < 1e9:
            return list(values)
        grades = []
        for row, value in enumerate(values):
            if not -1e9 < value < 1e9 or value != int(value):  # the first is also false for NaN
                shown = f"grade {printable(str(value))} of query {printable(self.queries[row])!r}"
                raise self.problem(row, f"{shown} is not a whole number of at most nine digits")
            grades.append(int(value))
        return grades

    def whole_ranks(self) -> np.ndarray:
        """The ranks, int64. Raises BadInput for one that is not a whole number."""
        ranks = self._numbers(self.ranks, "score or rank")
        for row, rank in enumerate(ranks):
            if not -1e9 < rank < 1e9 or rank != int(rank):
                shown = f"rank {printable(str(rank))} of query {printable(self.queries[row])!r}"
                raise self.problem(row, f"{shown} is not a whole number")
        return np.array(ranks, np.int64)

    def ranks_to_compare(self) -> np.ndarray | None:
        """The ranks where they are whole numbers: next to scores they say nothing of the order, and may be anything."""
        if self.ranks is None:
            return None
        try:
            return self.whole_ranks()
        except BadInput:
            return None

    def _numbers(self, values: Sequence[Any] | None, what: str) -> Sequence[Any]:
        if values is None:
            if self.queries:
                raise self.problem(0, f"no {what} is given for query {printable(self.queries[0])!r}")
            return ()
        # A column has one or two types, so that asking for these is quicker than asking of every value.
        if not all(_is_number(kind) for kind in set(map(type, values))):
            row = next(row for row, value in enumerate(values) if not _is_number(type(value)))
            shown = f"{printable(repr(values[row]))} of query {printable(self.queries[row])!r}"
            raise self.problem(row, f"{what} {shown} is not a number but {type(values[row]).__name__}")
        return values


def _are_plain(ids: Sequence[Any]) -> bool:
    """Are all of them ids? Looked at as one text: a call for each takes most of the time to read judgements."""
    if set(map(type, ids)) != {str} or "" in ids:
        return False
    return _NOT_IN_IDS.search("".join(ids)) is None


def _is_number(kind: type) -> bool:
    # True would count as 1, and is more likely a column taken for another.
    return issubclass(kind, Real) and not issubclass(kind, bool)  # numpy's own bool is not a Real


class GivenRow(NamedTuple):
    """One passage of a ranking, or one judgement, as it was handed in."""

    query: Any
    passage: Any
    value: Any = None
    rank: Any = None
    line: int | None = None


def columns_of(rows: Iterable[GivenRow], file: str | Path | None = None) -> Columns:
    """Rows as columns; of ranks and lines that not every row has, and of values that none has, there is no column."""
    queries = []
    passages = []
    values = []
    ranks = []
    lines: list[Any] = []
    for query, passage, value, rank, line in rows:
        queries.append(query)
        passages.append(passage)
        values.append(value)
        ranks.append(rank)
        lines.append(line)
    return Columns(
        queries,
        passages,
        values=None if values and all(value is None for value in values) else values,
        ranks=None if None in ranks else ranks,
        lines=None if None in lines else lines,
        file=file,
    )


def nested_columns(table: Mapping[Any, Any], file: str | Path | None = None) -> Columns:
    """`{query: {passage: value}}` or `{query: [(passage, value)]}` as columns. Raises BadInput.

    A query without passages leaves no trace.
    """
    queries: list[Any] = []
    passages: list[Any] = []
    values: list[Any] = []
    for query, row in table.items():
        if isinstance(row, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in row):
            queries += [query] * len(row)
            passages += [passage for passage, _ in row]
            values += [value for _, value in row]
            continue
        if not isinstance(row, Mapping):
            found = printable(repr(row))
            raise BadInput(f"has {found} where {{passage: value}} is expected", file=file, id=str(query))
        queries += [query] * len(row)
        passages += row
        values += row.values()
    return Columns(queries, passages, values, file=file)


def named_columns(table: Any, names: Iterable[Any], values: Names, file: str | Path | None = None) -> Columns:
    """The columns of a table, each `table[name]`, under the names that people use. Raises BadInput for one missing."""
    names = list(names)
    query, passage, value, rank, _ = row_names(names, values)
    for name, wanted in ((query, QUERY), (passage, PASSAGE), (value or rank, values)):
        if name is None:
            # Four of the names are enough to say what is meant.
            there = printable(", ".join(map(str, names)), REASON)
            raise BadInput(f"has no column called {' or '.join(wanted[:4])}; its columns: {there}", file=file)
    return Columns(
        list(table[query]),
        list(table[passage]),
        values=None if value is None else list(table[value]),
        ranks=None if rank is None else list(table[rank]),
        file=file,
    )


def row_names(names: Iterable[Any], values: Names) -> GivenRow:
    """What a table or a record calls its columns of queries, passages, values and ranks; None for what it lacks."""
    names = list(names)
    return GivenRow(column(names, QUERY), column(names, PASSAGE), column(names, values), column(names, RANK))


def column(names: Iterable[Any], wanted: Names) -> Any | None:
    """The name of a column that matches one of `wanted`, the first of them first; None where there is none."""
    found: dict[str, Any] = {}
    for name in names:
        found.setdefault(str(name).strip().lower().replace("-", "_").replace(" ", "_"), name)
    for known in wanted:
        if known in found:
            return found[known]
    return None
