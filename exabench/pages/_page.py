"""A file of the site, before it is made: where it goes and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the site at `path`.

    With a `template`, `make` gives the values that fill it; without one, the bytes themselves.
    """

    path: str
    make: Callable[[], Mapping[str, Any] | bytes]
    template: str = ""
