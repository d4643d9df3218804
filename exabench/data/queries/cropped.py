"""Sentences of the passages themselves as queries, sampled over the whole collection (DRAGON's cropped sentences)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Query
from exabench.core.words import UNSPACED, count_words
from exabench.data.sampling import draw
from exabench.tasks.collections import FromCollection

_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof st sr jr rev hon gen col sgt lt sen rep gov vs cf ca approx fig figs eq no nos vol pp ed eds al "
    "inc ltd co corp dept est".split()
)
# Possessive quantifiers (`*+`, `++`) never go back over what they took, which keeps the time linear even in texts of
# stops or spaces alone.
_EMPTY_LINE = re.compile(r"\n[^\S\n]*+\n")
_CLOSING = "\"'”’)\\]»›」』】〕〉》｣］）｝"
# Marks that end a sentence and do nothing else, so that no space need follow: those of Chinese and Japanese, Arabic,
# Urdu, Hindi, Myanmar, Khmer, Ethiopic and Armenian (of Unicode's Sentence_Terminal).
_ENDS = "。｡！？؟۔।॥။៕។።፧։"
# Thai and Lao, which have no such marks, put a space between clauses. The signs of repetition and of abbreviation are
# left out: a space follows them within a clause, too.
_THAI = "\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e45\u0e47-\u0e4e"
_THAI_OR_LAO = _THAI + "\u0e81-\u0eae\u0eb0-\u0ec4\u0ec8-\u0ecd\u0edc-\u0edf"
_STOP = re.compile(rf"(?<![.!?…])[.!?…]++[{_CLOSING}]*+\s++(?=\S)")
# Behind a quotation と goes on, as a small letter does.
_STOP_OF_ANY_SCRIPT = re.compile(
    rf"{_STOP.pattern}"
    rf"|(?<![{_ENDS}])(?:[{_ENDS}]|(?<!\d)．|．(?!\d))[{_ENDS}．.!?…]*+[{_CLOSING}]*+\s*+(?=[^\s、，])(?!(?<=[」』])と)"
    rf"|(?<=[{UNSPACED}])[!?]++[{_CLOSING}]*+(?=[{UNSPACED}])"
    rf"|(?<=[{_THAI_OR_LAO}])\s++(?=[{_THAI_OR_LAO}])"
)
_LETTERS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # the J of "J. Smith", the U.S of "U.S."
_LONGEST = 1 + max(map(len, _ABBREVIATIONS))


@dataclass
class Cropped(FromCollection):
    """`count` different sentences of `fewest_words` words or more, each as likely as any other.

    Sentences are those of the passages' texts without titles, cut as `sentences` says; one that is in several
    places is one sentence, of the passage with the least id. Only seed and texts decide which are taken and in what
    order. Raises BadInput for a collection that has too few. Query ids are `c-<passage id>-<place of the sentence, from
    1>`. Lin et al. 2023, arXiv 2302.07452 (who cut with another splitter and sampled without a seed); the sample of
    TWOLAR, arXiv 2403.17759, is 10,000 of these.
    """

    _: KW_ONLY
    count: int
    seed: int = 0
    fewest_words: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.fewest_words < 1:
            raise BadInput(
                f"cropped needs count and fewest_words of at least 1, not {self.count} and {self.fewest_words}"
            )

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        # The text alone is the key: one that is in several places is one sentence.
        found = draw(self._long_sentences(), self.count, lambda one: f"{self.seed} {one[2]}")
        if len(found) < self.count:
            have = f"{plural(len(found), 'different sentence')} of {self.fewest_words} words or more"
            raise BadInput(f"cropped: {self.source} has {have}, fewer than count = {self.count}")
        for id, number, text in found:
            yield Query(f"c-{id}-{number}", text), {"kind": "cropped", "passage_id": id, "replies": []}

    def _long_sentences(self) -> Iterator[tuple[str, int, str]]:
        """Passage id, place in the passage and text of every sentence that has words enough."""
        for passage in self.collection.passages():
            for number, sentence in enumerate(sentences(passage.text), 1):
                if count_words(sentence) >= self.fewest_words:
                    yield passage.id, number, sentence


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text in their order, every run of white space in them one space; none is empty.

    These are rules of thumb. A sentence ends at `.`, `!`, `?` or `…` (with the quotes and brackets that close there)
    where a space follows and what comes next is not a small letter, and at an empty line. A full stop ends nothing
    after a title or another abbreviation of the list, after one letter (`J. Smith`) or letters that are parted by stops
    (`U.S.`, `e.g.`). The rules miss a sentence that really ends in `U.S.`, which stays together with the next one, and
    an abbreviation that the list lacks, which parts a sentence before a capital. A heading without a stop goes with the
    sentence behind it.

    Marks of other scripts that do nothing else (`。`, `؟`, `।`, ...) end a sentence without a space, too, and so do `!`
    and `?` between letters of scripts without spaces. In Thai and Lao a space between two letters ends a clause. Time
    is linear in the text.
    """
    for paragraph in _EMPTY_LINE.split(text):
        start = 0
        stops = _STOP_OF_ANY_SCRIPT
        if paragraph.isascii():  # the same, twice as fast
            stops = _STOP
        for stop in stops.finditer(paragraph):
            if paragraph[stop.end()].islower():
                continue
            if stop[0].rstrip() == ".":
                # Only as much is looked at as the longest abbreviation needs, which keeps the time linear.
                before = paragraph[max(0, stop.start() - _LONGEST) : stop.start()]
                word = re.split(r"[\s(\[\"'“‘]", before)[-1]
                if word.lower() in _ABBREVIATIONS or _LETTERS.fullmatch(word):
                    continue
            yield " ".join(paragraph[start : stop.end()].split())
            start = stop.end()
        if rest := " ".join(paragraph[start:].split()):
            yield rest
