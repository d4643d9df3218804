"""Files of others as a dataset of ours: what ExaRanker's and TWOLAR's authors published, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from exabench.core.errors import BadInput
from exabench.core.files import file_digest, read_json, replacing
from exabench.core.nouns import Reply
from exabench.core.records import read, read_lines
from exabench.core.rows import FAMILIES, Item, Row, checked_row
from exabench.data.builders._exaranker_format import COLUMNS, rows_from_tsv, tsv_line
from exabench.parts.permutation import KINDS, read_permutation

FAMILY_OF = {"exaranker": "explanations", "twolar": "listwise"}
"""The layouts that are read and written, and the family of their rows."""

PADDING = "<padding_passage>"
"""The text with which the TWOLAR authors' reader fills short lists. Rows leave it out, wherever the file has it."""


@dataclass(kw_only=True)
class Imported:
    """Every row of `file` (a path, or one below --data) as an item; `made_by` is the model that wrote them,
    and `made_by_revision` its version where that is known.

    `format` is "exaranker" (a TSV of label, input, output) or "twolar" (JSON lines of a query and its passages in the
    teacher's order; where `answers` names a JSON file of listwise answers beside it, in a first stage's, and these
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
            raise BadInput(f"answers order lists of passages, which {self.format} files do not hold; leave them out")
        self.family = FAMILY_OF[self.format]

    def items(self) -> Iterator[Item]:
        """One for each row, in the file's order."""
        file = self._path(self.file)
        if self.format == "exaranker":
            rows = rows_from_tsv(file, teacher=self.made_by, teacher_revision=self.made_by_revision)
        else:
            answers = self._path(self.answers) if self.answers else None
            rows = rows_from_jsonl(file, teacher=self.made_by, teacher_revision=self.made_by_revision, answers=answers)
        for row in rows:
            yield Item(row["id"], (), {"row": row})

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The row as it was read."""
        return dict(item.data["row"])

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Nothing: the file does not say how it was planned."""
        return {}

    def _path(self, name: str) -> Path:
        """A file below --data, or where it is."""
        below = Path(self.data or "") / name
        return below if below.is_file() else Path(name)


def export(rows: Iterable[Row], format: Literal["exaranker", "twolar"], file: str | Path) -> int:
    """Write rows as the authors' code reads them; returns their number. Raises BadInput for another family's rows.

    Lines of "twolar" hold title and text of a passage as one.
    """
    family = FAMILY_OF[format]
    count = 0
    with replacing(file) as stream:
        if format == "exaranker":
            stream.write(tsv_line(COLUMNS).encode())
        for row in rows:
            if not row.keys() >= FAMILIES[family].keys():
                raise BadInput(f"is no row of {family}, which {format} files hold", id=row.get("id"))
            if format == "exaranker":
                line = tsv_line((str(int(row["relevant"])), row["input"], row["target"]))
            else:
                passages = []
                for id, title, text in zip(row["passage_ids"], row["titles"], row["passages"], strict=True):
                    passages.append({"docid": id, "text": f"{title} {text}" if title and text else title or text})
                record = {"query": row["query"], "positive_passages": [], "retrieved_passages": passages}
                line = json.dumps(record, ensure_ascii=False) + "\n"
            stream.write(line.encode())
            count += 1
    return count


class _Passage(msgspec.Struct):
    docid: str | int
    text: str


class _ListLine(msgspec.Struct):
    """A query with its passages and, where the line says it, the teacher that ordered them.

    The authors' `utils.py` (Dundalia/TWOLAR) writes no first stages, repairs or titles. It numbers the queries of its
    two sources from 0 each, so its numbers are no ids and are not read.
    """

    query: str
    retrieved_passages: list[_Passage]
    teacher: str | None = None


def rows_from_jsonl(
    file: str | Path, *, teacher: str = "", teacher_revision: str = "", answers: str | Path | None = None
) -> Iterator[Row]:
    """The lines as rows of the family `listwise`; what the file does not say is empty, and repairs are -1 (not known).

    `teacher` is for lines that name none themselves. With `answers` (a JSON list of a listwise answer for each line, as
    RankGPT's authors publish theirs) passages stand in the first stage's order, and the answers order them. Ids are
    `<file's name>-<line>`, the source is the file and its digest. Raises BadInput with the line where something is
    missing, or a list names a passage twice, and where there are not as many answers as lines.
    """
    path = Path(file)
    answer_of_line = None if answers is None else iter(read(list[str], read_json(answers), file=answers))
    revision = file_digest(path)
    for number, line in read_lines(_ListLine, path):
        passages = [passage for passage in line.retrieved_passages if passage.text != PADDING]
        if len({str(passage.docid) for passage in passages}) < max(2, len(passages)):
            raise BadInput("needs two or more retrieved_passages, each once", file=path, line=number)
        if not line.teacher and not teacher:
            raise BadInput("names no teacher; say who made these orders, as in teacher=NAME", file=path, line=number)
        first_stage_ranks: list[int] = []
        repairs = dict.fromkeys(KINDS, -1)
        if answer_of_line is not None:
            answer = next(answer_of_line, None)
            if answer is None:
                raise BadInput(f"{answers} ends before this line's answer", file=path, line=number)
            permutation = read_permutation(answer, len(passages))
            passages = [passages[place] for place in permutation.order]
            first_stage_ranks = [place + 1 for place in permutation.order]
            repairs = dict(permutation.repairs)
        id = f"{path.name.partition('.')[0]}-{number}"
        row = {
            "id": id,
            "query_id": id,
            "query": line.query,
            "query_source": "",
            "first_stage": "",
            "passage_ids": [str(passage.docid) for passage in passages],
            "titles": [""] * len(passages),
            "passages": [passage.text for passage in passages],
            "first_stage_ranks": first_stage_ranks,
            **repairs,
            "source": path.name,
            "source_revision": revision,
            "teacher": line.teacher or teacher,
            "teacher_revision": teacher_revision,
            "prompt": "",
            "replies": [],
        }
        yield checked_row("listwise", row)
    if answer_of_line is not None and next(answer_of_line, None) is not None:
        raise BadInput(f"{answers} has more answers than this file has lines", file=path)
