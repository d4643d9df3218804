"""Duplicates: rows that double an earlier one, word for word or nearly so."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

from exabench.core.files import digest_of
from exabench.core.rows import Row
from exabench.data.quality._texts import constants, grams, mix, passages_of, words

_BANDS = 16
_OF_QUERY = 2  # MinHash values of the query in a band
_OF_PASSAGE = 6
_QUERY = _BANDS * _OF_QUERY  # values of the query; those of the passage are behind them
_WIDTH = _QUERY + _BANDS * _OF_PASSAGE
_FACTORS = constants(1001, _WIDTH) | 1
_SHIFTS = constants(2001, _WIDTH)
_CHANCE = 1 / 256  # that the eight bits of a value that are kept agree where the values do not
_HALF = 32  # bits of a number
_LOW_HALF = 0xFFFFFFFF
SHINGLE = 5
"""Words in a row by which passages are compared."""


class Double(NamedTuple):
    """The earlier row that a row doubles; `kind` is "exact" or "near"."""

    id: str
    kind: str


class Duplicates:
    """Rows that double an earlier row that was kept; the first one stays.

    A row doubles another where query and passage are the same words (exact), or where both are alike enough (near):
    the sets of the query's words and of the passage's shingles each have a Jaccard similarity of `near` or more, as 32
    and 96 MinHash values estimate it (standard error at 0.9: 0.05 and 0.03; Broder 1997). Both must be alike, because
    many honest rows share a passage or a query. A contrastive row is its query and its positive, a listwise row its
    query and all its passages. `near` 0 finds only exact doubles.

    Banding looks at pairs that share one of 16 bands, which 99.9% of those do whose parts are both 0.9 alike.
    """

    def __init__(self, near: float = 0.9) -> None:
        self._near = near
        self._buckets = Buckets()
        self._ids: list[str] = []
        self._keys = array("Q")  # of all words: equal for exact doubles
        self._signatures = bytearray()  # the lowest eight bits of each MinHash value, _WIDTH of them for a row

    def find_earlier(self, row: Row) -> Double | None:
        """The earlier row that this one doubles; None for a new row, which later ones may double."""
        passages = passages_of(row)
        if "positive_id" in row:
            passages = passages[:1]
        texts = [row["query"]]
        shingles = [np.zeros(0, np.uint64)]  # a listwise row may be empty
        for passage in passages:
            text = passage.flat()
            texts.append(text)
            shingles.append(grams(text, SHINGLE))

        # MinHash values: 32 bits for each function of the query's words, then of the passages' shingles.
        of_query = _lowest(grams(row["query"], 1), slice(None, _QUERY))
        of_passages = _lowest(np.concatenate(shingles), slice(_QUERY, None))
        signature = np.concatenate([of_query, of_passages]).astype(np.uint8)

        # One 32-bit key for each band; rows that are alike share one of them, whatever else they share.
        query_bands = of_query.reshape(_BANDS, _OF_QUERY) @ _FACTORS[:_OF_QUERY]
        passage_bands = of_passages.reshape(_BANDS, _OF_PASSAGE) @ _FACTORS[-_OF_PASSAGE:]
        both_bands = query_bands + passage_bands + _SHIFTS[:_BANDS]
        bands = mix(both_bands) >> _HALF

        all_words = "\n".join([" ".join(words(text)) for text in texts])
        digest = digest_of(all_words.encode(errors="surrogatepass"))
        key = int(digest[-16:], 16)
        places = self._buckets.rows(bands)
        for place in places:
            if self._keys[place] == key:
                return Double(self._ids[place], "exact")
        if self._near and len(places):
            # The array of all signatures gets no name: a bytearray cannot grow while an array looks at it.
            same = np.frombuffer(self._signatures, np.uint8).reshape(-1, _WIDTH)[places] == signature
            alike = np.minimum(_similarity(same[:, :_QUERY]), _similarity(same[:, _QUERY:]))
            near = places[alike > self._near - 1e-9]
            if len(near):
                return Double(self._ids[near[0]], "near")
        self._buckets.add(bands, len(self._ids))
        self._ids.append(row["id"])
        self._keys.append(key)
        self._signatures += signature.tobytes()
        return None


def _similarity(same: np.ndarray) -> np.ndarray:
    """The Jaccard similarities that the shares of equal values, shape (rows, values), stand for."""
    return (same.mean(axis=1) - _CHANCE) / (1 - _CHANCE)


def _lowest(hashes: np.ndarray, functions: slice) -> np.ndarray:
    """MinHash values: the upper half of the lowest number that each random function gives to one of the hashes."""
    if not len(hashes):
        hashes = np.zeros(1, np.uint64)  # no text at all: as if it were one word
    products = np.multiply.outer(_FACTORS[functions], hashes)
    numbers = products + _SHIFTS[functions, None]
    return numbers.min(axis=1) >> _HALF


class Buckets:
    """Row numbers under 32-bit keys. The newest are in a dict, all others in one sorted array, 8 bytes an entry.

    An entry is `key << 32 | row`, so that all rows of a key stand together. Once NEWEST rows have come in, and an
    eighth of those in the array, they are sorted into it: each entry is then moved some ten times on average.
    """

    NEWEST = 4096

    def __init__(self) -> None:
        self._newest: dict[int, list[int]] = {}
        self._entries = np.zeros(0, np.uint64)
        self._new_rows = 0

    def add(self, keys: np.ndarray, row: int) -> None:
        """Put a row under each of its keys."""
        for key in keys.tolist():
            self._newest.setdefault(key, []).append(row)
        self._new_rows += 1
        if self._new_rows < max(self.NEWEST, len(self._entries) // len(keys) // 8):
            return
        new = []
        for bucket, rows in self._newest.items():
            for each in rows:
                new.append(bucket << 32 | each)
        entries = np.concatenate([self._entries, np.array(new, np.uint64)])
        self._entries = np.sort(entries, kind="stable")
        self._new_rows = 0
        self._newest = {}

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """The rows under any of these keys, each once, in order (int64)."""
        found = set[int]()
        for key in keys.tolist():
            found.update(self._newest.get(key, ()))
        lowest = keys << _HALF
        firsts = self._entries.searchsorted(lowest)
        ends = self._entries.searchsorted(lowest | _LOW_HALF, "right")
        for place in np.flatnonzero(firsts < ends):
            entries = self._entries[firsts[place] : ends[place]]
            found.update((entries & _LOW_HALF).tolist())
        return np.array(sorted(found), np.int64)
