"""The files that TWOLAR's authors train from: JSON lines of a query and its passages in the teacher's order.

A line holds `query`, `positive_passages` and `retrieved_passages`, each passage as `docid` and `text` (Dundalia/TWOLAR,
`utils.py`). It says nothing of first stages, repairs or titles. The query numbers of its two sources both begin at 0,
so a row's ids here are those of its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from exabench.errors import BadInput
from exabench.files import file_digest, from_json, lines, read_json, replacing
from exabench.permutation import KINDS, read_permutation
from exabench.rows import Row, checked_row

PADDING = "<padding_passage>"
"""What the authors' reader fills short lists with. It is no passage: a row holds none, wherever the file has one."""


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
    path, told_of = Path(file), None if answers is None else _answers(Path(answers))
    about = {"source": path.name, "source_revision": file_digest(path)}
    for number, text in lines(path):
        if not text.strip():
            continue
        try:
            line = from_json(text)
        except (ValueError, RecursionError) as error:
            raise BadInput("is not JSON", file=path, line=number) from error
        given = line if isinstance(line, dict) else {}
        query, passages = given.get("query"), _passages(given.get("retrieved_passages"))
        by = given.get("teacher") or teacher
        if not isinstance(query, str) or len(passages) < 2 or len({id for id, _ in passages}) < len(passages):
            wrong = 'needs a text "query" and "retrieved_passages" of two or more {"docid", "text"}, each once'
            raise BadInput(wrong, file=path, line=number)
        if not isinstance(by, str) or not by:
            raise BadInput("names no teacher; say who made these orders, as in teacher=NAME", file=path, line=number)
        told = {"query": query, "query_source": query_source, "teacher": by, "teacher_revision": teacher_revision}
        answer = None if told_of is None else next(told_of, None)
        if told_of is not None and answer is None:
            raise BadInput(f"{answers} ends before this line's answer", file=path, line=number)
        yield _row(f"{path.name.partition('.')[0]}-{number}", passages, told | about, answer)
    if told_of is not None and next(told_of, None) is not None:
        raise BadInput(f"{answers} has more answers than this file has lines", file=path)


def to_jsonl(rows: Iterable[Row], file: str | Path) -> int:
    """Write listwise rows as the authors' lines, title and text of a passage in one; how many rows."""
    count = 0
    with replacing(file) as stream:
        for row in rows:
            texts = [" ".join(filter(None, pair)) for pair in zip(row["titles"], row["passages"], strict=True)]
            retrieved = [{"docid": id, "text": text} for id, text in zip(row["passage_ids"], texts, strict=True)]
            line = {"query": row["query"], "positive_passages": [], "retrieved_passages": retrieved}
            stream.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
            count += 1
    return count


def _passages(listed: object) -> list[tuple[str, str]]:
    """(id, text) of every passage but padding; none where the list is not one of passages."""
    found = []
    for passage in listed if isinstance(listed, list) else []:
        id, text = (passage.get("docid"), passage.get("text")) if isinstance(passage, dict) else (None, None)
        if not isinstance(id, str | int) or not isinstance(text, str):
            return []
        if text != PADDING:
            found.append((str(id), text))
    return found


def _answers(file: Path) -> Iterator[str]:
    listed = read_json(file)
    if not isinstance(listed, list) or not all(isinstance(answer, str) for answer in listed):
        raise BadInput("is no JSON list of answers, one text for each line", file=file)
    return iter(listed)


def _row(id: str, passages: list[tuple[str, str]], told: Mapping[str, Any], answer: str | None) -> Row:
    ordered, ranks, repairs = passages, list[int](), dict.fromkeys(KINDS, -1)
    if answer is not None:
        found = read_permutation(answer, len(passages))
        ordered, ranks = [passages[place] for place in found.order], [place + 1 for place in found.order]
        repairs = dict(found.repairs)
    row = {
        **{"id": id, "query_id": id, "first_stage": "", "first_stage_ranks": ranks, "prompt": "", "replies": []},
        **{"passage_ids": [id for id, _ in ordered], "titles": ["" for _ in ordered]},
        **{"passages": [text for _, text in ordered]},
        **repairs,
        **told,
    }
    return checked_row("listwise", row)
