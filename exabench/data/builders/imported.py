"""Published files as a dataset: those of ExaRanker's and TWOLAR's authors, row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from exabench.core.errors import BadInput, plural
from exabench.core.files import digest_of, file_below, file_digest, lines, read_json
from exabench.core.nouns import Reply
from exabench.core.records import read, read_lines
from exabench.core.rows import Item, Row, labels_of_order
from exabench.data.exaranker_format import BEGINS, BETWEEN, COLUMNS, ENDS, TARGETS, input_text
from exabench.parts.permutation import KINDS, read_permutation

FAMILY_OF = {"exaranker": "explanations", "twolar": "listwise"}
"""The layouts that are read, and the family of their rows."""

PADDING = "<padding_passage>"
"""The text with which the TWOLAR authors' reader fills short lists. Rows leave it out, wherever the file has it."""


@dataclass(kw_only=True)
class Imported:
    """Every row of `file` (a path, or one below --data) as an item; `made_by` is the model that wrote them,
    and `made_by_revision` its version where that is known.

    `format` is "exaranker" (a TSV of label, input, output) or "twolar" (JSON lines of a query and its passages in the
    teacher's order; where `answers` names a JSON file of listwise answers next to it, in a first stage's, and these
    order them: so RankGPT's authors publish theirs). Nothing is asked, so a release of these rows carries no replies.
    """

    prompt = ""

    file: str
    format: Literal["exaranker", "twolar"]
    made_by: str
    made_by_revision: str = ""
    answers: str = ""
    data: str | Path | None = None

    def __post_init__(self) -> None:
        if self.answers and self.format != "twolar":
            raise BadInput(
                f"answers give orders of passage lists, which {self.format} files do not contain; remove them"
            )
        self.family = FAMILY_OF[self.format]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model that made the rows."""
        return {"model": self.made_by, "revision": self.made_by_revision}

    def items(self) -> Iterator[Item]:
        """One for each row, in the file's order."""
        file = self._path(self.file)
        made_by = {"teacher": self.made_by, "teacher_revision": self.made_by_revision}
        if self.format == "exaranker":
            rows = rows_from_tsv(file, **made_by)
        else:
            rows = rows_from_jsonl(file, **made_by, answers=self._path(self.answers) if self.answers else None)
        for row in rows:
            yield Item(row["id"], (), {"row": row})

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The row as it was read."""
        return [dict(item.data["row"])]

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Nothing: the file does not say how it was planned."""
        return {}

    def _path(self, name: str) -> Path:
        """A file below --data, or where it is."""
        return file_below(self.data, name)


def rows_from_tsv(file: Path, *, teacher: str, teacher_revision: str = "") -> Iterator[Row]:
    """The rows of the authors' file, plain or gzip: columns label, input and output, quoted as CSV.

    Query and passage are cut out of the input. The file has no ids, so they are made of texts and line numbers; rows
    that double others are kept. Raises BadInput with the line for a row that is not of the authors' form.
    """
    # With the line ends again: a quoted column may run over several lines.
    reader = csv.reader((f"{line}\n" for _, line in lines(file)), delimiter="\t")
    try:
        for record in reader:
            number = reader.line_num
            if number == 1 and tuple(record) == COLUMNS:
                continue  # the names of the columns, which a file may leave out
            if len(record) != len(COLUMNS):
                raise BadInput(f"has {plural(len(record), 'column')} where there are 3", file=file, line=number)
            label, text, target = record
            query, _, passage = text.removeprefix(BEGINS).removesuffix(ENDS).partition(BETWEEN)
            opening = TARGETS.get(label)
            # A second seam in the text would leave open where the query ends.
            is_input = text == input_text(query, passage) and BETWEEN not in passage
            if not is_input or opening is None or not target.startswith(opening):
                raise BadInput("is not an ExaRanker row (label, input, output)", file=file, line=number)
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


class _Passage(msgspec.Struct):
    docid: str | int
    text: str


class _ListLine(msgspec.Struct):
    """A query with its passages and, where the line says it, the teacher that ordered them.

    The authors' `utils.py` (Dundalia/TWOLAR) writes no first stages, repairs or titles. It numbers the queries of its
    two sources from 0 each, so its numbers are not ids and are not read.
    """

    query: str
    retrieved_passages: list[_Passage]
    teacher: str | None = None


def rows_from_jsonl(
    file: Path, *, teacher: str = "", teacher_revision: str = "", answers: Path | None = None
) -> Iterator[Row]:
    """The lines as rows of the family `listwise`; what the file does not say is empty, and repairs are -1 (not known).

    `teacher` is for lines that name none themselves. With `answers` (a JSON list of a listwise answer for each line, as
    RankGPT's authors publish theirs) passages are in the first stage's order, and the answers order them. Ids are
    `<file's name>-<line>`, the source is the file and its digest. Raises BadInput with the line where something is
    missing, or a list names a passage twice, and where there are not as many answers as lines.
    """
    unread = iter([] if answers is None else read(list[str], read_json(answers), file=answers))
    revision = file_digest(file)
    for number, line in read_lines(_ListLine, file):
        passages = [passage for passage in line.retrieved_passages if passage.text != PADDING]
        ids = {str(passage.docid) for passage in passages}
        if len(ids) < max(2, len(passages)):
            raise BadInput("needs two or more retrieved_passages, each once", file=file, line=number)
        if not line.teacher and not teacher:
            raise BadInput(
                "names no teacher; name the model that made these orders, as in teacher=NAME", file=file, line=number
            )
        first_stage_ranks = []
        repairs = dict.fromkeys(KINDS, -1)
        if answers is not None:
            answer = next(unread, None)
            if answer is None:
                raise BadInput(f"{answers} ends before this line's answer", file=file, line=number)
            permutation = read_permutation(answer, len(passages))
            repairs = dict(permutation.repairs)
            passages = [passages[place] for place in permutation.order]
            first_stage_ranks = [place + 1 for place in permutation.order]
        id = f"{file.name.partition('.')[0]}-{number}"
        yield {
            "id": id,
            "query_id": id,
            "query": line.query,
            "query_source": "",
            "first_stage": "",
            "passage_ids": [str(passage.docid) for passage in passages],
            "titles": [""] * len(passages),
            "passages": [passage.text for passage in passages],
            "labels": labels_of_order(len(passages)),
            "first_stage_ranks": first_stage_ranks,
            "method": "imported",
            **repairs,
            "source": file.name,
            "source_revision": revision,
            "teacher": line.teacher or teacher,
            "teacher_revision": teacher_revision,
            "prompt": "",
            "replies": [],
        }
    # One answer too many means that the two files are not of one list of queries.
    if next(unread, None) is not None:
        raise BadInput(f"{answers} has more answers than this file has lines", file=file)
