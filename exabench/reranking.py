"""Reranking: a reranker over one frozen candidate list -> the run, what each query took, and how long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from exabench.collections._choose import checked_qrels, open_collection
from exabench.collections._texts import Texts
from exabench.costs import cost_of, hardware
from exabench.errors import BadInput
from exabench.measuring import Stage
from exabench.nouns import Candidates, Passage, Query, Result, Run, Task, Timing, Usage
from exabench.rerankers import Reranker
from exabench.runs import run_of

TIMED_QUERIES = 10  # each scored alone, for the latency of a result
TIMED_SECONDS = 5.0  # no further query is begun after that


def rerank(
    reranker: Reranker, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage], name: str
) -> tuple[Run, dict[str, Usage]]:
    """The candidates in the order of a reranker's scores, and what each query took, where the reranker counts it.

    One with `score_many` is handed all queries, one after the other as it asks for them.
    """
    jobs = (_job(query_id, candidates, queries, passages) for query_id in candidates.query_ids)
    if hasattr(reranker, "score_many"):
        answers: Iterator[tuple[Sequence[float], Usage | None]] = reranker.score_many(jobs)
    else:
        answers = ((reranker.score(*job), None) for job in jobs)
    scores: dict[str, dict[str, float]] = {}
    usages: dict[str, Usage] = {}
    for query_id, (values, usage) in zip(candidates.query_ids, answers, strict=True):
        scores[query_id] = dict(zip(candidates.ranking(query_id), values, strict=True))
        if usage is not None:
            usages[query_id] = usage
    return run_of(name, scores), usages


def _job(
    query_id: str, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage]
) -> tuple[Query, list[Passage]]:
    given = [passages.get(id) or Passage(id, "") for id in candidates.ranking(query_id)]
    return queries.get(query_id) or Query(query_id, ""), given


class Reranking(Stage):
    """A stage together with the collection it came from: what rerankers are given, read once."""

    def __init__(
        self, task: Task, candidates: Candidates, run: Run, data: str | Path | None, lock: str | Path | None
    ) -> None:
        self._collection = open_collection(task, data, lock)
        qrels = checked_qrels(task, self._collection, lock)
        super().__init__(task, candidates, run, qrels, self._collection.source)

    def ranked(self, reranker: Reranker, name: str) -> tuple[Run, dict[str, Usage]]:
        """The candidates scored by a reranker, which is given texts if it reads them."""
        reads = getattr(reranker, "reads", "texts") == "texts"
        return rerank(reranker, self.run, self._queries if reads else {}, self._passages if reads else {}, name)

    def measured(
        self, reranker: Reranker, submission: str, kind: str, command: str | None = None
    ) -> tuple[Result, Run]:
        """Rerank and measure; the cost is all there but for the timing, which `timed` adds."""
        run, usages = self.ranked(reranker, submission)
        identity = dict(getattr(reranker, "identity", {}))
        result = self.result(submission, kind, run, command)
        if usages:
            per_query = result.measurement.per_query[result.measurement.headline]
            about: Any = reranker
            cost = cost_of(usages, per_query, precision=about.precision, parameters=about.parameters, timing=None)
            result = replace(result, model=identity, cost=cost)
        return result, run

    def timed(self, result: Result, reranker: Reranker) -> Result:
        """The result with its timing: some queries spread over the list, each scored alone and afresh."""
        if result.cost is None or not len(self.run):
            return result
        step = max(1, len(self.run) // TIMED_QUERIES)
        seconds: list[float] = []
        for query_id in self.run.query_ids[::step][:TIMED_QUERIES]:
            if sum(seconds) > TIMED_SECONDS:
                break
            job = _job(query_id, self.run, self._queries, self._passages)
            started = time.perf_counter()
            reranker.score(*job)
            seconds.append(time.perf_counter() - started)
        p50, p95 = np.percentile(seconds, [50, 95]).tolist()
        timing = Timing(
            p50=p50,
            p95=p95,
            sample=len(seconds),
            pairs_per_second=getattr(reranker, "pairs_per_second", None),
            hardware=hardware(),
        )
        return replace(result, cost=replace(result.cost, timing=timing))

    @cached_property
    def _queries(self) -> dict[str, Query]:
        return {query.id: query for query in self._collection.queries()}

    @cached_property
    def _passages(self) -> Mapping[str, Passage]:
        """The candidates' texts, with those fields alone that the task's convention names."""
        fields, wanted = self.task.convention.text_fields, set(self.run.passage_ids.to_pylist())
        found = Texts(self._collection.passages(), wanted, fields)
        if missing := wanted - set(found):
            raise BadInput(f"{self._collection.source} holds no text for a candidate", id=min(missing))
        return found
