"""The texts of pairs, and the two orders in which pairs are taken: by a seed, and on the ExaRanker authors' walk."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from exabench.core.errors import BadInput
from exabench.core.files import digest_of, file_digest
from exabench.core.rows import Pair
from exabench.data.sampling import draw
from exabench.tasks.collections import Collection, FromCollection, queries_of, texts_of

T = TypeVar("T")
Ids = tuple[str, str]
"""Query id and passage id."""


def read_pairs(collection: Collection, labels: Mapping[Ids, bool]) -> Iterator[Pair]:
    """The pairs of these labels with their texts. Raises BadInput for a query or passage that is not there."""
    queries = queries_of(collection, (query_id for query_id, _ in labels))
    passages = texts_of(collection, (passage_id for _, passage_id in labels))
    for (query_id, passage_id), relevant in labels.items():
        yield Pair(queries[query_id], passages[passage_id], relevant)


@dataclass(kw_only=True)
class SeededPairs(FromCollection):
    """Pairs of a collection's `split`, `count` of them (None: all), in an order that an added pair does not change."""

    split: str = "train"
    count: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _check_count(self.count)

    def key(self, *ids: str) -> str:
        """The text whose digest decides the place of a pair or a passage."""
        return "\n".join((str(self.seed), *ids))

    def seeded_order(self, pairs: Iterable[Ids]) -> list[Ids]:
        """The pairs in the order of the seed."""
        return draw(pairs, None, lambda pair: self.key(*pair))


@dataclass(kw_only=True)
class ExplainedPairs(SeededPairs):
    """Pairs whose explanations are in `file`, by default the DEFAULT_FILE of the collection's folder."""

    DEFAULT_FILE: ClassVar[str]
    file: str | Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file is None:
            folder = getattr(self.collection, "folder", None)
            if folder is None:
                raise BadInput(f"explanations are in a separate file: name it as file=PATH/{self.DEFAULT_FILE}")
            self.file = Path(folder, self.DEFAULT_FILE)
        self.path = Path(self.file)

    @property
    def source_revision(self) -> str:
        """The digest of the collection's revision and of the file."""
        return digest_of([super().source_revision, file_digest(self.path)])


@dataclass(kw_only=True)
class Walk:
    """`count` pairs of the lines that Python's generator of `seed` meets (unicamp-dl/ExaRanker, ds/genDS_GPT3.py).

    It draws the first line among the first `step` + 1, then jumps of 1 to `step` lines. In the `way` "paper" lines give
    by turns a non-relevant pair and a relevant one, so that the two are of different lines; in the way "balanced" every
    line that the walk meets gives both, the non-relevant one first.
    """

    count: int | None = None
    way: Literal["paper", "balanced"] = "paper"
    seed: int = 2
    step: int = 10

    def __post_init__(self) -> None:
        _check_count(self.count)
        if self.step < 1:
            raise BadInput(f"step is {self.step}; it must be at least 1")

    def walk(self, lines: Iterable[T]) -> Iterator[tuple[T, bool]]:
        """The lines that the walk meets, each with the class of the pair that it gives."""
        # The generator and the two kinds of draws are the authors', or their lines would not be met.
        chance = random.Random(self.seed)
        wanted = chance.randint(0, self.step)
        relevant = False
        for place, line in enumerate(lines):
            if place != wanted:
                continue
            if self.way == "balanced":
                yield line, False
                yield line, True
            else:
                yield line, relevant
                relevant = not relevant
            wanted = place + chance.randint(1, self.step)


def _check_count(count: int | None) -> None:
    if count is not None and count < 1:
        raise BadInput(f"count is {count}; give a number of pairs of at least 1, or omit it for all")
