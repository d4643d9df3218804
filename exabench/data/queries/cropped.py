"""Sentences of the passages themselves as queries, sampled over the whole collection (DRAGON's cropped sentences)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

from exabench.core.errors import BadInput, plural
from exabench.core.nouns import Query
from exabench.data.queries._sentences import sentences
from exabench.data.sampling import draw
from exabench.tasks.collections import FromCollection


@dataclass
class Cropped(FromCollection):
    """`count` different sentences of `fewest_words` words or more, each as likely as any other.

    Sentences are those of the passages' texts without titles, cut as _sentences.py says; one that stands in several
    places is one sentence, of the passage with the least id. Seed and texts alone decide which are taken and in what
    order. Query ids are `c-<passage id>-<place of the sentence, from 1>`. Lin et al. 2023, arXiv 2302.07452 (who cut
    with another splitter and sampled without a seed); the sample of TWOLAR, arXiv 2403.17759, is 10,000 of these.
    """

    _: KW_ONLY
    count: int
    seed: int = 0
    fewest_words: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.fewest_words < 1:
            raise BadInput(
                f"cropped needs count and fewest_words of at least 1, not {self.count} and {self.fewest_words}"
            )

    def __iter__(self) -> Iterator[tuple[Query, Mapping[str, Any]]]:
        for passage_id, number, text in self._sample:
            yield Query(f"c-{passage_id}-{number}", text), {"kind": "cropped", "passage_id": passage_id, "replies": []}

    @cached_property
    def _sample(self) -> list[tuple[str, int, str]]:
        """(passage id, place, sentence) of each. Raises BadInput where the collection has too few."""
        found = draw(self._sentences(), self.count, lambda sentence: f"{self.seed} {sentence[2]}")
        if len(found) < self.count:
            have = f"{plural(len(found), 'different sentence')} of {self.fewest_words} words or more"
            raise BadInput(f"cropped: {self.source} has {have}, fewer than count = {self.count}")
        return found

    def _sentences(self) -> Iterator[tuple[str, int, str]]:
        for passage in self.collection.passages():
            for number, sentence in enumerate(sentences(passage.text), 1):
                if len(sentence.split()) >= self.fewest_words:
                    yield passage.id, number, sentence
