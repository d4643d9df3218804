"""Qrels: reading and writing judgements (TREC and BEIR layout), and their canonical digest."""

from __future__ import annotations

import re
from pathlib import Path

from exabench.core.errors import BadInput, plural, printable
from exabench.core.files import digest_of, gzip_bytes, read_text, write
from exabench.core.nouns import Qrels
from exabench.measure.runs import BAD_ID, is_id

_GRADE = re.compile(r"[+-]?\d{1,9}")
_BEIR_HEADER = ("query-id", "corpus-id", "score")
_BEIR_LINE = "%s\t%s\t%s\n"


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements: TREC (`query iteration document grade`) or BEIR tsv (with its header), plain or gzip.

    Raises BadInput with file, line and id for an empty file, a wrong number of columns, a grade that is not an
    integer, or a document judged twice for a query.
    """
    qrels: dict[str, dict[str, int]] = {}
    layout: tuple[str, ...] = ("query", "iteration", "document", "grade")
    for number, line in enumerate(read_text(path).split("\n"), 1):
        words = line.split()
        # Between tabs an id may be empty or hold blanks, and is then refused by name.
        if "\t" in line:
            words = line.rstrip("\r").split("\t")
        if not words:
            continue
        if tuple(words) == _BEIR_HEADER and not qrels:
            layout = _BEIR_HEADER
            continue
        if len(words) != len(layout):
            raise BadInput(
                f"has {plural(len(words), 'column')} where qrels have {len(layout)} ({' '.join(layout)})",
                file=path,
                line=number,
            )
        words = [word.strip(" ") for word in words]
        query = words[0]
        passage = words[-2]
        for id in (query, passage):
            if not is_id(id):
                raise BadInput(BAD_ID, file=path, line=number, id=id)
        if not _GRADE.fullmatch(words[-1]):
            raise BadInput(f"grade {printable(words[-1])!r} is not an integer", file=path, line=number, id=passage)
        row = qrels.setdefault(query, {})
        if passage in row:
            raise BadInput(f"judged twice for query {query!r}; keep one line", file=path, line=number, id=passage)
        row[passage] = int(words[-1])
    if not qrels:
        raise BadInput("holds no judgement", file=path)
    return qrels


def qrels_text(qrels: Qrels, layout: str = "%s 0 %s %s\n") -> str:
    """Judgements as a TREC qrels file, sorted by query and document; `layout` is that of a line."""
    lines = []
    for query, row in sorted(qrels.items()):
        for passage in sorted(row):
            lines.append(layout % (query, passage, row[passage]))
    return "".join(lines)


def write_qrels(qrels: Qrels, path: str | Path) -> bool:
    """Write judgements whole or not at all: BEIR layout for .tsv, TREC else; gzip where the name ends in .gz."""
    text = qrels_text(qrels)
    if str(path).removesuffix(".gz").endswith(".tsv"):
        text = "\t".join(_BEIR_HEADER) + "\n" + qrels_text(qrels, _BEIR_LINE)
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
