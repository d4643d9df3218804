"""Odd texts: empty passages, and texts with characters or lengths that no honest text has."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from exabench.core.nouns import Passage
from exabench.core.rows import Rejected, Row
from exabench.data.quality._texts import passages_of

LONGEST = 100_000
"""Characters; the longest passages of the collections of BEIR have some ten thousand."""
LONGEST_WORD = 1_000
"""Characters; addresses and formulas are shorter, and scripts without spaces have punctuation."""
_LONG_WORD = re.compile(rf"\w{{{LONGEST_WORD + 1}}}")
_TURNED = re.compile("[\u202a-\u202e\u2066-\u2069]")
_TAG = re.compile(r"</?(?:a|b|br|div|i|li|p|script|span|table|td|tr|ul)(?:\s[^<>]*)?/?>", re.IGNORECASE)
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
        if _LONG_WORD.search(text):
            yield f"a word of more than {LONGEST_WORD:,} characters"
        if "\ufffd" in text:
            yield "a replacement character (U+FFFD)"
        if _has_control_characters(text):
            yield "a control character"
        if _TURNED.search(text):
            yield "a character that turns the direction of a text"
        if _TAG.search(text):
            yield "an HTML tag"


def _has_control_characters(text: str) -> bool:
    if text.isprintable():  # the same for most texts, and many times faster
        return False
    for character in text:
        # A fifth of MS MARCO's passages was once decoded wrongly and holds U+0080 to U+009F: ordinary there.
        if character in "\t\n\r" or "\x80" <= character <= "\x9f":
            continue
        if unicodedata.category(character) in ("Cc", "Co", "Cs"):
            return True
    return False
