"""Seeded samples that do not depend on the order of what is sampled, and lists interleaved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any, Generic, TypeVar

from exabench.core.files import digest_of

T = TypeVar("T")


class Sample(Generic[T]):
    """The `count` items (None: all) whose keys have the lowest digests; memory holds a small multiple of `count`.

    A key is a text, or anything that JSON can hold: the seed, and what names the item. So an item that is added
    changes no other's place. Of items with one key the least is kept. `digits` is how many hexadecimal digits of the
    digest count, from its end.
    """

    def __init__(self, count: int | None, digits: int = 64) -> None:
        self._count = count
        self._digits = digits
        self._items: dict[int, Any] = {}  # by digest

    def offer(self, item: T, key: object) -> None:
        """Keep the item if its digest may be among the lowest."""
        number = int(digest_of(key)[-self._digits :], 16)
        held = self._items.get(number)
        if held is None or held > item:
            self._items[number] = item
        # Sorting only when the surplus is as large as the sample keeps the cost of an item logarithmic; the 1,000 keep
        # small samples from sorting at every few items.
        if self._count is not None and len(self._items) > 2 * self._count + 1000:
            for surplus in sorted(self._items)[self._count :]:
                del self._items[surplus]

    def lowest(self) -> list[T]:
        """The sampled items, the lowest digest first."""
        return [self._items[number] for number in sorted(self._items)[: self._count]]


def draw(items: Iterable[T], count: int | None, key: Callable[[T], object], digits: int = 64) -> list[T]:
    """A random sample of `count` of the items (None: all of them, in random order); of equal keys only the least item.

    The lowest digest comes first. `key(item)` is what is hashed: the seed, and what names the item. The order of the
    items decides nothing.
    """
    sample = Sample[T](count, digits)
    for item in items:
        sample.offer(item, key(item))
    return sample.lowest()


def interleave(lists: Iterable[Sequence[T]]) -> list[T]:
    """The first of every list, then the second of every list, and so on: every list has its share of any head.

    No list may hold None.
    """
    mixed = []
    for turn in zip_longest(*lists):
        mixed += [one for one in turn if one is not None]  # a list that has ended gives None
    return mixed
