"""Lists of scored documents that collections of ir_datasets come with (their scoreddocs)."""

from __future__ import annotations

from collections.abc import Iterator

import ir_datasets

from exabench.core.errors import BadInput, OutsideFailed, UnknownName

PACKAGE = f"ir_datasets {ir_datasets.__version__}"
"""What pins the lists: the package checks what it downloads against its own checksums."""


class ScoredDocuments:
    """The lists of the collection `id`. Raises UnknownName, BadInput for one without lists; asks no network."""

    def __init__(self, id: str) -> None:
        try:
            self._dataset = ir_datasets.load(id)
        except KeyError:
            raise UnknownName("ir_datasets id", id, _ids_with_lists()) from None
        if not self._dataset.has_scoreddocs():
            family = id.split("/")[0]
            near = [other for other in _ids_with_lists() if other.split("/")[0] == family]
            hint = f"of {family} these have: {', '.join(near)}" if near else f"nor has any other of {family}"
            raise BadInput(f"ir_datasets {id} has no scoreddocs; {hint}")
        self._id = id

    def __iter__(self) -> Iterator[tuple[str, str, float]]:
        """Query, passage and score of every row, in the package's order. Raises OutsideFailed."""
        try:
            for row in self._dataset.scoreddocs_iter():
                yield row.query_id, row.doc_id, row.score
        except GeneratorExit:
            raise
        except Exception as error:  # a download can fail in as many ways as there are mirrors
            raise OutsideFailed(f"ir_datasets {self._id}: {type(error).__name__}: {str(error)[:200]}") from error


def _ids_with_lists() -> list[str]:
    """The ids of ir_datasets that have scoreddocs."""
    return [name for name in ir_datasets.registry if ir_datasets.registry[name].has_scoreddocs()]
