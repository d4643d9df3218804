"""Encoded passages on disk, in shards named by what they hold, and the best rows of a search through them.

A shard is a few thousand passages in the order of the collection. Its name is the digest of their ids and texts, so
a shard that exists is right: an encoding that was killed continues behind the last whole shard, a passage that
changed costs its own shard alone, and a collection met again costs nothing. `<digest>.<array>.npy` are its arrays,
`<digest>.ids` its ids; the ids are written last and mark the shard as whole.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from exabench.core.errors import BadInput
from exabench.core.files import cache_folder, digest_of, from_json, json_text, only_writer, read_text, write
from exabench.core.nouns import Passage, Progress
from exabench.core.sqlite_store import chunks

SHARD = 1024
"""Passages encoded at a time: what memory holds of a collection, and what a kill can cost."""


class Shard(NamedTuple):
    """One shard of a collection: its digest, the row of its first passage, and how many it holds."""

    digest: str
    first: int
    rows: int


class Vectors:
    """The encoded passages of one collection under one encoder.

    `about` says what a vector depends on (model, pooling, ...; JSON-able). Its digest names a folder in `cache`
    (default: the user's cache folder), and `about.json` in there says it in full. `arrays` are the names of a
    shard's arrays. Memory holds one shard at a time.
    """

    def __init__(self, cache: str | None, about: Mapping[str, Any], arrays: Sequence[str], shard: int) -> None:
        if shard < 1:
            raise BadInput(f"a shard must have at least 1 passage, not {shard}")
        # The digest tells folders apart; the model's name is for people, who clear the cache by hand.
        slug = re.sub(r"[^A-Za-z0-9]", "-", about["model"])[-40:].strip("-")
        digest = digest_of(about).removeprefix("sha256:")[:16]
        self.folder = Path(cache or cache_folder("vectors"), f"{slug}-{digest}")
        self.shards: list[Shard] = []
        self._about = about
        self._arrays = arrays
        self._size = shard
        self._passages = 0

    def fill(
        self,
        passages: Iterable[Passage],
        fields: tuple[str, ...],
        encode: Callable[[Sequence[str], Sequence[str]], Mapping[str, np.ndarray]],
        progress: Progress,
    ) -> None:
        """Stream a collection through: shards that exist are kept, the others are encoded.

        `encode` makes the arrays of a shard, by name, from the ids and the texts of its passages.
        Raises BadInput for an empty collection, CannotWrite where another process is encoding into the folder.
        """
        total = operator.length_hint(passages)  # 0: no one knows
        is_writer = False
        with contextlib.ExitStack() as writing:
            for some in chunks(passages, self._size):
                ids = [passage.id for passage in some]
                texts = [passage.flat(fields) for passage in some]
                name = digest_of([ids, texts]).removeprefix("sha256:")
                shard = Shard(name, self._passages, len(ids))
                if not self._is_whole(shard, ids):
                    if not is_writer:  # a collection that is all there is read without the lock
                        is_writer = True
                        writing.enter_context(only_writer(self.folder))
                        write(self.folder / "about.json", json_text(self._about))
                    arrays = encode(ids, texts)
                    for array in self._arrays:
                        values = np.ascontiguousarray(arrays[array])
                        file = io.BytesIO()
                        np.save(file, values, allow_pickle=False)
                        write(self._file(shard, array), file.getvalue())
                    write(self.folder / f"{name}.ids", json_text(ids))  # last: it marks the shard as whole
                self.shards.append(shard)
                self._passages += len(ids)
                if total:
                    total = max(total, self._passages)
                progress(self._passages, total, "passages encoded")
        if not self.shards:
            raise BadInput("there is no passage to encode")

    def read(self, shard: Shard, array: str) -> np.ndarray:
        """An array of a shard, mapped into memory; the pages go when the array does."""
        return np.lib.format.open_memmap(self._file(shard, array), mode="r")

    def scores_by_id(
        self,
        best: Sequence[BestRows],
        rescore: Callable[[Shard, np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> list[dict[str, float]]:
        """`{passage_id: score}` of what is left of each query (of at least one).

        `rescore` gives the final scores: of pairs of a query number and a row (ascending) of a shard.
        """
        by_id: list[dict[str, float]] = [{} for _ in best]
        counts = [len(one.rows) for one in best]
        numbers = np.repeat(np.arange(len(best)), counts)
        rows = np.concatenate([one.rows for one in best])
        scores = np.concatenate([one.scores for one in best])

        # All queries shard by shard, so that each shard is read once.
        order = np.argsort(rows, kind="stable")
        firsts = [shard.first for shard in self.shards]
        starts = np.searchsorted(rows[order], [*firsts, self._passages])
        for shard, (start, end) in zip(self.shards, itertools.pairwise(starts), strict=True):
            if start == end:
                continue
            places = order[start:end]
            asking = numbers[places]
            inside = rows[places] - shard.first
            final = scores[places]
            if rescore is not None:
                final = rescore(shard, asking, inside)
            ids = self._ids(shard)
            for number, row, score in zip(asking.tolist(), inside.tolist(), final.tolist(), strict=True):
                by_id[number][ids[row]] = score
        return by_id

    def _is_whole(self, shard: Shard, ids: Sequence[str]) -> bool:
        """Is the shard whole on disk? One with a file cut short is encoded again."""
        try:
            for name in self._arrays:
                self.read(shard, name)
            return self._ids(shard) == ids
        except (BadInput, OSError, ValueError):
            return False

    def _file(self, shard: Shard, array: str) -> Path:
        return self.folder / f"{shard.digest}.{array}.npy"

    def _ids(self, shard: Shard) -> list[str]:
        return from_json(read_text(self.folder / f"{shard.digest}.ids"))


def refuse_not_finite(values: np.ndarray, ids: Sequence[str], what: str) -> None:
    """Raise BadInput with the id of the first row that holds NaN or infinity."""
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        first = ids[finite.argmin()]
        raise BadInput(f"the model's vector of this {what} is not finite; check model and precision", id=first)


class BestRows:
    """The rows that score no less than the `depth`-th best so far, less a margin: about `depth` of them.

    The margin covers how far approximate scores may be off, so that no row of the exact best `depth` is lost;
    with exact scores it is 0, and ties at the cut stay for the ranking rule to settle.
    """

    def __init__(self, depth: int) -> None:
        self.floor = -np.inf
        self.rows = np.zeros(0, np.int64)
        self.scores = np.zeros(0, np.float32)
        self._depth = depth

    def offer(self, rows: np.ndarray, scores: np.ndarray, margin: float = 0.0) -> None:
        """Add rows that were not offered before, with their scores."""
        rows = np.concatenate([self.rows, rows])
        scores = np.concatenate([self.scores, scores])
        if len(rows) > self._depth:
            cut = np.partition(scores, -self._depth)[-self._depth]
            self.floor = max(self.floor, cut - margin)
        good = scores >= self.floor
        self.rows = rows[good]
        self.scores = scores[good]
