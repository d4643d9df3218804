"""Replies that answer nothing: refusals, empty phrases and questions back, in the usual wordings of many languages.

A text is of a kind by how it begins, or by all of it where it is a phrase of a few words. The wordings are in
non_answers.toml. They are not complete: a refusal in other words goes unseen.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from exabench.core.files import read_toml

REFUSAL = "refuses to answer"
QUESTION = "asks for something"
NOTHING = "says nothing"

_LONGEST_BEGINNING = 200
"""Characters of a text that are read for its kind."""

_MARKS = (
    " \t\n\"'`*_#>().,:;!?-[]{}<>"
    "\u2026\u2013\u2014\u3002\uff0c\uff01\uff1f\u3001\u201c\u201d\u2018\u00ab\u00bb\u00a1\u00bf"
)
"""What may stand around the words of a text: punctuation, brackets, quotes, the marks of bold text and headings."""


def kind_of_non_answer(text: str) -> str:
    """REFUSAL, QUESTION or NOTHING for a text that answers nothing; empty for any other."""
    beginning = " ".join(_plain(text[:_LONGEST_BEGINNING]).lstrip(_MARKS).split())
    if _begins(beginning, "refusals"):
        return REFUSAL
    if _begins(beginning, "questions"):
        return QUESTION
    is_whole = len(text) <= _LONGEST_BEGINNING
    if is_whole and _pattern("nothing").fullmatch(beginning.strip(_MARKS)):
        return NOTHING
    return ""


def without_introduction(text: str) -> str:
    """The text without words in front that only announce it, as in "Sure! Here is the explanation:"."""
    agreements = _wordings("agreements")
    introductions = _wordings("introductions")
    # Words of agreement, and then an announcement up to its colon, or the end of the line.
    announcement = re.compile(
        rf"(?:(?:{agreements})[\s,.!;\u3002\uff0c\uff01\u3001~-]*+){{0,2}}+"
        rf"(?:(?:{introductions})[^:\uff1a\n]{{0,120}}[:\uff1a]|(?<=\n))\s*",
        re.IGNORECASE,
    )
    match = announcement.match(_plain(text))
    if match is None:
        return text
    return text[match.end() :].strip()


def _plain(text: str) -> str:
    """The text with one kind of apostrophe; every character keeps its place."""
    return text.replace("\u2019", "'")


def _begins(text: str, kind: str) -> bool:
    return _pattern(kind).match(text) is not None


@functools.cache
def _pattern(kind: str) -> re.Pattern[str]:
    return re.compile(_wordings(kind), re.IGNORECASE)


@functools.cache
def _wordings(kind: str) -> str:
    """The wordings of a kind, as one regular expression."""
    known = read_toml(Path(__file__).with_suffix(".toml"))
    return f"(?:{'|'.join(known[kind])})"
