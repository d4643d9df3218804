"""Lists included in an ir_datasets collection (scoreddocs), such as MS MARCO's top 1000 per query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from exabench.core.errors import BadInput
from exabench.core.nouns import Passage, Query, Run
from exabench.measure.runs import run_of, top
from exabench.tasks.collections.ir_datasets import PACKAGE
from exabench.tasks.scored_documents import ScoredDocuments


class ScoredDocs:
    """The scoreddocs of the ir_datasets collection `id`, which is that of the task unless given.

    Some are not rankings: MS MARCO's top 1000 have no scores. Such lists are taken whole, with equal scores, and are
    never cut, for no one knows which of their passages come first.
    """

    whole = False

    def __init__(
        self,
        passages: Iterable[Passage] = (),
        fields: tuple[str, ...] = (),
        *,
        id: str = "",
    ) -> None:
        if not id:
            raise BadInput("the task is not in ir_datasets; name a collection, as in --set id=msmarco-passage/dev")
        self._rows = ScoredDocuments(id)
        self._id = id
        self.parameters: dict[str, Any] = {"id": id, "package": PACKAGE}

    def search(self, queries: Sequence[Query], depth: int) -> Run:
        """The lists of these queries, cut at `depth`.

        Raises OutsideFailed, and BadInput where lists without scores would be cut.
        """
        scores: dict[str, dict[str, float]] = {query.id: {} for query in queries}
        for query_id, passage_id, score in self._rows:
            if query_id in scores:
                scores[query_id][passage_id] = score
        # Where ir_datasets has no scores, all rows of a query have the same.
        is_ranked = any(len(set(row.values())) > 1 for row in scores.values())
        longest = max(map(len, scores.values()), default=0)
        if not is_ranked and longest > depth:
            raise BadInput(
                f"the scoreddocs of ir_datasets {self._id} have no scores, so they cannot be cut at {depth}; "
                f"use all of them, with --depth {longest}"
            )
        self.parameters["ranked"] = is_ranked
        return top(run_of("scoreddocs", scores), depth)
