"""Texts as they are compared: words, passages of a row, and grams.

A gram is n words in a row (`core/words` says what a word is), known by 64 bits: a polynomial hash whose running sums
give every gram of a text in a few numpy steps.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from exabench.core.nouns import Passage
from exabench.core.rows import Row
from exabench.core.words import compared_words, count_words, stretch_ends

words = lru_cache(maxsize=256)(compared_words)  # the texts of one row are asked for several times, then never again


def length(text: str) -> int:
    """The number of words of a text, without punctuation."""
    return count_words(" ".join(words(text)))


def passages_of(row: Row) -> list[Passage]:
    """The passages of a row of any family: its one, its list in order, or its positive and then its negatives."""
    if "passage_id" in row:
        return [Passage(row["passage_id"], row["passage"], row["title"])]
    passages = []
    columns = ("passage_ids", "passages", "titles")
    if "positive_id" in row:
        passages.append(Passage(row["positive_id"], row["positive"], row["positive_title"]))
        columns = ("negative_ids", "negatives", "negative_titles")
    passages += map(Passage, *(row[name] for name in columns))
    return passages


def mix(x: np.ndarray) -> np.ndarray:
    """64 bits in, 64 well-mixed bits out (the finaliser of SplitMix64)."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = x ^ (x >> shift)
        x = x * factor
    return x ^ (x >> 31)


def constants(start: int, count: int) -> np.ndarray:
    """`count` fixed numbers that look random (SplitMix64 from `start` on): the same on every machine."""
    states = np.arange(start, start + count, dtype=np.uint64) * _BASE
    return mix(states)


# The golden ratio in 64 bits. It is odd, so it has an inverse modulo 2**64.
_BASE = 0x9E3779B97F4A7C15
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)
_BYTES = constants(1, 256)
"""The number that stands for each byte of a text."""


@lru_cache(maxsize=8)
def _powers(base: int, count: int) -> np.ndarray:
    """base, base**2, ..., base**count, modulo 2**64."""
    return np.cumprod(np.full(count, base, np.uint64))


@lru_cache(maxsize=256)
def _hashes(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The parts of the hash of any words in a row of a text, so that it is read once for grams of several lengths.

    With b[i] the number of byte i, sums[k] is the sum of b[i] * BASE**(i + 1) over the first k bytes. The bytes from s
    to e have the hash (sums[e] - sums[s]) * BASE**-(s + 1), which is the same wherever they stand. Returns sums (one
    more than there are bytes), the byte at which each word begins, the one behind its last, and BASE**-(s + 1) for
    each word.
    """
    joined = " ".join(words(text))
    data = np.frombuffer(joined.encode(errors="surrogatepass"), np.uint8)
    size = len(data)
    # Most texts share the powers of one length; those of longer texts are rounded up, so that few are computed.
    count = max(4096, 1 << size.bit_length())
    # All of this is modulo 2**64: numpy's whole numbers overflow silently.
    terms = _BYTES[data] * _powers(_BASE, count)[:size]
    sums = np.zeros(size + 1, np.uint64)
    np.cumsum(terms, out=sums[1:])
    blanks = np.flatnonzero(data == ord(" "))
    starts = np.concatenate([[0], blanks + 1])
    ends = np.concatenate([blanks, [size]])
    return sums, starts, ends, _powers(_BASE_INVERSE, count)[starts]


def grams(text: str, n: int) -> np.ndarray:
    """The hashes of every `n` words in a row (uint64); of the whole where it is shorter, none where it has no word."""
    if not words(text):
        return np.zeros(0, np.uint64)
    sums, starts, ends, inverse_powers = _hashes(text)
    last = np.array(stretch_ends(words(text), n)) - 1
    count = len(last)
    hashes = (sums[ends[last]] - sums[starts[:count]]) * inverse_powers[:count]
    return mix(hashes)
