"""What sources of pairs share: a seeded order that survives insertions, two classes by turns, texts by id."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from exabench.errors import BadInput
from exabench.nouns import Passage

if TYPE_CHECKING:
    from exabench.collections import Collection

_T = TypeVar("_T")


def place(seed: int, *ids: str) -> bytes:
    """Where the thing of these ids stands in the order of `seed`, whatever else there is."""
    return hashlib.sha256("\n".join((str(seed), *ids)).encode()).digest()


def by_turns(first: Iterable[_T], second: Iterable[_T], count: int | None) -> Iterator[_T]:
    """One of each by turns until either ends, `count` in all at most."""
    return islice(chain.from_iterable(zip(first, second, strict=False)), count)


def passages_of(collection: Collection, wanted: Container[str]) -> dict[str, Passage]:
    """The wanted ones of a collection's passages by id, read in one pass."""
    return {passage.id: passage for passage in collection.passages() if passage.id in wanted}


def counted(count: int | None) -> int | None:
    """The `count` of a recipe. Raises BadInput for one that is no positive number."""
    if count is not None and count < 1:
        raise BadInput(f"count is {count}; give the number of pairs, 1 or more, or leave it out for all")
    return count
