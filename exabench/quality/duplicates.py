"""Duplicates: rows that double an earlier one, word for word or nearly so."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from exabench.files import digest_of
from exabench.nouns import Passage
from exabench.quality._texts import constants, grams, mixed, passages_of, words
from exabench.rows import Row

_BANDS, _OF_QUERY, _OF_PASSAGE = 16, 2, 6
_FACTORS = constants(1001, _BANDS * (_OF_QUERY + _OF_PASSAGE)) | np.uint64(1)
_SHIFTS = constants(2001, len(_FACTORS))
_ASIDE = _BANDS * _OF_QUERY
_WIDTH = len(_FACTORS)
SHINGLE = 5
"""Words in a row by which passages are compared."""


class Duplicates:
    """Rows that double an earlier row that was kept; the first one stays.

    A row doubles another where query and passage are the same words (exact), or where both are alike enough (near):
    the sets of the query's words and of the passage's shingles each have a Jaccard similarity of `near` or more, as 32
    and 96 MinHash values estimate it (standard error at 0.9: 0.05 and 0.03; Broder 1997). Both must be alike, because
    many honest rows share a passage or a query. A contrastive row is its query and its positive, a listwise row its
    query and all its passages. `near` 0 finds exact doubles alone. The attributes `exact`
    and `near` count what was found.

    Banding looks at pairs that share one of 16 bands, which 99.9 % of those do whose parts are both 0.9 alike.
    """

    def __init__(self, near: float = 0.9) -> None:
        self.exact = self.near = 0
        self._threshold = near
        self._buckets = _Buckets()
        self._signatures = bytearray()  # the lowest eight bits of each value
        self._keys = array("Q")
        self._ids, self._ends = bytearray(), array("Q", [0])

    def seen(self, row: Row) -> str | None:
        """The id of the earlier row that this one doubles; None for a new row, which later ones may double."""
        passages = passages_of(row)[: 1 if "positive_id" in row else None]
        values = _minima(row["query"], passages)
        key, signature = _key(row["query"], passages), (values & np.uint64(0xFF)).astype(np.uint8)
        bands = _bands(values)
        place = self._doubled(self._buckets.rows(bands), key, signature)
        if place is None:
            self._buckets.add(bands, len(self._keys))
            self._signatures += signature.tobytes()
            self._keys.append(key)
            self._ids += row["id"].encode(errors="surrogatepass")
            self._ends.append(len(self._ids))
            return None
        same = self._keys[place] == key
        self.exact, self.near = self.exact + same, self.near + (not same)
        return self._ids[self._ends[place] : self._ends[place + 1]].decode(errors="surrogatepass")

    def _doubled(self, places: np.ndarray, key: int, signature: np.ndarray) -> int | None:
        """The first of these rows that is the same, else the first that is near enough."""
        exact = next((int(place) for place in places if self._keys[place] == key), None)
        if exact is not None or not self._threshold or not len(places):
            return exact
        same = np.frombuffer(self._signatures, np.uint8).reshape(-1, _WIDTH)[places] == signature
        chance = 1 / 256  # that eight bits agree where the values do not
        alike = [(part.mean(axis=1) - chance) / (1 - chance) for part in (same[:, :_ASIDE], same[:, _ASIDE:])]
        near = np.flatnonzero(np.minimum(*alike) > self._threshold - 1e-9)
        return int(places[near[0]]) if len(near) else None


def _key(query: str, passages: Sequence[Passage]) -> int:
    texts = [query, *(passage.flat() for passage in passages)]
    said = "\n".join(" ".join(words(text)) for text in texts)
    return int(digest_of(said.encode(errors="surrogatepass"))[-16:], 16)


def _minima(query: str, passages: Sequence[Passage]) -> np.ndarray:
    """The MinHash values of a query's words, then of its passages' shingles: 32 bits each, shape (_WIDTH,)."""
    shingles = [grams(passage.flat(), SHINGLE) for passage in passages]
    none = np.zeros(1, np.uint64)  # what nothing at all looks like
    parts = (np.concatenate([none, grams(query, 1)]), np.concatenate([none, *shingles]))
    halves = (slice(None, _ASIDE), slice(_ASIDE, None))
    found = [
        (np.multiply.outer(_FACTORS[half], part[len(part) > 1 :]) + _SHIFTS[half, None]).min(axis=1)
        for half, part in zip(halves, parts, strict=True)
    ]
    return np.concatenate(found) >> np.uint64(32)


def _bands(values: np.ndarray) -> np.ndarray:
    """One 32-bit key for each band; rows that are alike share one of them, whatever else they share."""
    queries, passages = values[:_ASIDE].reshape(_BANDS, -1), values[_ASIDE:].reshape(_BANDS, -1)
    keys = queries @ _FACTORS[:_OF_QUERY] + passages @ _FACTORS[-_OF_PASSAGE:] + _SHIFTS[:_BANDS]
    return mixed(keys) >> np.uint64(32)


class _Buckets:
    """Row numbers under 32-bit keys: the newest in a dict, the rest as sorted `key << 32 | row`, 8 bytes each.

    Sorted runs of equal size are merged into one, so that there are never more than log2(rows / NEWEST) of them.
    """

    NEWEST = 4096

    def __init__(self) -> None:
        self._new: dict[int, list[int]] = {}
        self._rows = 0
        self._runs: list[np.ndarray] = []

    def add(self, keys: np.ndarray, row: int) -> None:
        """Put a row under each of its keys."""
        for key in keys.tolist():
            self._new.setdefault(key, []).append(row)
        self._rows += 1
        if self._rows % self.NEWEST == 0:
            run = np.array([key << 32 | place for key, places in self._new.items() for place in places], np.uint64)
            self._new = {}
            while self._runs and len(self._runs[-1]) <= len(run):
                run = np.concatenate([run, self._runs.pop()])
            self._runs.append(np.sort(run))

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """The rows under any of these keys, each once, in order (int64)."""
        found = {place for key in keys.tolist() for place in self._new.get(key, ())}
        low = keys << np.uint64(32)
        for run in self._runs:
            first = run.searchsorted(low)
            for place in np.flatnonzero(run[np.minimum(first, len(run) - 1)] >> np.uint64(32) == keys):
                last = run.searchsorted(low[place] | np.uint64(0xFFFFFFFF), "right")
                found.update((run[first[place] : last] & np.uint64(0xFFFFFFFF)).tolist())
        return np.array(sorted(found), np.int64)
