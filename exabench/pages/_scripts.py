"""Data for the browser as scripts: a page can load them from a folder, where it may read no other file."""

from __future__ import annotations

import json
from typing import Any

from exabench.pages._format import clean


def script(function: str, *values: Any) -> bytes:
    """A script of one call, `exabench.<function>(values)`. Texts of strangers are made harmless."""
    texts = [json.dumps(_cleaned(v), ensure_ascii=False, allow_nan=False, separators=(",", ":")) for v in values]
    return f"exabench.{function}({','.join(texts)});\n".encode()


def rounded(value: float | None) -> float | None:
    """A fraction with six decimals: enough that the browser's table shows the same tenths of a point as the page."""
    return None if value is None else round(value, 6)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return value
