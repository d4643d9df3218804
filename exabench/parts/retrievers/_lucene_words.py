"""Lucene's English words without Lucene: StandardTokenizer, possessives, 33 stop words, its Porter stemmer."""

from __future__ import annotations

import re
import unicodedata

import Stemmer

# The 33 words that Lucene's EnglishAnalyzer leaves out.
STOP_WORDS = tuple(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with".split()
)
_LONGEST = 255  # longer words are cut here, as StandardTokenizer does
_POSSESSIVE = re.compile("['\u2019\uff07][sS]$")
# What a letter means to Unicode's word boundaries (TR 29), one sign for each class: A letter, 0 digit, _ connector,
# : joins letters, comma joins digits, full stop joins both, m mark or format, j zero-width joiner, * pictograph,
# i ideograph or Hiragana (each a word by itself), K Katakana, blank anything else.
_BY_CATEGORY = {"Nl": "A", "Nd": "0", "Pc": "_", "Mn": "m", "Mc": "m", "Me": "m", "Cf": "m"}
_RANGES = {
    "A": "\u02c2-\u02c5 \u02d2-\u02d7 \u02de-\u02df \u02ed \u02ef-\u02ff \u055b-\u055c \u055e \u05f3 \u24b6-\u24e9 "
    "\ua720-\ua721 \ua789-\ua78a \uab5b \U0001f130-\U0001f149 \U0001f150-\U0001f169 \U0001f170-\U0001f189",
    "0": "\u066b",
    " ": "\u200b",
    ":": ": \u00b7 \u0387 \u05f4 \u2027 \ufe13 \ufe55 \uff1a",
    ",": ", ; \u037e \u0589 \u060c-\u060d \u066c \u07f8 \u2044 \ufe10 \ufe14 \ufe50 \ufe54 \uff0c \uff1b",
    ".": ". ' \u2018-\u2019 \u2024 \ufe52 \uff07 \uff0e",
    "_": "\u202f",
    "j": "\u200d",
    "m": "\U0001f3fb-\U0001f3ff",
    "i": "\u2e80-\u2fd5 \u3005 \u3007 \u3021-\u3029 \u3038-\u303b \u3041-\u3096 \u309f \u3400-\u4dbf \u4e00-\u9fff "
    "\uf900-\ufad9 \U00020000-\U0003134f",
    "K": "\u3031-\u3035 \u309b-\u309c \u30a0-\u30fa \u30fc-\u30ff \u31f0-\u31ff \uff66-\uff9d",
    "*": "\u00a9 \u00ae \u203c \u2049 \u2122 \u2194-\u2199 \u21a9-\u21aa \u231a-\u231b \u2328 \u2388 \u23cf "
    "\u23e9-\u23f3 \u23f8-\u23fa \u25aa-\u25ab \u25b6 \u25c0 \u25fb-\u25fe \u2600-\u2605 \u2607-\u2612 "
    "\u2614-\u2685 \u2690-\u2705 \u2708-\u2712 \u2714 \u2716 \u271d \u2721 \u2728 \u2733-\u2734 \u2744 \u2747 \u274c "
    "\u274e \u2753-\u2755 \u2757 \u2763-\u2767 \u2795-\u2797 \u27a1 \u27b0 \u27bf \u2934-\u2935 \u2b05-\u2b07 "
    "\u2b1b-\u2b1c \u2b50 \u2b55 \u3030 \u303d \u3297 \u3299 \U0001f000-\U0001f0ff \U0001f10d-\U0001f10f "
    "\U0001f16c-\U0001f16f \U0001f18e \U0001f191-\U0001f19a \U0001f201-\U0001f202 \U0001f21a \U0001f22f "
    "\U0001f232-\U0001f23a \U0001f250-\U0001f251 \U0001f300-\U0001f3fa \U0001f400-\U0001f53d \U0001f546-\U0001f64f "
    "\U0001f680-\U0001f6ff \U0001f90c-\U0001f93a \U0001f93c-\U0001f945 \U0001f947-\U0001faff",
}
_LETTERS = "A[mj]*(?:(?:[:.][mj]*)?A[mj]*)*+"
_DIGITS = "0[mj]*(?:(?:[,.][mj]*)?0[mj]*)*+"
_PART = f"(?:(?:{_LETTERS}|{_DIGITS})++|K[Kmj]*)"
_WORD = re.compile(rf"(?:_[mj]*)*{_PART}(?:(?:_[mj]*)++{_PART})*(?:_[mj]*)*|\*m*(?:jm*\*m*)*|i[mj]*")
_LOWER = {0x3A3: "\u03c3", 0x130: "i"}  # Java lowers letter by letter, Python knows a sigma that ends a word
# Where Lucene's Porter leaves the paper: -bli becomes -ble and -logi becomes -log, after a syllable with m > 0.
_BLY, _LOGY = re.compile("bl(?:y|ies|i)$"), re.compile("log(?:y|ies|i)$")
_SYLLABLE = re.compile("(?:[aeiou]|(?<=[^aeiou])y)[^aeiou]")


class _Signs(dict[int, str]):
    """The sign of each code point, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        is_letter = category.startswith("L")
        self[code] = _BY_CATEGORY.get(category, "A" if is_letter else " ")
        return self[code]


class LuceneWords:
    """Texts as lists of words, equal to what Lucene's analysis makes of English.

    They differ for scripts without blanks that only a dictionary can cut (Thai, Khmer, ...), for letters younger
    than the Unicode of Lucene's tokenizer, and in the stem of what holds "yy".
    """

    def __init__(self) -> None:
        self._signs = _Signs()
        for sign, ranges in _RANGES.items():
            for part in ranges.split(" "):
                for code in range(ord(part[0]), ord(part[-1]) + 1):
                    self._signs[code] = sign
        self._porter = Stemmer.Stemmer("porter")
        self._stems = dict.fromkeys(STOP_WORDS, "")  # stop words end as nothing

    def __call__(self, text: str) -> list[str]:
        words = []
        for match in _WORD.finditer(text.translate(self._signs)):
            for start in range(match.start(), match.end(), _LONGEST):  # once, but for words of more than 255 letters
                word = _POSSESSIVE.sub("", text[start : min(match.end(), start + _LONGEST)])
                word = word.lower() if word.isascii() else word.translate(_LOWER).lower()
                if word not in self._stems:
                    self._stems[word] = self._stem(word)
                words.append(self._stems[word])
        return [word for word in words if word]

    def _stem(self, word: str) -> str:
        """The stem; words of one or two letters stay. Lucene's two departures come before the paper's algorithm."""
        if len(word) <= 2:
            return word
        for ending, instead in ((_BLY, "ble"), (_LOGY, "log")):
            match = ending.search(word)
            if match and _SYLLABLE.search(word, 0, match.start()):
                word = word[: match.start()] + instead
        return self._porter.stemWord(word)
