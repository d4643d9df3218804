"""Qrels: reading and writing judgements (TREC and BEIR layout), and their canonical digest."""

from __future__ import annotations

import re
from pathlib import Path

from exabench.core.errors import BadInput, plural, printable
from exabench.core.files import digest_of, packed, read_text, write
from exabench.core.nouns import Qrels

_GRADE = re.compile(r"[+-]?\d{1,9}")
_BEIR_HEADER = ("query-id", "corpus-id", "score")


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements: TREC (`query iteration document grade`) or BEIR tsv (with its header), plain or gzip.

    Raises BadInput with file, line and id for an empty file, a wrong number of columns, a grade that is not an
    integer, or a document judged twice for a query.
    """
    qrels: dict[str, dict[str, int]] = {}
    width = 4
    for number, line in enumerate(read_text(path).split("\n"), 1):
        words = tuple(line.rstrip("\r").split("\t") if "\t" in line else line.split())
        if not words or words == ("",):
            continue
        if words == _BEIR_HEADER and not qrels:
            width = 3
            continue
        query, passage, grade = _checked(words, width, path, number)
        row = qrels.setdefault(query, {})
        if passage in row:
            raise BadInput(f"judged twice for query {query!r}; keep one line", file=path, line=number, id=passage)
        row[passage] = grade
    if not qrels:
        raise BadInput("holds no judgement", file=path)
    return qrels


def _checked(words: tuple[str, ...], width: int, path: str | Path, number: int) -> tuple[str, str, int]:
    words = tuple(word.strip(" ") for word in words)
    if len(words) != width:
        layout = "query iteration document grade" if width == 4 else "query-id corpus-id score"
        raise BadInput(
            f"has {plural(len(words), 'column')} where qrels have {width} ({layout})", file=path, line=number
        )
    query, passage, grade = words[0], words[-2], words[-1]
    for id in (query, passage):
        if not id or any(c.isspace() or c < " " or "\x7f" <= c <= "\x9f" for c in id):
            raise BadInput(
                "an id may not be empty nor hold blanks or control characters", file=path, line=number, id=id
            )
    if not _GRADE.fullmatch(grade):
        raise BadInput(f"grade {printable(grade)!r} is not an integer", file=path, line=number, id=passage)
    return query, passage, int(grade)


def qrels_text(qrels: Qrels) -> str:
    """Judgements as a TREC qrels file, sorted by query and document."""
    return "".join(f"{q} 0 {p} {grade}\n" for q in sorted(qrels) for p, grade in sorted(qrels[q].items()))


def write_qrels(qrels: Qrels, path: str | Path) -> bool:
    """Write judgements whole or not at all: BEIR layout for .tsv, TREC else; gzip where the name ends in .gz."""
    text = qrels_text(qrels)
    if str(path).removesuffix(".gz").endswith(".tsv"):
        rows = [line.split(" ") for line in text.splitlines()]
        text = "\t".join(_BEIR_HEADER) + "\n" + "".join(f"{q}\t{p}\t{grade}\n" for q, _, p, grade in rows)
    return write(path, packed(text.encode()) if str(path).endswith(".gz") else text)


def qrels_digest(qrels: Qrels) -> str:
    """sha256 over the lines `query<TAB>document<TAB>grade`, sorted: the same for every file layout."""
    lines = sorted(f"{q}\t{p}\t{grade}\n" for q, row in qrels.items() for p, grade in row.items())
    return digest_of("".join(lines))


def count(qrels: Qrels) -> int:
    """The number of judgements."""
    return sum(len(row) for row in qrels.values())


def positives_only(qrels: Qrels) -> bool:
    """True where no judgement is 0 or less: then an unjudged passage says nothing, and Judged@k is not shown."""
    return all(grade > 0 for row in qrels.values() for grade in row.values())
