"""A file of the site, before it is made: where it goes and how it is made; and files that depend on the same things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the site at `path`.

    With a `template`, `make` gives the values that fill it; without one, the bytes themselves. `of` are the digests of
    everything shown that is not the same for all pages (results, submissions, lists): while they, the board's own
    settings and this package are as they were, the file need not be made again. In a Group, the group's `of` counts;
    alone, a page is a group of its own.
    """

    path: str
    make: Callable[[], Mapping[str, Any] | bytes]
    template: str = ""
    of: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the index knows it by."""
        return self.path

    @property
    def small(self) -> bool:
        """Does it show a submission or two?"""
        return False

    def pages(self) -> tuple[Page]:
        """Itself."""
        return (self,)


@dataclass(frozen=True, slots=True)
class Group:
    """Files that depend on the same things, `of`, and are made one after the other, or stay.

    `pages` is only called where they have to be made: a board of thousands of submissions knows the others by `name`.
    `of` may wait, too, for the process that asks for it.
    A `small` one shows a submission or two, and none of its files is a place where readers start.
    """

    name: str
    of: tuple[str, ...] | Callable[[], tuple[str, ...]]
    pages: Callable[[], Iterable[Page]]
    small: bool = False
