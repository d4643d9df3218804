"""Pairs from MS MARCO training triples: a text file of query, relevant and non-relevant passage."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from exabench.core.errors import BadInput, plural
from exabench.core.files import digest_of, file_below, lines
from exabench.core.nouns import Passage, Query
from exabench.core.rows import Pair
from exabench.data.pairs._orders import Walk


@dataclass
class Triples(Walk):
    """Lines of `triples.train.small.tsv` (plain or gzip; query, relevant, other passage), met on a walk (`Walk`).

    In the `way` "paper" lines are read as the ExaRanker authors' code reads them: as CSV, where a column that begins
    with a quotation mark is quoted (and may run over several lines). In the way "balanced" columns are taken as they
    stand. The file is read line by line, no further than `count` pairs need. A relative `file` may be below `data`.
    Raises BadInput for a line without three columns, and for a file that ends
    before there are `count` pairs.
    """

    file: str | Path
    _: KW_ONLY
    data: str | Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.path = file_below(self.data, self.file)
        self.source = f"MS MARCO triples ({self.path.name})"

    @cached_property
    def source_revision(self) -> str:
        """sha256 of the lines as far as the pairs need them."""
        digest = hashlib.sha256()
        for _ in self._pairs(self._lines(digest)):
            pass
        return f"sha256:{digest.hexdigest()}"

    def __iter__(self) -> Iterator[Pair]:
        return self._pairs(self._lines())

    def _lines(self, digest: hashlib._Hash | None = None) -> Iterator[str]:
        for _, line in lines(self.path):
            if digest is not None:
                digest.update(f"{line}\n".encode())
            yield f"{line}\n"

    def _pairs(self, text: Iterable[str]) -> Iterator[Pair]:
        """The pairs of the walk. A query's id is of its text, which is on many lines; a passage's of its line."""
        made = 0
        for (number, columns), relevant in self.walk(self._records(text)):
            if isinstance(columns, str):  # only lines that the walk meets are split
                columns = columns[:-1].split("\t")
            # The authors' code takes the first three of a CSV line, however many there are.
            if len(columns) < 3 or (self.way == "balanced" and len(columns) > 3):
                raise BadInput(
                    f"has {plural(len(columns), 'column')} where triples have 3", file=self.path, line=number
                )
            query, good, other = columns[:3]
            passage = Passage(f"line{number}-positive", good) if relevant else Passage(f"line{number}-negative", other)
            yield Pair(Query(f"q{digest_of(query)[-16:]}", query), passage, relevant)
            made += 1
            if made == self.count:
                return
        if self.count is not None or not made:
            raise BadInput(
                f"ends after {plural(made, 'pair')}, before the {self.count or 'any'} that are wanted", file=self.path
            )

    def _records(self, text: Iterable[str]) -> Iterator[tuple[int, str | list[str]]]:
        """Every line as it is (most are never needed) or, where it has to be read as CSV, its columns; numbers from 1.

        Where quotation marks hold several lines together, the number is that of the last.
        """
        source = enumerate(text, 1)
        for number, line in source:
            if self.way == "balanced" or '"' not in line:
                yield number, line
                continue
            reader = csv.reader(chain([line], (more for _, more in source)), delimiter="\t")
            try:
                record = next(reader)
            except csv.Error as error:
                raise BadInput(f"cannot be read as CSV ({error})", file=self.path, line=number) from error
            yield number + reader.line_num - 1, record
