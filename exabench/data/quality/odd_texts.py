"""Odd texts: empty passages, and texts with characters or lengths that no honest text has."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from exabench.core.nouns import Passage
from exabench.core.rows import Rejected, Row
from exabench.data.quality._texts import passages_of

LONGEST = 100_000
"""Characters; the longest passages of the collections of BEIR have some ten thousand."""
_WRITTEN = "LN"
"""The first letters of Unicode's categories of letters and numbers."""


def is_empty(passage: Passage) -> bool:
    """Has a passage no letter and no digit, in neither its title nor its text?"""
    return not any(unicodedata.category(character)[0] in _WRITTEN for character in passage.flat())


def check_texts(row: Row) -> None:
    """Raise Rejected for a row with an empty passage."""
    for passage in passages_of(row):
        if is_empty(passage):
            raise Rejected("empty passage")


def oddities(row: Row) -> Iterator[str]:
    """What is odd about the texts of a row, in words; the same words may come several times."""
    texts = [row["query"], row.get("explanation", "")]
    for passage in passages_of(row):
        if is_empty(passage):
            yield "an empty passage"
        texts += [passage.title, passage.text]
    for text in texts:
        if len(text) > LONGEST:
            yield f"a text of more than {LONGEST:,} characters"
        if "\ufffd" in text:
            yield "a replacement character (U+FFFD)"
        if _has_control_characters(text):
            yield "a control character"


def _has_control_characters(text: str) -> bool:
    if text.isprintable():  # the same for most texts, and many times faster
        return False
    for character in text:
        if unicodedata.category(character) in ("Cc", "Co", "Cs") and character not in "\t\n\r":
            return True
    return False
