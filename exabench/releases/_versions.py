"""The version of a release, computed from what changed since the one before; a person may raise it, never lower it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exabench.errors import BadInput
from exabench.rows import Release

if TYPE_CHECKING:
    from exabench.releases._diff import Diff

FIRST = "1.0.0"
_NUMBER = r"(0|[1-9][0-9]{0,8})"
_GRAMMAR = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")


def next_version(old: Release | None, new: Release, diff: Diff | None) -> str:
    """The version of `new`, that came after `old` with the changes of `diff` (None where there is no old one).

    major: a table, a split or a field is gone, or a field has another type, so that a reader's code may break.
    minor: any other change of tables, splits, fields or rows. patch: anything else. The old version: one content.
    """
    if old is None:
        return FIRST
    if old.content == new.content:
        return old.version
    if diff is None:
        raise BadInput(f"release {new.name} follows version {old.version}; compare the two first")
    major, minor, _ = numbers(old.version)
    if diff.breaking:
        return f"{major + 1}.0.0"
    return f"{major}.{minor + 1}.0" if diff.tables else patched(old.version)


def patched(version: str) -> str:
    """The patch after a version."""
    major, minor, patch = numbers(version)
    return f"{major}.{minor}.{patch + 1}"


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
    major, minor, patch = map(int, found.groups())
    return major, minor, patch
