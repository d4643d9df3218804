"""Inside the jail: how its programs answer, one line of JSON each, on what was stdout when they began."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

Answer = Callable[[Mapping[str, Any]], None]
"""Writes one answer."""


def begin_answers() -> Answer:
    """Keep stdout for answers: whatever a library prints from now on goes to stderr."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(value: Mapping[str, Any]) -> None:
        stdout.write(json.dumps(value) + "\n")
        stdout.flush()

    return answer


def end_refused(answer: Answer, reason: str, error: Exception) -> NoReturn:
    """The last answer: the program is refused for `reason`, one of ERROR_CLASSES."""
    answer({"refused": reason, "message": " ".join(str(error).split())[:300] or type(error).__name__})
    sys.exit(1)
