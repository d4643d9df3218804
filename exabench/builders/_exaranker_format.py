"""The texts that an ExaRanker reads and writes, and the authors' TSV files of them (unicamp-dl/ExaRanker, ds/)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from exabench.errors import BadInput, plural
from exabench.files import digest_of, lines
from exabench.rows import Row

COLUMNS = ("label", "input", "output")
_BEGINS, _BETWEEN, _ENDS = 'Is the question: "', '" answered by the document: "', '"? Give an explanation.'
_TARGETS = {"1": "true. Explanation:", "0": "false. Explanation:"}
_LINE_BREAKS = re.compile(r"[\r\n]+")


def input_text(query: str, passage: str) -> str:
    """What an ExaRanker reads."""
    return f"{_BEGINS}{query}{_BETWEEN}{passage}{_ENDS}"


def target_text(relevant: bool, explanation: str, line_breaks: str = "") -> str:
    """What it learns to write: the label first, then the explanation in one line."""
    return f"{_TARGETS[str(int(relevant))]} {_LINE_BREAKS.sub(line_breaks, explanation.strip())}"


def rows_from_tsv(file: str | Path, *, teacher: str, teacher_revision: str = "", prompt: str = "") -> Iterator[Row]:
    """The rows of a file of the authors', plain or gzip: columns label, input and output, quoted as CSV.

    Query and passage are cut out of the input. Ids are of texts and lines, since the file has none; rows that double
    others are kept. Raises BadInput with the line for a row that is not of the authors' form.
    """
    reader = csv.reader((f"{line}\n" for _, line in lines(file)), delimiter="\t")
    try:
        for record in reader:
            if reader.line_num == 1 and tuple(record) == COLUMNS:
                continue
            if len(record) != len(COLUMNS):
                raise BadInput(
                    f"has {plural(len(record), 'column')} where there are 3", file=file, line=reader.line_num
                )
            found = _row(reader.line_num, *record)
            if found is None:
                raise BadInput("is no ExaRanker row (label, input, output)", file=file, line=reader.line_num)
            origin = {"source": "MS MARCO triples", "source_revision": ""}
            made = {"teacher": teacher, "teacher_revision": teacher_revision, "prompt": prompt, "replies": []}
            yield {**found, **origin, **made}
    except csv.Error as error:
        raise BadInput(f"cannot be read as CSV ({error})", file=file, line=reader.line_num) from error


def to_tsv(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as the lines of such a file, the header first."""
    for record in (COLUMNS, *((str(int(row["relevant"])), row["input"], row["target"]) for row in rows)):
        text = io.StringIO()
        csv.writer(text, delimiter="\t").writerow(record)
        yield text.getvalue()


def _row(line: int, label: str, text: str, target: str) -> Row | None:
    query, between, passage = text.removeprefix(_BEGINS).removesuffix(_ENDS).partition(_BETWEEN)
    opening = _TARGETS.get(label)
    whole = text == input_text(query, passage) and _BETWEEN not in passage  # twice: nobody knows which is the seam
    if not whole or opening is None or not target.startswith(opening):
        return None
    query_id, passage_id = f"q{digest_of(query)[-16:]}", f"p{digest_of(passage)[-16:]}"
    return {
        **{"id": f"line{line}", "query_id": query_id, "query": query},
        **{"passage_id": passage_id, "title": "", "passage": passage},
        **{"relevant": label == "1", "explanation": target.removeprefix(opening).strip()},
        **{"input": text, "target": target},
    }
