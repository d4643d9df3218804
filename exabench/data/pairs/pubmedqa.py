"""Pairs that people explained: PubMedQA's research questions, abstracts and conclusions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import msgspec

from exabench.core.errors import BadInput
from exabench.core.records import read_lines
from exabench.core.rows import Pair
from exabench.data.pairs._orders import ExplainedPairs, read_pairs


class _Metadata(msgspec.Struct):
    long_answer: str


class _AnnotatedQuestion(msgspec.Struct):
    """A question with its metadata."""

    metadata: _Metadata
    id: str = msgspec.field(name="_id")


@dataclass(kw_only=True)
class PubMedQA(ExplainedPairs):
    """Every question of a split with its abstract, which is relevant, and the long answer as the rationale.

    A question is an article's title or made of it, the abstract stands without its conclusion, and the long answer is
    that conclusion, as the article's authors wrote it (Jin et al. 2019, arXiv 1909.06146). `file` is the collection's
    queries.jsonl, whose metadata hold the long answers.
    """

    DEFAULT_FILE = "queries.jsonl"

    def __iter__(self) -> Iterator[Pair]:
        pairs = []
        for query_id, row in self.collection.qrels(self.split).items():
            pairs += [(query_id, passage_id) for passage_id, grade in row.items() if grade > 0]
        chosen = self.seeded_order(pairs)[: self.count]
        # The reader of collections leaves the metadata of a query out, so the file is read again.
        answers = {line.id: line.metadata.long_answer.strip() for _, line in read_lines(_AnnotatedQuestion, self.path)}
        for pair in read_pairs(self.collection, dict.fromkeys(chosen, True)):
            answer = answers.get(pair.query.id)
            if not answer:
                raise BadInput("has no long answer to this question", file=self.path, id=pair.query.id)
            yield replace(pair, rationale=answer)
