"""Scores that others published by id, with the texts of the collection: an ensemble's for MS MARCO's triples, say.

The file of Hofstätter et al. (2020, arXiv 2010.02666; zenodo.org/records/4068216) has a line for each triple: score of
the positive, score of the negative, and the ids of query, positive and negative, with tabs between them. No language
model is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from exabench.core.errors import BadInput, plural, printable
from exabench.core.files import file_below, file_digest, lines
from exabench.core.nouns import Reply
from exabench.core.rows import Item, Row
from exabench.data.builders._sources import count_values, origin, passage_list, query_fields
from exabench.measure.rank_fusion import best_first
from exabench.tasks.collections import Collection, SelectedTexts, passages_of

AT_ONCE = 500_000
"""Lines whose texts are held together: the collection is read once for so many."""


class _Line(NamedTuple):
    """A line of the file: its number, the query's id, and the score of each of its two passages."""

    number: int
    query_id: str
    scores: dict[str, float]


@dataclass
class PublishedScores:
    """A list of two passages for each of the first `count` lines (0: all) of `file` (a path, or one below --data).

    `made_by` is the model that scored, `made_by_revision` its version where that is known. The higher score comes
    first; which of the two was the positive is not kept. Raises BadInput with the line for one that is no such line,
    and for an id that the collection has no text of.
    """

    family = "scored"
    prompt = ""

    collection: Collection
    _: KW_ONLY
    file: str
    made_by: str
    made_by_revision: str = ""
    count: int = 0
    data: str | Path | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise BadInput(f"count is {self.count}; give a number of lines, or 0 for all of them")
        self._file = file_below(self.data, self.file)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The scorer and its file, as a release names its teacher."""
        return {
            "model": self.made_by,
            "revision": self.made_by_revision,
            "file": self._file.name,
            "file_digest": file_digest(self._file),
        }

    def items(self) -> Iterator[Item]:
        """One for each line, in the file's order; the collection is read once for many of them."""
        source = islice(self._lines(), self.count or None)
        about = origin(self.collection)
        made = 0
        while block := list(islice(source, AT_ONCE)):
            query_ids = {line.query_id for line in block}
            queries = {query.id: query for query in self.collection.queries() if query.id in query_ids}
            wanted = set[str]().union(*(line.scores for line in block))
            texts = SelectedTexts(passages_of(self.collection, wanted), wanted)
            for line in block:
                query = self._text_of(queries, line.query_id, line.number)
                scores = best_first(line.scores)
                passages = [self._text_of(texts, id, line.number) for id in scores]
                data = {
                    **query_fields(query, "human"),
                    **passage_list(passages),
                    "scores": list(scores.values()),
                    "first_stages": [""] * len(passages),  # the triples do not say where a passage was drawn from
                    **about,
                }
                yield Item(f"line-{line.number}", (), data)
                made += 1
        if not made or made < self.count:
            raise BadInput(f"ends after {plural(made, 'line')}, before the {self.count or 1} wanted", file=self._file)

    def _lines(self) -> Iterator[_Line]:
        for number, text in lines(self._file):
            columns = text.split("\t")
            if len(columns) != 5:
                wrong = f"has {plural(len(columns), 'column')} where scores have 5 (two scores, then three ids)"
                raise BadInput(wrong, file=self._file, line=number)
            positive, negative, query_id, good, other = columns
            scores = {good: self._number(positive, number), other: self._number(negative, number)}
            if len(scores) < 2:
                raise BadInput("names one passage twice", file=self._file, line=number, id=good)
            yield _Line(number, query_id, scores)

    def _number(self, text: str, line: int) -> float:
        """A finite score."""
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise BadInput(f"{printable(text)!r} is not a score", file=self._file, line=line)
        return score

    def _text_of(self, texts: Mapping[str, Any], id: str, line: int) -> Any:
        """The query or passage of an id."""
        if id not in texts:
            raise BadInput(f"{self.collection.source} has no text of this id", file=self._file, line=line, id=id)
        return texts[id]

    def rows(self, item: Item, replies: Sequence[Reply]) -> list[Row]:
        """The list of an Item."""
        return [{"id": item.id, **item.data}]

    def report(self, items: Iterable[Item]) -> Mapping[str, Any]:
        """Lists, and the queries that they are about."""
        [lists] = count_values(items, "query_id")
        return {"lists": lists.total(), "queries": len(lists)}
