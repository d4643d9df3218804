"""Words of a text, in scripts with and without spaces between them: for limits of words, and for comparing texts.

A text is cut into *pieces*. What has no space in it is one piece and one word, save in scripts that have no spaces
between words. There a character with its marks is a piece, and two or three of them make a word, as the tables below
say. That is about as long as their words are, so that a limit in words and a stretch of words mean much the same in
all languages; no dictionary is needed, and the same text is counted alike everywhere. Korean, Arabic, Hebrew and the
scripts of India have spaces.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

_TWO_MAKE_A_WORD = {
    "Han": "\u3005-\u3007\u3021-\u3029\u3038-\u303c\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "Kana": "\U0001aff0-\U0001b167"
    "\u3031-\u3035\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "Bopomofo": "\u3105-\u312f\u31a0-\u31bf",
    "Yi": "\ua000-\ua48c",
    "Khmer": "\u1780-\u17b3\u17d7\u17dc",
    "Myanmar": "\u1000-\u102a\u103f\u1050-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"
    "\ua9e0-\ua9e4\ua9e6-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa76\uaa7a\uaa7e\uaa7f",
    "Tai Tham": "\u1a20-\u1a54",
    "Balinese": "\u1b05-\u1b33",
    "Javanese": "\ua984-\ua9b2",
}
_THREE_MAKE_A_WORD = {
    "Thai": "\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46",
    "Lao": "\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf",
    "Tibetan": "\u0f00\u0f40-\u0f6c\u0f88-\u0f8c",
    "Tai Le": "\u1950-\u1974",
    "New Tai Lue": "\u1980-\u19ab\u19b0-\u19c9",
    "Tai Viet": "\uaa80-\uaaaf\uaab1\uaab5\uaab6\uaab9-\uaabd\uaac0\uaac2",
}
_TWO = "".join(_TWO_MAKE_A_WORD.values())
_THREE = "".join(_THREE_MAKE_A_WORD.values())
UNSPACED = _TWO + _THREE
"""The letters of scripts without spaces between words (no marks, no digits), for a class of a regular expression."""
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
# Latin to the scripts of India, and punctuation: that most texts have no such letter is seen five times as fast.
_SPACED = re.compile("[\0-\u0e00\u1e00-\u2e7f]*+")
# The sign that puts the next letter below the last one, which is then no piece of its own.
_STACKER = "\u1039\u17d2\u1a60\u1b44\ua9c0"
# Punctuation and marks go with the letter before them; at the beginning of a text, or behind a space, with the next.
_PIECE = re.compile(
    rf"[^\s\w]*+(?:([{_TWO}])|([{_THREE}]))[^\s\w]*+"
    rf"(?:(?<=[{_STACKER}])[{UNSPACED}][^\s\w]*+)*+"
    rf"|[^\s{UNSPACED}]++"
)
# Sizes are in sixths of a word, so that halves and thirds are whole numbers: by the group of _PIECE that matched.
_WORD = 6
_SIZES = {1: 3, 2: 2, None: _WORD}
LONGEST = 255
"""Characters of the longest word (also Lucene's). In a longer run, which no script has, three characters count as one.

Else a text without any space (base64, a sequence of genes, a script that is not known here) would never be cut.
"""


def count_words(text: str) -> int:
    """The number of words of a text; one that has begun counts."""
    parts = text.split()
    if _are_words(parts, text):
        return len(parts)
    size = 0
    for _, sixths in _pieces(text):
        size += sixths
    return -(-size // _WORD)


def cut_words(text: str, most: int) -> tuple[str, bool]:
    """The first `most` words of a text, and whether that is less than all. Every run of spaces becomes one space."""
    parts = text.split()
    first = parts[:most]
    joined = " ".join(first)
    if _are_words(first, joined):
        return joined, len(parts) > most
    joined = " ".join(parts)
    room = most * _WORD
    kept = 0
    for end, size in _pieces(joined):
        room -= size
        if room < 0:
            return joined[:kept], True
        kept = end
    return joined, False


def cut_characters(text: str, most: int) -> tuple[str, bool]:
    """The first whole words of a text, at most `most` characters, and whether that is less than all.

    Where not even two words fit, the last one is torn.
    """
    if len(text) <= most:
        return text, False
    beginning = text[:most]
    parts = beginning.rsplit(None, 1)
    if len(parts) == 2 and _are_words(parts[1:], parts[1]):
        return parts[0], True
    ends = [end for end, _ in _pieces(beginning)]
    if len(ends) > 1:  # the last one may be torn
        beginning = beginning[: ends[-2]]
    return beginning, True


def _are_words(parts: Sequence[str], text: str) -> bool:
    """Is every part of a text, between its spaces, one word?"""
    if _holds_unspaced(text):
        return False
    # A longer run fills a whole block of half the length, and blocks without a space are rare.
    half = LONGEST // 2
    for start in range(0, len(text) - half + 1, half):
        if " " not in text[start : start + half]:
            return max(map(len, parts), default=0) <= LONGEST
    return True


def _holds_unspaced(text: str) -> bool:
    return not _SPACED.fullmatch(text) and _UNSPACED_LETTER.search(text) is not None


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where each piece of a text ends, and its size in sixths of a word."""
    for match in _PIECE.finditer(text):
        start, end = match.span()
        if end - start > LONGEST:
            for place in range(start, end):
                yield place + 1, _SIZES[2]
        else:
            yield end, _SIZES[match.lastindex]


# -- comparing ---------------------------------------------------------------------------------------------------

_LETTERS_AND_DIGITS = (string.ascii_lowercase + string.digits).encode()
_OTHER_BYTES = bytes(range(128)).translate(None, _LETTERS_AND_DIGITS)
_BLANKED = bytes.maketrans(_OTHER_BYTES, b" " * len(_OTHER_BYTES))
# Latin, Greek and Cyrillic as they are mostly written, where nothing of what follows is found.
_PLAIN = re.compile(
    "[\0-\u00ac\u00ae-\u02ff\u0388-\u0482\u048a-\u0590\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff]*+"
)
_PLAIN_WORD = re.compile(r"[^\W_]++")
# Other forms of the same characters: radicals of Han, Arabic letters as they are joined, full and half width. Other
# compatibility forms say something else: 2 to the power of 5 is not 25.
_FORMS = re.compile("[\u2f00-\u2fd5\ufb50-\ufdff\ufe70-\ufefc\uff01-\uffee]+")
# What is not seen, or may be left out: soft hyphens, joiners and marks of direction, selectors of a glyph; the line
# that stretches an Arabic word, and the vowel signs of Arabic and Hebrew, which most texts do not have. All other
# marks, such as the vowels of Hindi and Thai or accents, are part of the word.
_UNSEEN = re.compile(
    "[\u00ad\u200c-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef"
    "\u0640\u0610-\u061a\u064b-\u0652\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed"
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]+"
)


def compared_words(text: str) -> tuple[str, ...]:
    """The pieces of a text as they are compared: lower case, without punctuation, of equal forms the usual one."""
    text = text.lower()
    if text.isascii():  # the same, three times as fast
        blanked = text.encode().translate(_BLANKED)
        return tuple(blanked.decode().split())
    if _PLAIN.fullmatch(text):  # the same, twice as fast
        return tuple(_PLAIN_WORD.findall(text))
    text = _FORMS.sub(_usual_form, text)
    text = unicodedata.normalize("NFC", text)
    text = _UNSEEN.sub("", text)
    return tuple(_compared_piece().findall(text))


def stretch_ends(pieces: Sequence[str], words: int) -> list[int]:
    """Where `words` words in a row end, for each piece at which so many begin: the place behind their last piece.

    Where all pieces are fewer words, it is the place behind the last one. Pieces are those of `compared_words`, at
    least one. A stretch has as few pieces as make so many words.
    """
    if not _holds_unspaced("".join(pieces)):
        width = min(words, len(pieces))
        return list(range(width, len(pieces) + 1))
    sizes = []
    for piece in pieces:
        match = _PIECE.match(piece)
        sizes.append(_SIZES[match and match.lastindex])
    ends = []
    end = 0
    missing = words * _WORD
    for size in sizes:
        while missing > 0 and end < len(sizes):
            missing -= sizes[end]
            end += 1
        if missing > 0:
            break
        ends.append(end)
        missing += size
    return ends or [len(sizes)]


def _usual_form(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", match[0]).lower()


@cache
def _compared_piece() -> re.Pattern[str]:
    """A letter without spaces with its marks, or letters and digits with theirs; made when first needed."""
    # Python's \w has no marks. Those beyond FFFF are of scripts that hardly any text is in.
    marks = "".join(filter(_is_mark, map(chr, range(0x300, 0x10000))))
    return re.compile(
        rf"[{UNSPACED}][{marks}]*+(?:(?<=[{_STACKER}])[{UNSPACED}][{marks}]*+)*+"
        rf"|[^\W_{UNSPACED}]++(?:[{marks}]++[^\W_{UNSPACED}]*+)*+"
    )


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")
