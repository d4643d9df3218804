"""Tevatron's JSON Lines: a query with its positive and negative passages, each with id, title and text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from exabench.core.rows import Row
from exabench.data.exports import Exported
from exabench.data.exports._groups import ALL, ORDERED, LearningGroups, QueryGroup
from exabench.data.exports._json_lines import write_json_lines


class TevatronFormat:
    """A line for each query, as Tevatron trains rerankers and retrievers on (texttron/tevatron, src/tevatron).

    Keys: query_id, query, positive_passages, negative_passages. Passages of orders and scores also have a `score`,
    which its distillation reads. Its readers leave `id` aside.
    """

    families = ALL

    def write(self, family: str, split: str, rows: Iterable[Row], to: Path) -> Exported:
        """The file `to`."""
        found = LearningGroups(family, rows)
        count = write_json_lines(to, self._lines(family, found))
        return Exported(count, found.left_out)

    def _lines(self, family: str, found: LearningGroups) -> Iterator[dict[str, Any]]:
        for group in found:
            passages = self._passages(family, group)
            yield {
                "id": group.id,
                "query_id": group.query.id,
                "query": group.query.text,
                "positive_passages": passages[: group.positives],
                "negative_passages": passages[group.positives :],
            }

    def _passages(self, family: str, group: QueryGroup) -> list[dict[str, Any]]:
        passages = []
        for passage, label in zip(group.passages, group.labels, strict=True):
            # The reranker's reader needs a title, even an empty one.
            told: dict[str, Any] = {"docid": passage.id, "title": passage.title, "text": passage.text}
            if family in ORDERED:
                told["score"] = label
            passages.append(told)
        return passages
