"""Pairs that people explained: PubMedQA's research questions, abstracts and conclusions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from exabench.core.errors import BadInput
from exabench.core.records import read_lines
from exabench.core.rows import Pair
from exabench.data.pairs._orders import ExplainedPairs, Ids
from exabench.tasks.collections import queries_of, texts_of


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
        pairs: list[Ids] = []
        for query_id, row in self.collection.qrels(self.split).items():
            pairs += [(query_id, passage_id) for passage_id, grade in row.items() if grade > 0]
        chosen = self.in_order(pairs)[: self.count]
        queries = queries_of(self.collection, (query_id for query_id, _ in chosen))
        passages = texts_of(self.collection, (passage_id for _, passage_id in chosen))
        answers = {line.id: line.metadata.long_answer.strip() for _, line in read_lines(_AnnotatedQuestion, self.path)}
        for query_id, passage_id in chosen:
            if not answers.get(query_id):
                raise BadInput("has no long answer to this question", file=self.path, id=query_id)
            yield Pair(queries[query_id], passages[passage_id], True, answers[query_id])
