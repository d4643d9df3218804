"""What builders need of the parts they are given, which this floor does not know by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from exabench.errors import BadInput
from exabench.nouns import Passage

if TYPE_CHECKING:
    from exabench.collections import Collection


def texts_of(collection: Collection, ids: Iterable[str]) -> dict[str, Passage]:
    """The passages of these ids, in one reading of the collection. Raises BadInput for one that it does not hold."""
    wanted = set(ids)
    found = {passage.id: passage for passage in collection.passages() if passage.id in wanted}
    if len(found) < len(wanted):
        raise BadInput(f"a first stage found a passage that {collection.source} lacks", id=min(wanted - found.keys()))
    return found
