"""Qrels: reading and writing judgements (TREC and BEIR layout), and their canonical digest."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, plural, printable
from exabench.core.files import digest_of, gzip_bytes, read_bytes, text_of, write
from exabench.core.nouns import Qrels
from exabench.measure.columns import GRADE, PASSAGE, QUERY, Columns, GivenRow, check_query_ids, column, columns_of
from exabench.measure.layouts import file_columns, python_columns, table_columns

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_GRADE = re.compile(r"[+-]?[0-9]{1,9}(\.0*)?")  # tables of numbers write 1 as 1.0
# What str.split() takes for a space and trec_eval does not.
_OTHER_BLANK = re.compile(r"[^\S \t\r\n]|[\x1c-\x1f\x85]")
_BEIR_HEADER = ("query-id", "corpus-id", "score")
_BEIR_LINE = "%s\t%s\t%s\n"
_LAYOUTS = "four (query iteration document grade), or three between tabs under a header (query-id corpus-id score)"


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements: TREC lines, BEIR's tsv, JSON, JSONL or Parquet (docs/files.md), packed or plain; "-" is stdin.

    Raises BadInput with file, line and id for an empty file, a wrong number of columns, a grade that is not a whole
    number, or a document that is judged twice for a query with two grades.
    """
    data = read_bytes(path)
    columns = file_columns(data, path, GRADE)
    if columns is None:
        text = text_of(data, path)
        if _is_beir(text):
            columns = columns_of(_beir_rows(text, path), path)
        else:
            columns = table_columns(text, path, GRADE) or columns_of(_trec_rows(text, path), path)
    return _qrels_of_columns(columns)


def qrels_of(value: Any, source: str | None = None) -> dict[str, dict[str, int]]:
    """Judgements from a file or a Python value: `{query: {passage: grade}}`, a DataFrame, rows of ir_datasets, ...

    Raises BadInput, with the `source` where that is given, for an id that is not text and for a grade that is not a
    whole number, with query and passage.
    """
    if isinstance(value, str | Path):
        return read_qrels(value)
    return _qrels_of_columns(replace(python_columns(value, GRADE), file=source))


def _qrels_of_columns(columns: Columns) -> dict[str, dict[str, int]]:
    """Judgements from columns that no one has checked. Raises BadInput."""
    columns.check_ids()
    qrels: dict[str, dict[str, int]] = {}
    rows = zip(columns.queries, columns.passages, columns.grades(), strict=True)
    for number, (query, passage, grade) in enumerate(rows):
        known = qrels.setdefault(query, {}).setdefault(passage, grade)
        if known != grade:
            raise columns.problem(number, f"judged twice for query {printable(query)!r}, {known} and {grade}; keep one")
    if not qrels:
        raise BadInput("contains no judgement", file=columns.file)
    return qrels


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a TREC file that say something, with their numbers: trec_eval 10 takes # for a comment."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip(" \r") and not line.startswith("#"):
            yield number, line


def _is_beir(text: str) -> bool:
    """Has the first line three columns between tabs, or more under a header, of which BEIR reads the first three?"""
    first, second = islice(chain((line for _, line in _lines(text)), ("", "")), 2)
    cells = first.rstrip("\r").split("\t")
    words = first.split()
    if len(cells) == 3:
        return len(words) != 4 or not _NUMBER.fullmatch(words[3]) or _NUMBER.fullmatch(cells[2]) is not None
    cells = second.rstrip("\r").split("\t")
    return len(cells) > 3 and _NUMBER.fullmatch(cells[2]) is not None and not _NUMBER.fullmatch(cells[-1])


def _beir_rows(text: str, path: str | Path) -> Iterator[GivenRow]:
    """The rows that BEIR's GenericDataLoader reads; without a header, the first line is one, too."""
    # As a text file is read: every kind of line end is one. A quote may go over several lines, as csv has it.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    width = 0
    number = 1
    try:
        for cells in reader:
            line = number
            number = reader.line_num + 1
            if not cells:
                continue
            if not width:
                width = len(cells)
                if width < 3 or not _NUMBER.fullmatch(cells[2].strip()):
                    # The header, whatever it says, unless it names the columns in another order than they are read in.
                    if column(cells[:1], PASSAGE) and column(cells[1:2], QUERY):
                        wrong = "has the document before the query; BEIR reads query, document and grade by position"
                        raise BadInput(f"{wrong}: exchange the first two columns", file=path, line=line)
                    continue
            if len(cells) != width or width < 3:
                raise BadInput(
                    f"has {plural(len(cells), 'column')} where the first line has {width}; judgements have {_LAYOUTS}",
                    file=path, line=line,
                )  # fmt: skip
            yield GivenRow(cells[0], cells[1], _grade(cells[2].strip(), path, line, cells[1]), line=line)
    except csv.Error as error:
        raise BadInput(f"cannot be read as csv ({error})", file=path, line=reader.line_num) from error


def _trec_rows(text: str, path: str | Path) -> Iterator[GivenRow]:
    # Other spaces (no-break ones, say) part no words; split() is quicker where there are none.
    has_others = _OTHER_BLANK.search(text) is not None
    for number, line in _lines(text):
        words = line.split()
        if has_others:
            words = re.split(r"[ \t\r]+", line.strip(" \t\r"))
        if len(words) != 4 and line.count("\t") == 3:
            # Between tabs an id may be empty or hold spaces, and is then refused by name.
            words = [word.strip(" \r") for word in line.split("\t")]
        if len(words) != 4:
            raise BadInput(
                f"has {plural(len(words), 'column')} where judgements have {_LAYOUTS}", file=path, line=number
            )
        yield GivenRow(words[0], words[2], _grade(words[3], path, number, words[2]), line=number)


def _grade(text: str, path: str | Path, line: int, passage: str) -> int:
    if not _GRADE.fullmatch(text):
        raise BadInput(
            f"grade {printable(text)!r} is not a whole number of at most nine digits", file=path, line=line, id=passage
        )
    return int(float(text))


def qrels_text(qrels: Qrels, layout: str = "%s 0 %s %s\n") -> str:
    """Judgements as a TREC qrels file, sorted by query and document; `layout` is that of a line."""
    lines = []
    for query, row in sorted(qrels.items()):
        for passage in sorted(row):
            lines.append(layout % (query, passage, row[passage]))
    return "".join(lines)


def write_qrels(qrels: Any, path: str | Path) -> bool:
    """Write judgements (all that qrels_of takes) whole or not at all; gzip where the name ends in .gz.

    For .tsv in BEIR's layout, with csv's quotes; TREC lines else. Raises BadInput, also for what a layout cannot hold.
    """
    judged = qrels_of(qrels)
    # BEIR's loader reads its files with csv, so an id with a quotation mark must be quoted as csv does it.
    if str(path).removesuffix(".gz").endswith(".tsv"):
        rows = io.StringIO()
        writer = csv.writer(rows, delimiter="\t", lineterminator="\n")
        writer.writerow(_BEIR_HEADER)
        for query, row in sorted(judged.items()):
            writer.writerows((query, passage, row[passage]) for passage in sorted(row))
        text = rows.getvalue()
    else:
        check_query_ids(judged)
        text = qrels_text(judged)
    data = text.encode()
    if str(path).endswith(".gz"):
        data = gzip_bytes(data)
    return write(path, data)


def qrels_digest(qrels: Qrels) -> str:
    """sha256 over the lines `query<TAB>document<TAB>grade`, sorted: the same for every file layout."""
    return digest_of(qrels_text(qrels, _BEIR_LINE))


def count(qrels: Qrels) -> int:
    """The number of judgements."""
    return sum(len(row) for row in qrels.values())


def positives_only(qrels: Qrels) -> bool:
    """True where no judgement is 0 or less: then an unjudged passage says nothing, and Judged@k is not shown."""
    return all(grade > 0 for row in qrels.values() for grade in row.values())
