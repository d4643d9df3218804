"""The files that TWOLAR's authors train from: JSON lines of a query and its passages in the teacher's order.

A line holds `query`, `positive_passages` and `retrieved_passages`, each passage as `docid` and `text` (Dundalia/TWOLAR,
`utils.py`). It says nothing of first stages, repairs or titles. The query numbers of its two sources both begin at 0,
so a row's ids here are those of its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from exabench.core.errors import BadInput
from exabench.core.files import file_digest, read_json, replacing
from exabench.core.records import read, read_lines
from exabench.core.rows import Row, checked_row
from exabench.parts.permutation import KINDS, read_permutation

PADDING = "<padding_passage>"
"""What the authors' reader fills short lists with. It is no passage: a row holds none, wherever the file has one."""


class _Passage(msgspec.Struct):
    docid: str | int
    text: str


class _ListLine(msgspec.Struct):
    """A query with its passages and, where the line says it, the teacher that ordered them."""

    query: str
    retrieved_passages: list[_Passage]
    teacher: str | None = None


def rows_from_jsonl(
    file: str | Path,
    *,
    teacher: str = "",
    teacher_revision: str = "",
    query_source: str = "",
    answers: str | Path | None = None,
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
        places = list(range(len(passages)))
        first_stage_ranks: list[int] = []
        repairs = dict.fromkeys(KINDS, -1)
        if answer_of_line is not None:
            answer = next(answer_of_line, None)
            if answer is None:
                raise BadInput(f"{answers} ends before this line's answer", file=path, line=number)
            permutation = read_permutation(answer, len(passages))
            places = list(permutation.order)
            first_stage_ranks = [place + 1 for place in places]
            repairs = dict(permutation.repairs)
        id = f"{path.name.partition('.')[0]}-{number}"
        row = {
            "id": id,
            "query_id": id,
            "query": line.query,
            "query_source": query_source,
            "first_stage": "",
            "passage_ids": [str(passages[place].docid) for place in places],
            "titles": [""] * len(places),
            "passages": [passages[place].text for place in places],
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


def to_jsonl(rows: Iterable[Row], file: str | Path) -> int:
    """Write listwise rows as the authors' lines, title and text of a passage in one; how many rows."""
    count = 0
    with replacing(file) as stream:
        for row in rows:
            retrieved = []
            for id, title, text in zip(row["passage_ids"], row["titles"], row["passages"], strict=True):
                retrieved.append({"docid": id, "text": f"{title} {text}" if title and text else title or text})
            line = {"query": row["query"], "positive_passages": [], "retrieved_passages": retrieved}
            stream.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
            count += 1
    return count
