"""Versions of releases: three numbers; a person may raise a computed one, never lower it."""

from __future__ import annotations

import re

from exabench.core.errors import BadInput

FIRST = "1.0.0"
_NUMBER = r"(0|[1-9][0-9]{0,8})"
_GRAMMAR = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")


def raised(version: str, wanted: str) -> str:
    """`wanted`, which may be higher than the computed `version` and never lower. Raises BadInput."""
    if numbers(wanted) < numbers(version):
        raise BadInput(f"version {wanted} is below {version}, which the changes ask for; a version may only be raised")
    return wanted


def numbers(version: str) -> tuple[int, int, int]:
    """major.minor.patch as numbers. Raises BadInput for anything else, a leading zero or a suffix included."""
    found = _GRAMMAR.fullmatch(version)
    if found is None:
        raise BadInput(f"version {version!r} is not major.minor.patch (three plain numbers, such as 1.0.0)")
    return int(found[1]), int(found[2]), int(found[3])
