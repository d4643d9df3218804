"""Candidate lists: a first stage frozen; a reranker over them gives a run, what each query took, and how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from exabench.bench import notes
from exabench.bench.excerpts import build_excerpts, write_excerpts
from exabench.bench.ledger import Ledger, check_candidates_name
from exabench.bench.measurement import CandidateEvaluator
from exabench.core.errors import BadInput
from exabench.core.nouns import (
    Candidates,
    Convention,
    Passage,
    Progress,
    Query,
    Result,
    Run,
    Task,
    Timing,
    Usage,
    silent,
)
from exabench.hub.client import check_model
from exabench.measure.metric_values import mean, measure
from exabench.measure.qrels import qrels_digest
from exabench.measure.runs import leave_out, run_digest, top
from exabench.models.costs import cost_of, hardware
from exabench.parts.assembly import check_part, retriever as retriever_of
from exabench.parts.rerankers import Reranker
from exabench.parts.reranking import PairProgress, job_of, rerank
from exabench.parts.retrievers import RETRIEVERS, Retriever
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import (
    Passages,
    SelectedTexts,
    elsewhere,
    excluded_of,
    lock_collection,
    open_collection,
    passages_of,
    read_checked_qrels,
)

DEEPEST = 999_999  # the name of a list ends in its depth, of six digits at most
TIMED_QUERIES = 10  # each scored alone, for the latency of a result
TIMED_SECONDS = 5.0  # no query is begun after that


def make_candidates(
    task: str | Task,
    retriever: str,
    depth: int,
    *,
    data: str | Path | None = None,
    lock: str | Path | None = None,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    note: Callable[[str], None] = lambda line: None,
) -> tuple[Candidates, Run]:
    """Run a first stage over a task's judged queries and freeze its best `depth` passages each.

    Self-matches go before the cut, where the task's convention says so. `note` gets what is odd about the list.
    Raises BadInput where the collection at hand holds fewer passages than the task (a pool can be reranked, not
    searched).
    """
    task = single_task(task, data=data)
    if depth < 1:
        raise BadInput(f"depth must be at least 1, not {depth}")
    if depth > DEEPEST:
        raise BadInput(f"depth must be at most {DEEPEST:,}, not {depth}")
    # What can be refused without the collection is refused before it is read, or fetched.
    options = dict(options or {})
    check_part(RETRIEVERS, retriever, options)
    for name_of_model in ("model", "query_model"):
        if options.get(name_of_model):
            check_model(str(options[name_of_model]))
    collection = open_collection(task, data, lock)
    qrels = read_checked_qrels(task, collection, lock)
    remark = elsewhere(task, data, collection)
    if remark:
        note(remark)
    passages: Iterable[Passage] = ()  # a published run names its passages, and needs no text of them
    if RETRIEVERS[retriever].whole:
        passages = Passages(collection)
        if task.documents is not None:
            held = sum(1 for _ in passages)
            if held < task.documents:
                raise BadInput(
                    f"task {task.name} has {task.documents} passages, {collection.source} holds {held}: "
                    "such a pool can be reranked but not searched; give a published run with --from RUN"
                )
    convention = task.convention
    given = {"fields": convention.text_fields, "lock": lock, "progress": progress, **options}
    first_stage = retriever_of(retriever, passages, **given)
    queries = [query for query in collection.queries() if query.id in qrels]
    for remark in notes.queries_without_text(qrels, queries, collection.source):
        note(remark)
    name = name or f"{retriever.replace('_', '-')}-{depth}"
    run = search(first_stage, queries, depth, convention, name, excluded_of(task, collection))
    if not len(run):
        raise BadInput(f"first stage {name} finds nothing for any judged query of {task.name}; is it of another task?")
    for remark in notes.on_candidates(run, qrels, depth):
        note(remark)
    metric = f"R@{depth}"
    _, recall = measure(qrels, run, [metric], threshold=convention.relevance_threshold)
    candidates = Candidates(
        name=name,
        task=task.name,
        retriever=retriever,
        parameters=dict(first_stage.parameters),
        depth=depth,
        digest=run_digest(run),
        queries=len(run),
        recall=mean(recall[metric]),
        source=collection.source,
        qrels_digest=qrels_digest(qrels),
        convention_digest=convention.digest,
        licence=task.licence,
    )
    return candidates, run


def freeze_candidates(
    ledger: Ledger,
    task: str | Task,
    retriever: str,
    depth: int,
    *,
    data: str | Path | None = None,
    **choices: Any,
) -> tuple[Candidates, Path]:
    """Make candidates and file them on a board, with what its pages may show of them.

    `choices` are `name`, `options`, `progress` and `note` of `make_candidates`: notes come before anything is written.
    Where nothing is there yet, a board is made.
    Returns the candidates and the file that describes them.
    Raises BadInput as `make_candidates` does, and where the board holds another list of that name.
    """
    is_new = ledger.is_new()
    if choices.get("name"):
        check_candidates_name(choices["name"])
    task = single_task(task, data=data, board=ledger.folder)
    ledger.check_task(task)
    candidates, run = make_candidates(task, retriever, depth, data=data, lock=ledger.lock, **choices)
    if is_new:  # after the work, so that a task or an option that is refused leaves no board behind
        ledger.create("My leaderboard", [candidates.task])
    file = ledger.add_candidates(candidates, run)
    evaluator = RerankEvaluator(task, candidates, run, data, ledger.lock)
    if task.hub and not task.hub.get("revision"):  # the commit that was read here is the one that counts
        task = replace(task, hub={**task.hub, "revision": evaluator.collection.revision})
    ledger.add_task(task)
    lock_collection(ledger.lock, task, evaluator.collection, evaluator.qrels)
    values = build_excerpts(task, candidates, run, evaluator.collection, evaluator.qrels)
    write_excerpts(values, ledger.shown_file(candidates.task, candidates.name))
    return candidates, file


def search(
    first_stage: Retriever,
    queries: Sequence[Query],
    depth: int,
    convention: Convention,
    name: str,
    excluded: Mapping[str, Set[str]] = MappingProxyType({}),
) -> Run:
    """The best `depth` passages of each query; self-matches and excluded ids go before the cut (`leave_out`)."""
    # As many passages more as can go fill the places that they leave: a query has one self-match at most.
    more = max(map(len, excluded.values()), default=0)
    if convention.self_match == "drop":
        more += 1
    found, _, _ = leave_out(first_stage.search(queries, depth + more), convention, excluded)
    return top(found, depth, name)


class RerankEvaluator(CandidateEvaluator):
    """A candidate list together with its collection: the queries and texts that rerankers are given, read once."""

    def __init__(
        self,
        task: Task,
        candidates: Candidates,
        run: Run,
        data: str | Path | None,
        lock: str | Path | None,
        metrics: Sequence[str] = (),
    ) -> None:
        self.collection = open_collection(task, data, lock)
        qrels = read_checked_qrels(task, self.collection, lock)
        super().__init__(task, candidates, run, qrels, self.collection.source, metrics)

    def rerank(self, reranker: Reranker, name: str, pairs: PairProgress | None = None) -> tuple[Run, dict[str, Usage]]:
        """The candidates scored by a reranker, which is given texts if it reads them."""
        if _reads_texts(reranker):
            return rerank(reranker, self.run, self._queries, self._passages, name, pairs)
        # One that needs ids or judgements alone, such as a baseline: the collection's texts need not be read for it.
        return rerank(reranker, self.run, {}, {}, name, pairs)

    def evaluate(
        self,
        reranker: Reranker,
        submission: str,
        kind: str,
        command: str | None = None,
        pairs: PairProgress | None = None,
    ) -> tuple[Result, Run]:
        """Rerank and measure; the cost lacks the timing, which `time_latency` adds."""
        run, usages = self.rerank(reranker, submission, pairs)
        result = self.result(submission, kind, run, command)
        if _reads_texts(reranker):
            remarks = notes.queries_without_text(self.qrels, self._queries.values(), self.source)
            measured = replace(result.measurement, notes=(*remarks, *result.measurement.notes))
            result = replace(result, measurement=measured)
        if usages:  # only what runs a model counts; a baseline has no cost
            measured = result.measurement
            per_query = measured.per_query[measured.headline]
            precision = getattr(reranker, "precision", "unknown")
            parameters = getattr(reranker, "parameters", None)
            cost = cost_of(usages, per_query, precision=precision, parameters=parameters)
            result = replace(result, model=dict(getattr(reranker, "identity", {})), cost=cost)
        return result, run

    def time_latency(self, result: Result, reranker: Reranker) -> Result:
        """The result with its timing: some queries spread over the list, each scored alone and afresh."""
        if result.cost is None or not len(self.run):
            return result
        step = max(1, len(self.run) // TIMED_QUERIES)
        seconds: list[float] = []
        for query_id in self.run.query_ids[::step][:TIMED_QUERIES]:
            if sum(seconds) > TIMED_SECONDS:
                break
            job = job_of(query_id, self.run, self._queries, self._passages)
            started = time.perf_counter()  # after the texts were looked up: a latency is the reranker's own
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
        return {query.id: query for query in self.collection.queries()}

    @cached_property
    def _passages(self) -> Mapping[str, Passage]:
        """The text of every candidate by passage id, with those fields alone that the task's convention names.

        The collection is read once, and the texts wait in a temporary file, not in memory.
        Raises BadInput with the first id that the collection does not hold.
        """
        wanted = set(self.run.passage_ids.to_pylist())
        fields = self.task.convention.text_fields
        passages = SelectedTexts(passages_of(self.collection, wanted), wanted, fields)
        missing = wanted - set(passages)
        if missing:  # scored as an empty text it would look like a bad passage, and nobody would know
            raise BadInput(f"{self.collection.source} holds no text for a candidate", id=min(missing))
        return passages


def _reads_texts(reranker: Reranker) -> bool:
    return getattr(reranker, "reads", "texts") == "texts"


def read_evaluator(
    ledger: Ledger, task: str, name: str, data: str | Path | None, metrics: Sequence[str] = ()
) -> RerankEvaluator:
    """The evaluator of a board's candidate list. Raises BadInput, OutsideFailed."""
    candidates = ledger.one_candidates(task, name)
    run = ledger.candidates_run(candidates)
    found = single_task(task, data=data, board=ledger.folder)
    return RerankEvaluator(found, candidates, run, data, ledger.lock, metrics)
