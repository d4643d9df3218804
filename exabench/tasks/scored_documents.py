"""Lists of scored documents that collections of ir_datasets come with (their scoreddocs)."""

from __future__ import annotations

from collections.abc import Iterator

import ir_datasets

from exabench.core.errors import BadInput, UnknownName
from exabench.tasks.collections.ir_datasets import read_dataset


class ScoredDocuments:
    """The lists of the collection `id`. Raises UnknownName, BadInput for one without lists; asks no network."""

    def __init__(self, id: str) -> None:
        try:
            dataset = ir_datasets.load(id)
        except KeyError:
            raise UnknownName("ir_datasets id", id, _ids_with_lists()) from None
        if not dataset.has_scoreddocs():
            family = id.split("/")[0]
            near = [other for other in _ids_with_lists() if other.split("/")[0] == family]
            hint = f"of {family} these have: {', '.join(near)}" if near else f"nor has any other of {family}"
            raise BadInput(f"ir_datasets {id} has no scoreddocs; {hint}")
        self._id = id

    def __iter__(self) -> Iterator[tuple[str, str, float]]:
        """Query, passage and score of every row, in the package's order. Raises OutsideFailed."""
        for row in read_dataset(self._id, "scoreddocs_iter"):
            yield row.query_id, row.doc_id, row.score


def _ids_with_lists() -> list[str]:
    """The ids of ir_datasets that have scoreddocs."""
    return [name for name in ir_datasets.registry if ir_datasets.registry[name].has_scoreddocs()]
