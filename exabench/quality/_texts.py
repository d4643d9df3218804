"""Texts as they are compared: words, passages of a row, and grams.

Words are lower case without punctuation, and every Han or Kana character is a word of its own. A gram is n words in a
row, known by 64 bits: a polynomial hash whose running sums give every gram of a text in a few numpy steps.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from exabench.nouns import Passage
from exabench.rows import Row

_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_IDEOGRAPH}]|[^\W_{_IDEOGRAPH}]+")
_ASCII = bytes(i if chr(i).isalnum() and i < 128 else 32 for i in range(256))


@lru_cache(maxsize=256)  # the texts of one row are asked for several times, then never again
def words(text: str) -> tuple[str, ...]:
    """The words of a text, as they are compared."""
    if text.isascii():  # the same, three times as fast
        return tuple(text.lower().encode().translate(_ASCII).decode().split())
    return tuple(_WORD.findall(text.lower()))


_PASSAGES = {  # family by its tell-tale field: ids, titles and texts of one passage, then of several
    "passage_id": (("passage_id", "title", "passage"), ()),
    "passage_ids": ((), ("passage_ids", "titles", "passages")),
    "positive_id": (("positive_id", "positive_title", "positive"), ("negative_ids", "negative_titles", "negatives")),
}


def passages_of(row: Row) -> list[Passage]:
    """The passages of a row of any family: its one, its list in order, or its positive and then its negatives."""
    one, several = next(fields for tell, fields in _PASSAGES.items() if tell in row)
    columns = [[row[name] for name in one]] if one else []
    listed = zip(*(row[name] for name in several), strict=True) if several else ()
    return [Passage(id, text, title) for id, title, text in [*columns, *listed]]


def mixed(x: np.ndarray) -> np.ndarray:
    """64 bits in, 64 well-mixed bits out (the finaliser of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def constants(start: int, count: int) -> np.ndarray:
    """`count` fixed numbers that look random (SplitMix64 from `start` on): the same on every machine."""
    return mixed(np.arange(start, start + count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


_BYTES = constants(1, 256)
_BASE = 0x9E3779B97F4A7C15
_POWERS, _INVERSE = (
    np.cumprod(np.full(4096, base, np.uint64)) for base in (_BASE, pow(_BASE, -1, 1 << 64))
)  # of most texts; a longer one makes its own


@lru_cache(maxsize=256)
def _sums(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A text's running sums, the inverse powers where its words begin, and where its words begin and end."""
    data = np.frombuffer(" ".join(words(text)).encode(errors="surrogatepass"), np.uint8)
    powers, inverse = _POWERS, _INVERSE
    if len(data) > len(powers):
        powers, inverse = (np.cumprod(np.full(len(data), base[0], np.uint64)) for base in (powers, inverse))
    sums = np.zeros(len(data) + 1, np.uint64)
    np.cumsum(_BYTES[data] * powers[: len(data)], out=sums[1:])
    edges = np.concatenate([[-1], np.flatnonzero(data == 32), [len(data)]])
    starts, ends = (edges[:-1] + 1, edges[1:]) if len(data) else (edges[:0], edges[:0])
    return sums, inverse[starts], starts, ends


def grams(text: str, n: int) -> np.ndarray:
    """The hashes of every `n` words in a row (uint64); of the whole where it is shorter, none where it has no word."""
    sums, inverse, starts, ends = _sums(text)
    if not len(starts):
        return np.zeros(0, np.uint64)
    last = min(n, len(starts)) - 1
    first = slice(len(starts) - last)
    return mixed((sums[ends[last:]] - sums[starts[first]]) * inverse[first])
