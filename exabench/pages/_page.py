"""A file of the site, before it is made: where it goes, how it is made, and what it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the site at `path`.

    With a `template`, `make` gives the values that fill it; without one, the bytes themselves. `of` are the digests of
    everything shown that is not the same for all pages (results, submissions, lists): while they, the board's own
    settings and this package are as they were, the file need not be made again.
    """

    path: str
    make: Callable[[], Mapping[str, Any] | bytes]
    template: str = ""
    of: tuple[str, ...] = ()
