"""Samples that a seed decides and the order of the collection does not: whatever has the lowest rank is in."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T", bound=tuple[object, ...])


def rank(seed: int, what: str) -> int:
    """A number of 128 bits that only `seed` and `what` decide."""
    return int.from_bytes(hashlib.sha256(f"{seed} {what}".encode()).digest()[:16], "big")


def lowest(ranked: Iterable[tuple[int, T]], count: int) -> list[T]:
    """The items of the `count` lowest ranks, lowest first; no more are held. Of equal ranks the least item stays."""
    kept: dict[int, T] = {}
    heap: list[int] = []
    for number, item in ranked:
        if number in kept:
            kept[number] = min(kept[number], item)
        elif len(heap) < count:
            heapq.heappush(heap, -number)
            kept[number] = item
        elif heap and number < -heap[0]:
            del kept[-heapq.heapreplace(heap, -number)]
            kept[number] = item
    return [kept[number] for number in sorted(kept)]
