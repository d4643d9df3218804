"""A file of the site, before it is made; and data for the browser as scripts.

A page that was opened from a folder may load scripts, and may read no other file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exabench.board.pages._format import clean


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the site at `path`.

    With a `template`, `make` gives the values that fill it; without one, the bytes themselves.
    """

    path: str
    make: Callable[[], Mapping[str, Any] | bytes]
    template: str = ""


def script(function: str, *values: Any) -> bytes:
    """A script of one call, `exabench.<function>(values)`. Texts of strangers are made harmless."""
    texts = [json.dumps(_cleaned(v), ensure_ascii=False, allow_nan=False, separators=(",", ":")) for v in values]
    return f"exabench.{function}({','.join(texts)});\n".encode()


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return value
