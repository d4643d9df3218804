"""Files of others as a dataset of ours: what ExaRanker's and TWOLAR's authors published, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exabench.core.errors import BadInput
from exabench.core.nouns import Reply
from exabench.core.rows import FAMILIES, Item, Row
from exabench.data.builders._exaranker_format import rows_from_tsv, to_tsv
from exabench.data.builders._twolar_format import rows_from_jsonl, to_jsonl

FAMILY_OF = {"exaranker": "explanations", "twolar": "listwise"}
"""The layouts that are read and written, and the family of their rows."""


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
        return {name: item.data["row"][name] for name in FAMILIES[self.family]}

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Nothing: the file does not say how it was planned."""
        return {}

    def _path(self, name: str) -> Path:
        """A file below --data, or where it is."""
        below = Path(self.data or "") / name
        return below if below.is_file() else Path(name)


def export(rows: Iterable[Row], format: Literal["exaranker", "twolar"], file: str | Path) -> int:
    """Write rows as the authors' code reads them; how many. Raises BadInput for another family's rows."""
    write = to_tsv if format == "exaranker" else to_jsonl
    return write(_of_family(rows, format), file)


def _of_family(rows: Iterable[Row], format: str) -> Iterator[Row]:
    family = FAMILY_OF[format]
    for row in rows:
        if not row.keys() >= FAMILIES[family].keys():
            raise BadInput(f"is no row of {family}, which {format} files hold", id=row.get("id"))
        yield row
