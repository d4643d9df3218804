"""JSON Lines, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from exabench.core.files import replacing


def write_json_lines(to: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """A line for each record as it comes; returns their number. Raises CannotWrite, and what `records` raise."""
    count = 0
    with replacing(to) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
            count += 1
    return count
