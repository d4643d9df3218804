"""Files of others as a dataset of ours: what ExaRanker's and TWOLAR's authors published, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from exabench.builders._exaranker_format import rows_from_tsv, to_tsv
from exabench.builders._twolar_format import rows_from_jsonl, to_jsonl
from exabench.errors import BadInput, UnknownName
from exabench.files import replacing
from exabench.nouns import Reply
from exabench.rows import FAMILIES, Item, Row

FORMATS = {"exaranker": "explanations", "twolar": "listwise"}
"""The layouts that are read and written, and the family of their rows."""


class Imported:
    """Every row of `file` (a path, or one below --data) as an item; `made_by` is the model that wrote them.

    `format` is "exaranker" (a TSV of label, input, output) or "twolar" (JSON lines of a query and its passages in the
    teacher's order; where `answers` names a JSON file of listwise answers beside it, in a first stage's, and these
    order them: so RankGPT's authors publish theirs). Nothing is asked, so a release of these rows carries no replies.
    """

    prompt = ""

    def __init__(
        self,
        *,
        file: str,
        format: str,
        made_by: str,
        made_by_revision: str = "",
        answers: str = "",
        data: str | Path | None = None,
    ) -> None:
        if format not in FORMATS:
            raise UnknownName("format", format, FORMATS)
        self.family = FORMATS[format]
        if answers and format != "twolar":
            raise BadInput(f"answers order lists of passages, which {format} files do not hold; leave them out")
        path, told = (_found(name, data) for name in (file, answers))
        read: Callable[..., Iterator[Row]] = rows_from_tsv if format == "exaranker" else rows_from_jsonl
        more = {"answers": told} if answers else {}
        self._rows = partial(read, path, teacher=made_by, teacher_revision=made_by_revision, **more)

    def items(self) -> Iterator[Item]:
        """One for each row, in the file's order."""
        for row in self._rows():
            yield Item(row["id"], (), {"row": row})

    def row(self, item: Item, replies: Sequence[Reply]) -> Row:
        """The row as it was read."""
        return {name: item.data["row"][name] for name in FAMILIES[self.family]}

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Nothing: the file does not say how it was planned."""
        return {}


def _found(name: str, data: str | Path | None) -> Path:
    """A file below --data, or where it is."""
    own = Path(data or "") / name
    return own if own.is_file() else Path(name)


def export(rows: Iterable[Row], format: str, file: str | Path) -> int:
    """Write rows as the authors' code reads them; how many. Raises UnknownName, BadInput for another family's rows."""
    if format not in FORMATS:
        raise UnknownName("format", format, FORMATS)
    count = 0

    def fitting() -> Iterator[Row]:
        nonlocal count
        for row in rows:
            if not row.keys() >= FAMILIES[FORMATS[format]].keys():
                raise BadInput(f"is no row of {FORMATS[format]}, which {format} files hold", id=row.get("id"))
            count += 1
            yield row

    if format == "twolar":
        return to_jsonl(fitting(), file)
    with replacing(file) as stream:
        stream.writelines(line.encode() for line in to_tsv(fitting()))
    return count
