"""Rerankers that encode query and passage apart: each distinct text of the lists is encoded once, then compared."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np

from exabench.core.nouns import Passage, Progress, Query, silent
from exabench.models.batch_store import BatchStore
from exabench.models.costs import usage_of
from exabench.models.flops import Shape
from exabench.models.text_vectors import TextEncoder, TextVectors
from exabench.parts.rerankers import Job, Outcome


class EncodedApart:
    """Scores of lists by an encoder of texts, with what they cost.

    The usage of a query counts all its texts, encoded before or not: what a query costs must not depend on which came
    first. `store` is where `score_many` keeps the vectors of passages; `window` is the number of pairs whose texts are
    encoded together.
    """

    reads = "texts"

    def __init__(
        self,
        encoder: TextEncoder,
        shape: Shape | None,
        fields: Sequence[str],
        store: BatchStore,
        window: int,
        progress: Progress,
    ) -> None:
        self._encoder = encoder
        self._shape = shape
        self._fields = tuple(fields)
        self._store = store
        self._window = window
        self._progress = progress
        self._pairs = 0
        self._seconds = 0.0

    def score(self, query: Query, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in the order given, with nothing remembered from before."""
        queries = TextVectors(self._encoder, "query")
        texts = TextVectors(self._encoder, "passage")
        [(scores, _)] = self._score_jobs([(query, passages)], queries, texts)
        return scores

    def score_many(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Scores and usage of each job, in order; jobs are read as they are needed, some thousand pairs ahead.

        Batches hold only the texts of these jobs, so that a vector never depends on what was encoded before.
        """
        source = iter(jobs)
        queries = TextVectors(self._encoder, "query")
        passages = TextVectors(self._encoder, "passage", self._store)
        while True:
            window = []
            pairs = 0
            for job in source:
                window.append(job)
                pairs += len(job[1])
                if pairs >= self._window:
                    break
            if not window:
                return
            # The clock stands still while a window waits to be taken.
            started = time.perf_counter()
            found = self._store.found
            scored = self._score_jobs(window, queries, passages, self._progress)
            if self._store.found == found:  # what was encoded by an earlier process says nothing of the speed
                self._pairs += pairs
                self._seconds += time.perf_counter() - started
            yield from scored

    @property
    def pairs_per_second(self) -> float | None:
        """How fast `score_many` was, encoding included; None where it encoded nothing itself."""
        if not self._pairs:
            return None
        return self._pairs / self._seconds

    def _score_jobs(
        self, jobs: Sequence[Job], queries: TextVectors, passages: TextVectors, progress: Progress = silent
    ) -> list[Outcome]:
        queries.add(query.text for query, _ in jobs)
        texts_of_jobs = []
        count = 0
        for _, some in jobs:
            texts_of_jobs.append([passage.flat(self._fields) for passage in some])
            count += len(some)

        # Texts are encoded and pairs are reported: nearly all of the work is encoding, and other rerankers count pairs.
        def report(done: int, total: int, what: str) -> None:
            progress(count * done // total, count, "pairs scored")

        passages.add(chain.from_iterable(texts_of_jobs), report)  # the texts of all jobs are batched together
        scored = []
        for (query, _), texts in zip(jobs, texts_of_jobs, strict=True):
            scores = []
            if texts:
                # Rounded once, after the sum in double precision, as in the first stage.
                [of_query] = queries.vectors([query.text])
                pairs = self._encoder.similarities(of_query, passages.vectors(texts))
                scores = pairs.astype(np.float32).tolist()
            [read_query] = queries.inputs([query.text])
            tokens = [read_query.tokens]
            cut_passages = 0
            for read in passages.inputs(texts):
                tokens.append(read.tokens)
                cut_passages += read.cut
            counts = {"passages": len(texts), "cut_passages": cut_passages, "cut_queries": int(read_query.cut)}
            written = [0] * len(tokens)
            scored.append((scores, usage_of(self._shape, tokens, written, rows=0, **counts)))
        return scored
