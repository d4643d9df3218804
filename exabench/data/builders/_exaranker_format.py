"""The texts that an ExaRanker reads and writes, and the authors' TSV files of them (unicamp-dl/ExaRanker, ds/)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from exabench.core.errors import BadInput, plural
from exabench.core.files import digest_of, lines, replacing
from exabench.core.rows import Row

COLUMNS = ("label", "input", "output")
_BEGINS = 'Is the question: "'
_BETWEEN = '" answered by the document: "'
_ENDS = '"? Give an explanation.'
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
            number = reader.line_num
            if number == 1 and tuple(record) == COLUMNS:
                continue
            if len(record) != len(COLUMNS):
                raise BadInput(f"has {plural(len(record), 'column')} where there are 3", file=file, line=number)
            row = _row(number, *record)
            if row is None:
                raise BadInput("is no ExaRanker row (label, input, output)", file=file, line=number)
            yield {
                **row,
                "source": "MS MARCO triples",
                "source_revision": "",
                "teacher": teacher,
                "teacher_revision": teacher_revision,
                "prompt": prompt,
                "replies": [],
            }
    except csv.Error as error:
        raise BadInput(f"cannot be read as CSV ({error})", file=file, line=reader.line_num) from error


def to_tsv(rows: Iterable[Row], file: str | Path) -> int:
    """Write rows as the authors' TSV, the header first; how many rows."""
    count = 0
    with replacing(file) as stream:
        stream.write(_tsv_line(COLUMNS))
        for row in rows:
            stream.write(_tsv_line((str(int(row["relevant"])), row["input"], row["target"])))
            count += 1
    return count


def _tsv_line(record: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter="\t").writerow(record)
    return text.getvalue().encode()


def _row(line: int, label: str, text: str, target: str) -> Row | None:
    query, _, passage = text.removeprefix(_BEGINS).removesuffix(_ENDS).partition(_BETWEEN)
    if text != input_text(query, passage) or _BETWEEN in passage:  # twice: nobody knows which is the seam
        return None
    opening = _TARGETS.get(label)
    if opening is None or not target.startswith(opening):
        return None
    return {
        "id": f"line{line}",
        "query_id": f"q{digest_of(query)[-16:]}",
        "query": query,
        "passage_id": f"p{digest_of(passage)[-16:]}",
        "title": "",
        "passage": passage,
        "relevant": label == "1",
        "explanation": target.removeprefix(opening).strip(),
        "input": text,
        "target": target,
    }
