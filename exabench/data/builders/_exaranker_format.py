"""The texts that an ExaRanker reads and writes, and the authors' TSV files of them (unicamp-dl/ExaRanker, ds/)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from exabench.core.errors import BadInput, plural
from exabench.core.files import digest_of, lines
from exabench.core.rows import Row

COLUMNS = ("label", "input", "output")
_BEGINS = 'Is the question: "'
_BETWEEN = '" answered by the document: "'
_ENDS = '"? Give an explanation.'
_TARGETS = {"1": "true. Explanation:", "0": "false. Explanation:"}


def input_text(query: str, passage: str) -> str:
    """The input of an ExaRanker."""
    return f"{_BEGINS}{query}{_BETWEEN}{passage}{_ENDS}"


def target_text(relevant: bool, explanation: str, line_breaks: str = "") -> str:
    """The output that it learns: the label first, then the explanation in one line."""
    in_one_line = re.sub(r"[\r\n]+", line_breaks, explanation.strip())
    return f"{_TARGETS[str(int(relevant))]} {in_one_line}"


def rows_from_tsv(file: str | Path, *, teacher: str, teacher_revision: str = "") -> Iterator[Row]:
    """The rows of the authors' file, plain or gzip: columns label, input and output, quoted as CSV.

    Query and passage are cut out of the input. The file has no ids, so they are made of texts and line numbers; rows
    that double others are kept. Raises BadInput with the line for a row that is not of the authors' form.
    """
    reader = csv.reader((f"{line}\n" for _, line in lines(file)), delimiter="\t")
    try:
        for record in reader:
            number = reader.line_num
            if number == 1 and tuple(record) == COLUMNS:
                continue
            if len(record) != len(COLUMNS):
                raise BadInput(f"has {plural(len(record), 'column')} where there are 3", file=file, line=number)
            label, text, target = record
            query, _, passage = text.removeprefix(_BEGINS).removesuffix(_ENDS).partition(_BETWEEN)
            opening = _TARGETS.get(label)
            # A second seam in the text would leave open where the query ends.
            is_input = text == input_text(query, passage) and _BETWEEN not in passage
            if not is_input or opening is None or not target.startswith(opening):
                raise BadInput("is no ExaRanker row (label, input, output)", file=file, line=number)
            yield {
                "id": f"line{number}",
                "query_id": f"q{digest_of(query)[-16:]}",
                "query": query,
                "passage_id": f"p{digest_of(passage)[-16:]}",
                "title": "",
                "passage": passage,
                "relevant": label == "1",
                "explanation": target.removeprefix(opening).strip(),
                "input": text,
                "target": target,
                "source": "MS MARCO triples",
                "source_revision": "",
                "teacher": teacher,
                "teacher_revision": teacher_revision,
                "prompt": "",
                "replies": [],
            }
    except csv.Error as error:
        raise BadInput(f"cannot be read as CSV ({error})", file=file, line=reader.line_num) from error


def tsv_line(record: Sequence[str]) -> str:
    """A line of the authors' file, with the CRLF that ends it."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t").writerow(record)
    return text.getvalue()
