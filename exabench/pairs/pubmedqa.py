"""Pairs that people explained: PubMedQA's research questions, abstracts and conclusions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from exabench.errors import BadInput
from exabench.files import digest_of, file_digest, from_json, lines
from exabench.pairs._drawing import counted, passages_of, place
from exabench.rows import Pair

if TYPE_CHECKING:
    from exabench.collections import Collection


class PubMedQA:
    """Every question of a split with its abstract, which is relevant, and the long answer as the rationale.

    A question is an article's title or made of it, the abstract stands without its conclusion, and the long answer is
    that conclusion, as the article's authors wrote it (Jin et al. 2019, arXiv 1909.06146). `file` is the collection's
    queries.jsonl, whose metadata hold the long answers.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        split: str = "train",
        file: str | Path | None = None,
        count: int | None = None,
        seed: int = 0,
    ) -> None:
        if file is None and not hasattr(collection, "folder"):
            raise BadInput("the long answers stand in a file of their own: give it as file=PATH/queries.jsonl")
        self._file = Path(file) if file is not None else Path(getattr(collection, "folder", "")) / "queries.jsonl"
        self._collection, self._split, self._count, self._seed = collection, split, counted(count), seed

    @property
    def source(self) -> str:
        """The collection's own name for itself."""
        return self._collection.source

    @cached_property
    def source_revision(self) -> str:
        """The digest of the collection's revision and of the file."""
        return digest_of([self._collection.revision, file_digest(self._file)])

    def __iter__(self) -> Iterator[Pair]:
        pairs = [
            (q, p) for q, row in self._collection.qrels(self._split).items() for p, grade in row.items() if grade > 0
        ]
        order = sorted(pairs, key=lambda pair: place(self._seed, *pair))[: self._count]
        queries = {query.id: query for query in self._collection.queries()}
        passages = passages_of(self._collection, {passage_id for _, passage_id in order})
        answers = self._answers()
        for query_id, passage_id in order:
            if query_id not in queries or query_id not in answers or passage_id not in passages:
                raise BadInput(
                    "has no question, long answer or abstract", file=self._file, id=f"{query_id}/{passage_id}"
                )
            yield Pair(queries[query_id], passages[passage_id], True, answers[query_id])

    def _answers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, line in lines(self._file):
            try:
                row = from_json(line)
                answer = row["metadata"]["long_answer"]
                found[row["_id"]] = answer.strip()
            except (ValueError, RecursionError) as error:
                raise BadInput("is not JSON", file=self._file, line=number) from error
            except (KeyError, TypeError, AttributeError) as error:
                raise BadInput('needs "_id" and a text metadata.long_answer', file=self._file, line=number) from error
        return {id: text for id, text in found.items() if text}
