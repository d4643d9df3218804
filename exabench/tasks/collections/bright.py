"""BRIGHT on the Hugging Face Hub: documents and examples, each with the documents that its query excludes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from exabench.core.errors import REASON, BadInput, printable
from exabench.core.nouns import Passage, Qrels, Query
from exabench.tasks.collections import passage_of, query_of
from exabench.tasks.collections.hub import Hub

_LONG = "long_documents"


class Bright(Hub):
    """A Hub repository with the configs `examples` and `documents` (or `long_documents`); a split is a domain.

    Judgements are in the examples: every id of `gold_ids` has grade 1 (`gold_ids_long` for the long documents). So are
    `excluded_ids`, the documents that are left out of the query's ranking; "N/A" stands for none.
    """

    def is_available(self) -> bool:
        """True for a task of the Hub that drops excluded ids: no other layout there names any."""
        return super().is_available() and self._task.convention.excluded_ids == "drop"

    def queries(self) -> Iterator[Query]:
        """The examples of the domain."""
        for row in self._examples(self._task.split):
            yield query_of(self._id(row), row.get("query"), self.source)

    def passages(self) -> Iterator[Passage]:
        """The documents of the domain."""
        for row in self._rows(self._repo, self._place.get("config", "documents"), self._task.split):
            yield passage_of(self._id(row), row.get("content"), "", self.source)

    def qrels(self, split: str) -> Qrels:
        """Grade 1 for every gold document of an example."""
        field = "gold_ids"
        if self._is_long():
            field = "gold_ids_long"
        qrels = {}
        for row in self._examples(split):
            qrels[self._id(row)] = dict.fromkeys(self._ids(row, field), 1)
        return qrels

    def excluded(self) -> Mapping[str, Set[str]]:
        """The documents that each query excludes; queries without any are left out."""
        excluded = {}
        for row in self._examples(self._task.split):
            ids = self._ids(row, "excluded_ids")
            if ids:
                excluded[self._id(row)] = ids
        return excluded

    def _is_long(self) -> bool:
        return self._place.get("config") == _LONG

    def _examples(self, split: str) -> Iterator[dict[str, Any]]:
        return self._rows(self._repo, "examples", split)

    def _ids(self, row: Mapping[str, Any], field: str) -> set[str]:
        """The ids of a list without "N/A". Raises BadInput where the row has no such list."""
        ids = row.get(field)
        if not isinstance(ids, list):
            raise BadInput(
                f"{self.source}: an example has no list {field!r}; its fields: {printable(', '.join(row), REASON)}"
            )
        return {str(id) for id in ids} - {"N/A"}
