"""Encoded passages on disk, in shards named by what they hold: made once, whole or not there, mapped to be read.

A shard is a few thousand passages in the order of the collection. Its name is the digest of their ids and texts, so
a shard that is there is right: an encoding that was killed goes on behind the last whole shard, a passage that
changed costs its own shard alone, and a collection met again costs nothing. `<digest>.<array>.npy` are its arrays,
`<digest>.ids` its ids; the ids are written last and mark the shard as whole.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from exabench.core.errors import BadInput
from exabench.core.files import digest_of, from_json, json_text, only_writer, read_text, write
from exabench.core.nouns import Passage, Progress, silent

SHARD = 1024
"""Passages encoded at a time: what memory holds of a collection, and what a kill can cost."""

Encode: TypeAlias = Callable[[Sequence[str], Sequence[str]], Mapping[str, np.ndarray]]
"""Ids and texts of a shard -> its arrays, by name."""


@dataclass(frozen=True)
class Shard:
    """One shard of a collection: its digest, the row of its first passage, and how many it holds."""

    digest: str
    first: int
    rows: int


class Vectors:
    """The encoded passages of one collection under one encoder.

    `about` is what makes a vector what it is (JSON-able); its digest names a folder in `cache`, and `about.json`
    in there says it in full. `arrays` are the names that `Encode` gives. Memory holds one shard at a time.
    """

    def __init__(self, cache: Path, about: Mapping[str, Any], arrays: Sequence[str], *, shard: int = SHARD) -> None:
        if shard < 1:
            raise BadInput(f"a shard holds at least 1 passage, not {shard}")
        slug = re.sub(r"[^A-Za-z0-9]", "-", str(about.get("model", "")))[-40:].strip("-")
        digest = digest_of(about).removeprefix("sha256:")
        self.folder = cache / f"{slug}-{digest[:16]}"
        self.shards: list[Shard] = []
        self.encoded = 0
        self._about = about
        self._arrays = arrays
        self._size = shard

    def __len__(self) -> int:
        return self.shards[-1].first + self.shards[-1].rows if self.shards else 0

    def fill(
        self, passages: Iterable[Passage], fields: tuple[str, ...], encode: Encode, progress: Progress = silent
    ) -> None:
        """Stream a collection through: shards that are there are kept, the others are encoded (counted in `encoded`).

        Raises BadInput for an empty collection, CannotWrite where another process is encoding into the folder.
        """
        total = len(passages) if isinstance(passages, Sized) else 0
        stream = iter(passages)
        with contextlib.ExitStack() as writing:
            while some := list(itertools.islice(stream, self._size)):
                ids = [passage.id for passage in some]
                texts = [passage.flat(fields) for passage in some]
                digest = digest_of([ids, texts]).removeprefix("sha256:")
                if not self._is_whole(digest, ids):
                    if not self.encoded:
                        writing.enter_context(only_writer(self.folder))
                        self._begin()
                    self._write(digest, ids, encode(ids, texts))
                    self.encoded += len(ids)
                self.shards.append(Shard(digest, len(self), len(ids)))
                progress(len(self), max(total, len(self)), "passages encoded")
        if not self.shards:
            raise BadInput("there is no passage to encode")

    def read(self, shard: Shard, array: str) -> np.ndarray:
        """An array of a shard, mapped into memory; the pages go when the array does."""
        return np.lib.format.open_memmap(self._file(shard.digest, array), mode="r")

    def ids(self, rows: np.ndarray) -> np.ndarray:
        """The passage ids of rows (of the collection, in any order), as an array of str."""
        found = np.empty(len(rows), object)
        for shard, places in self.by_shard(rows):
            ids = np.array(self._ids(shard.digest), object)
            found[places] = ids[rows[places] - shard.first]
        return found

    def named(self, numbers: np.ndarray, rows: np.ndarray, scores: np.ndarray, queries: int) -> list[dict[str, float]]:
        """`{passage_id: score}` of each query, from columns of query number, row and score."""
        named: list[dict[str, float]] = [{} for _ in range(queries)]
        for number, id, score in zip(numbers.tolist(), self.ids(rows), scores.tolist(), strict=True):
            named[number][id] = score
        return named

    def by_shard(self, rows: np.ndarray) -> Iterator[tuple[Shard, np.ndarray]]:
        """Each shard that holds some of the rows, with the places of those in `rows`, ascending by row."""
        order = np.argsort(rows, kind="stable")
        firsts = [shard.first for shard in self.shards]
        starts = np.searchsorted(rows[order], [*firsts, len(self)])
        for shard, (start, end) in zip(self.shards, itertools.pairwise(starts), strict=True):
            if end > start:
                yield shard, order[start:end]

    def _begin(self) -> None:
        """Say what the folder holds, and sweep what a killed writer left (temporary files begin with a dot)."""
        write(self.folder / "about.json", json_text(self._about))
        for left in self.folder.glob(".*"):
            left.unlink(missing_ok=True)

    def _is_whole(self, digest: str, ids: Sequence[str]) -> bool:
        """Is the shard whole on disk? One whose file somebody cut short is encoded again."""
        try:
            for name in self._arrays:
                np.lib.format.open_memmap(self._file(digest, name), mode="r")
            return self._ids(digest) == ids
        except (BadInput, OSError, ValueError):
            return False

    def _write(self, digest: str, ids: Sequence[str], arrays: Mapping[str, np.ndarray]) -> None:
        for name in self._arrays:
            file = io.BytesIO()
            np.save(file, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            write(self._file(digest, name), file.getvalue())
        write(self.folder / f"{digest}.ids", json_text(list(ids)))

    def _file(self, digest: str, array: str) -> Path:
        return self.folder / f"{digest}.{array}.npy"

    def _ids(self, digest: str) -> list[str]:
        return from_json(read_text(self.folder / f"{digest}.ids"))


def refuse_not_finite(values: np.ndarray, ids: Sequence[str], what: str) -> None:
    """Raise BadInput with the id of the first row that holds NaN or infinity."""
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise BadInput(f"the model's vector of this {what} is not finite; check model and precision", id=ids[wrong[0]])
