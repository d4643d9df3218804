"""Where sentences end: rules of thumb for English prose, with no model and no list beyond thirty abbreviations.

A sentence ends at `.`, `!`, `?` or `…` (with the quotes and brackets that close there) where a blank follows and what
comes next is no small letter, and at an empty line. A full stop ends nothing after a title or another abbreviation
of the list, after one letter (`J. Smith`) or letters that are parted by stops (`U.S.`, `e.g.`). What these rules miss:
a sentence that really ends in `U.S.` is held together with the next one, and an abbreviation that the list lacks parts
one before a capital. A heading without a stop goes with the sentence behind it. Time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr rev hon gen col sgt lt sen rep gov vs cf ca approx fig figs eq no nos vol pp ed eds al "
    "inc ltd co corp dept est".split()
)
_EMPTY_LINE = re.compile(r"\n[^\S\n]*+\n")
_STOP = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]]*+\s++(?=\S)")
_LETTERS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_LONGEST = 1 + max(map(len, ABBREVIATIONS))


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text in their order, every run of white space in them one blank; none is empty."""
    for paragraph in _EMPTY_LINE.split(text):
        start = 0
        for stop in _STOP.finditer(paragraph):
            if not _goes_on(paragraph, stop):
                yield " ".join(paragraph[start : stop.end()].split())
                start = stop.end()
        if rest := " ".join(paragraph[start:].split()):
            yield rest


def _goes_on(text: str, stop: re.Match[str]) -> bool:
    """Is this no end of a sentence?"""
    if text[stop.end()].islower():
        return True
    if stop[0].rstrip() != ".":
        return False
    before = text[max(0, stop.start() - _LONGEST) : stop.start()]
    word = re.split(r"[\s(\[\"'“‘]", before)[-1]
    return word.lower() in ABBREVIATIONS or _LETTERS.fullmatch(word) is not None
