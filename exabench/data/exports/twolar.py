"""TWOLAR's JSON Lines: a query and its passages in the teacher's order, best first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from exabench.core.rows import Row
from exabench.data.exports import Exported
from exabench.data.exports._groups import ORDERED, group_of
from exabench.data.exports._json_lines import write_json_lines


class TwolarFormat:
    """A line for each list (Dundalia/TWOLAR, utils.py); a passage's title and text are one text."""

    families = ORDERED

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """The file `to`. Scores are not kept: the authors' losses learn from the order."""
        return Exported(write_json_lines(to, self._lines(family, rows)))

    def _lines(self, family: str, rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
        for row in rows:
            group = group_of(family, row)
            passages = [{"docid": passage.id, "text": passage.flat()} for passage in group.passages]
            yield {"query": group.query.text, "positive_passages": [], "retrieved_passages": passages}
