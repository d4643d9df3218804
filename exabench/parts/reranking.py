"""Reranking: a candidate list in the order of a reranker's scores."""

from __future__ import annotations

from collections.abc import Mapping

from exabench.core.nouns import Passage, Query, Run, Usage
from exabench.measure.runs import run_of
from exabench.parts.rerankers import Job, Reranker, score_jobs


def rerank(
    reranker: Reranker, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage], name: str
) -> tuple[Run, dict[str, Usage]]:
    """The candidates in the order of a reranker's scores, and what each query took, where the reranker counts it."""
    jobs = (job_of(query_id, candidates, queries, passages) for query_id in candidates.query_ids)
    outcomes = score_jobs(reranker, jobs)
    scores = {}
    usages = {}
    for query_id, (values, usage) in zip(candidates.query_ids, outcomes, strict=True):
        scores[query_id] = dict(zip(candidates.ranking(query_id), values, strict=True))
        if usage is not None:
            usages[query_id] = usage
    return run_of(name, scores), usages


def job_of(query_id: str, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage]) -> Job:
    """A query and its candidates, best first.

    One whose text is not given has an empty text: parts that look at ids alone are given no texts.
    """
    query = queries.get(query_id) or Query(query_id, "")
    return query, [passages.get(id) or Passage(id, "") for id in candidates.ranking(query_id)]


def part_name(reranker: object) -> str:
    """The name under which a reranker is recorded: its identity's, else its class in lower case."""
    return str(getattr(reranker, "identity", {}).get("reranker", type(reranker).__name__.lower()))
