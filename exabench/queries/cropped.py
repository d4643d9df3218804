"""Sentences of the passages themselves as queries, sampled over the whole collection (DRAGON's cropped sentences)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from exabench.errors import BadInput, plural
from exabench.nouns import Query
from exabench.queries._sampling import lowest, rank
from exabench.queries._sentences import sentences

if TYPE_CHECKING:
    from exabench.collections import Collection


class Cropped:
    """`count` different sentences of `fewest_words` words or more, each as likely as any other.

    Sentences are those of the passages' texts without titles, cut as _sentences.py says; one that stands in several
    places is one sentence, of the passage with the least id. Seed and texts alone decide which are taken and in what
    order. Query ids are `c-<passage id>-<place of the sentence, from 1>`. Lin et al. 2023, arXiv 2302.07452 (who cut
    with another splitter and sampled without a seed); the sample of TWOLAR, arXiv 2403.17759, is 10,000 of these.
    """

    def __init__(self, collection: Collection, *, count: int, seed: int = 0, fewest_words: int = 1) -> None:
        if count < 1 or fewest_words < 1:
            raise BadInput(f"cropped needs count and fewest_words of at least 1, not {count} and {fewest_words}")
        self._collection, self._count, self._seed, self._fewest = collection, count, seed, fewest_words

    @property
    def source(self) -> str:
        """The collection's place."""
        return self._collection.source

    @property
    def source_revision(self) -> str:
        """The collection's revision."""
        return self._collection.revision

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        for passage_id, number, text in self._sample:
            yield Query(f"c-{passage_id}-{number}", text), {"kind": "cropped", "passage_id": passage_id, "replies": []}

    @cached_property
    def _sample(self) -> list[tuple[str, int, str]]:
        """(passage id, place, sentence) of each. Raises BadInput where the collection has too few."""
        found = lowest(((rank(self._seed, one[2]), one) for one in self._sentences()), self._count)
        if len(found) < self._count:
            have = f"{plural(len(found), 'different sentence')} of {self._fewest} words or more"
            raise BadInput(f"cropped: {self.source} has {have}, fewer than count = {self._count}")
        return found

    def _sentences(self) -> Iterator[tuple[str, int, str]]:
        for passage in self._collection.passages():
            for number, sentence in enumerate(sentences(passage.text), 1):
                if len(sentence.split()) >= self._fewest:
                    yield passage.id, number, sentence
