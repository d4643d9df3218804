"""Bi-encoders as rerankers: query and passage embedded apart and compared, as a dense retriever would rank them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exabench.batches import budget_of
from exabench.errors import UnknownName
from exabench.flops import exact, paper, shape_of
from exabench.nouns import Passage, Query, Usage
from exabench.rerankers._apart import Compared, Sides
from exabench.rerankers._learning import Learner
from exabench.rerankers._models import load
from exabench.rerankers._templates import text_template
from exabench.rerankers._vectors import Embedded, Vectors
from exabench.strategies import STRATEGIES

WINDOW = 8_192  # pairs whose texts are embedded together
SIMILARITIES = ("cosine", "dot")
Job = tuple[Query, Sequence[Passage]]


class BiEncoder:
    """Scores are cosines or dot products; each distinct text is embedded once, whatever pairs it is part of.

    Pooling, normalisation and the length limit are the folder's own, as sentence-transformers reads them
    (modules.json, 1_Pooling); `query_prompt` and `passage_prompt` stand before the texts. A text too long loses its
    end if it is a passage and its beginning if it is a query. The usage of a query counts all its texts, embedded
    before or not: what a query costs must not depend on which came first.
    """

    reads = "texts"
    head = "bi_encoder"

    def __init__(
        self,
        model: str,
        *,
        similarity: str = "cosine",
        query_prompt: str = "",
        passage_prompt: str = "",
        revision: str = "",
        precision: str = "float32",
        lock: str | Path | None = None,
        fields: Sequence[str] = ("title", "text"),
        max_length: int = 0,
        batch_tokens: int = 0,
        devices: Sequence[str] = (),
    ) -> None:
        if similarity not in SIMILARITIES:
            raise UnknownName("similarity", similarity, SIMILARITIES)
        loaded = load(model, "bi_encoder", revision=revision, precision=precision, devices=devices, lock=lock)
        device = loaded.devices[0]
        if similarity == "cosine":
            head: Any = loaded.head  # a Pooled
            loaded = replace(loaded, head=replace(head, normal=True))
        limit, budget = min(max_length or 512, loaded.head.limit), batch_tokens or budget_of(device)
        prompts = {"query": query_prompt + "{query}", "passage": passage_prompt + "{passage}"}
        templates = [text_template(text, loaded.tokenizer, needs=(name,)) for name, text in prompts.items()]
        self._queries, self._passages = (
            Vectors(loaded, device, template, field, limit=limit, budget=budget)
            for field, template in enumerate(templates)
        )
        self._loaded, self._sides, self._limit = loaded, Sides(*templates), limit
        self._fields, self._shape = tuple(fields), shape_of(loaded.config)
        self.precision, self.parameters = loaded.precision, loaded.parameters
        self._pairs, self._seconds = 0, 0.0
        self.identity: dict[str, Any] = {
            "reranker": "bi_encoder",
            "model": loaded.folder.name,
            "revision": loaded.folder.revision,
            "template": " | ".join(prompts.values()),
            "strategy": similarity,
            "precision": precision,
            "max_length": limit,
            "fields": list(self._fields),
        }

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given, with nothing remembered from before."""
        [(scores, _)] = self._scored([(query, passages)], self._queries.fresh(), self._passages.fresh())
        return scores

    def score_many(self, jobs: Iterable[Job]) -> Iterator[tuple[list[float], Usage]]:
        """Scores and usage of each job, in order; jobs are read as they are needed, some thousand pairs ahead."""
        window: list[Job] = []
        pairs = 0
        for query, passages in jobs:
            window.append((query, passages))
            pairs += len(passages)
            if pairs >= WINDOW:
                yield from self._window(window)
                window, pairs = [], 0
        yield from self._window(window)

    def learner(self) -> Learner:
        """Its model, to be fitted: the products that it learns are those that this reranker ranks by."""
        head: Any = self._loaded.head
        head.model.pooler = None  # where there is one, it has no part in any vector
        made = Compared(head.model, self._limit, head.pad, pooling=head.pooling, normal=head.normal)
        loaded, strategy = replace(self._loaded, head=made), STRATEGIES["logit"]()
        return Learner(loaded, self._sides, strategy, (0,), max_length=self._limit, fields=self._fields)

    @property
    def pairs_per_second(self) -> float | None:
        """How fast `score_many` was, embedding included; None before it scored anything."""
        return self._pairs / self._seconds if self._pairs else None

    def _window(self, jobs: Sequence[Job]) -> list[tuple[list[float], Usage]]:
        started = time.perf_counter()
        scored = self._scored(jobs, self._queries, self._passages)
        self._pairs += sum(len(passages) for _, passages in jobs)
        self._seconds += time.perf_counter() - started
        return scored

    def _scored(self, jobs: Sequence[Job], asked: Vectors, read: Vectors) -> list[tuple[list[float], Usage]]:
        texts = [(query.text, [passage.flat(self._fields) for passage in some]) for query, some in jobs]
        asked.add(query for query, _ in texts)
        read.add(text for _, some in texts for text in some)
        return [
            (_products(asked.of([query]), read.of(some)), self._usage(asked.inputs([query]), read.inputs(some)))
            for query, some in texts
        ]

    def _usage(self, asked: Sequence[Embedded], read: Sequence[Embedded]) -> Usage:
        tokens = np.array([made.tokens for made in (*asked, *read)], np.int64)
        return Usage(
            prompts=len(tokens),
            input_tokens=int(tokens.sum()),
            flops_paper=float(np.sum(paper(self._shape, tokens, 0))),
            flops_exact=float(np.sum(exact(self._shape, tokens, 0, rows=0))),
            cut_passages=sum(made.cut for made in read),
            cut_queries=sum(made.cut for made in asked),
        )


def _products(query: np.ndarray, passages: np.ndarray) -> list[float]:
    """Products of one vector `[1, width]` with `[n, width]`."""
    return (passages @ query[0]).tolist() if len(passages) else []
