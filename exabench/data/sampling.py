"""Seeded samples that do not depend on the order of what is sampled, and lists that take turns."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from exabench.core.files import digest_of

T = TypeVar("T")


class Sample(Generic[T]):
    """The `count` items (None: all) whose keys have the lowest digests; no more than these are held.

    A key is a text, or anything that JSON can hold: the seed, and what names the item. So an item that is added
    changes no other's place. Of items with one key the least is kept. `digits` is how many hexadecimal digits of the
    digest count, from its end.
    """

    def __init__(self, count: int | None, digits: int = 64) -> None:
        self._most = math.inf if count is None else count
        self._digits = digits
        self._items: dict[int, Any] = {}
        self._numbers: list[int] = []  # a heap of negated numbers: its top is the highest number that is held

    def offer(self, item: T, key: object) -> None:
        """Take the item where its digest is low enough."""
        number = int(digest_of(key)[-self._digits :], 16)
        if number in self._items:
            self._items[number] = min(self._items[number], item)
        elif len(self._items) < self._most:
            heapq.heappush(self._numbers, -number)
            self._items[number] = item
        elif self._numbers and number < -self._numbers[0]:
            highest = -heapq.heapreplace(self._numbers, -number)
            del self._items[highest]
            self._items[number] = item

    def drawn(self) -> list[T]:
        """The items, the lowest digest first."""
        return [self._items[number] for number in sorted(self._items)]


def draw(items: Iterable[T], count: int | None, key: Callable[[T], object], digits: int = 64) -> list[T]:
    """A Sample of `items` under the keys that `key` gives them, the lowest digest first."""
    sample = Sample[T](count, digits)
    for item in items:
        sample.offer(item, key(item))
    return sample.drawn()


def by_turns(lists: Iterable[Sequence[T]]) -> list[T]:
    """The first of every list, then the second of every list, and so on: every list has its share of any head."""
    given = list(lists)
    longest = max(map(len, given), default=0)
    found = []
    for place in range(longest):
        for one in given:
            if place < len(one):
                found.append(one[place])
    return found
