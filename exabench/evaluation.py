"""Evaluation: Submission x Task x Candidates -> Run -> Result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.catalogue import expand, single_task
from exabench.collections import Collection
from exabench.collections._choose import checked_qrels, judgements_of, open_collection
from exabench.errors import BadInput
from exabench.ledger import Ledger, read_result
from exabench.measuring import METRICS, Stage, measurement, metrics_of
from exabench.metrics._measure import mean, measure
from exabench.nouns import (
    Candidates,
    Measurement,
    Passage,
    Progress,
    Qrels,
    Query,
    Result,
    Run,
    Submission,
    Task,
    silent,
)
from exabench.qrels import qrels_digest
from exabench.rerankers import RERANKERS, Reranker
from exabench.retrievers import RETRIEVERS, Retriever
from exabench.runs import read_run, run_digest, run_of, top, without_self_matches

# -- one run ---------------------------------------------------------------------------------------------------


def score(
    run: str | Path | Run,
    *,
    task: str | None = None,
    qrels: str | Path | Qrels | None = None,
    data: str | Path | None = None,
    metrics: Sequence[str] = (),
    threshold: int = 1,
    lock: str | Path | None = None,
) -> Measurement:
    """Measure a run against a task of the table (`task`, read from `data` or its public source) or any qrels.

    `metrics` default to the task's headline and METRICS; `threshold` (with `qrels` only) is the lowest grade
    that counts as relevant. Raises BadInput or OutsideFailed.
    """
    read = run if isinstance(run, Run) else read_run(run)
    judged, convention, _ = judgements_of(task, qrels, data, threshold, lock)
    defaults = metrics_of(single_task(task)) if task else METRICS
    return measurement(read, judged, convention, metrics or defaults, task=task)


# -- candidates ------------------------------------------------------------------------------------------------


def make_candidates(
    task: str | Task,
    retriever: str,
    depth: int,
    *,
    data: str | Path | None = None,
    lock: str | Path | None = None,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Candidates, Run]:
    """Run a first stage over a task's judged queries and freeze its best `depth` passages each.

    Self-matches go before the cut, where the task's convention says so. Raises BadInput where the collection
    at hand holds fewer passages than the task (a pool can be reranked, not searched).
    """
    task = single_task(task) if isinstance(task, str) else task
    if depth < 1:
        raise BadInput(f"depth must be at least 1, not {depth}")
    collection = open_collection(task, data, lock)
    qrels = checked_qrels(task, collection, lock)
    first_stage = _retriever(task, retriever, collection, options or {})
    drop = task.convention.self_match == "drop"
    queries = [query for query in collection.queries() if query.id in qrels]
    found = first_stage.search(queries, depth + 1 if drop else depth)
    name = name or f"{retriever.replace('_', '-')}-{depth}"
    run = top(without_self_matches(found) if drop else found, depth, name)
    _, recall = measure(qrels, run, [f"R@{depth}"], threshold=task.convention.relevance_threshold)
    candidates = Candidates(
        name=name,
        task=task.name,
        retriever=retriever,
        parameters=dict(first_stage.parameters),
        depth=depth,
        digest=run_digest(run),
        queries=len(run),
        recall=mean(recall[f"R@{depth}"]),
        source=collection.source,
        qrels_digest=qrels_digest(qrels),
        convention_digest=task.convention.digest,
        licence=task.licence,
    )
    return candidates, run


def _retriever(task: Task, name: str, collection: Collection, options: Mapping[str, Any]) -> Retriever:
    part = RETRIEVERS[name]
    passages: Iterable[Passage] = collection.passages() if part.whole else ()
    if part.whole and task.documents is not None:
        passages = list(passages)
        if len(passages) < task.documents:
            raise BadInput(
                f"task {task.name} has {task.documents} passages, {collection.source} holds {len(passages)}: "
                "such a pool can be reranked but not searched; give a published run with --from RUN"
            )
    try:
        made: Retriever = part(passages, **{"fields": task.convention.text_fields, **options})
    except TypeError as error:
        raise BadInput(f"retriever {name} does not take these options ({error})") from error
    return made


# -- results ---------------------------------------------------------------------------------------------------


def rerank(
    reranker: Reranker, candidates: Run, queries: Mapping[str, Query], passages: Mapping[str, Passage], name: str
) -> Run:
    """The candidates scored by a reranker, query by query."""
    scores = {}
    for query_id in candidates.query_ids:
        ids = candidates.ranking(query_id)
        given = [passages.get(passage_id) or Passage(passage_id, "") for passage_id in ids]
        values = reranker.score(queries.get(query_id) or Query(query_id, ""), given)
        scores[query_id] = dict(zip(ids, values, strict=True))
    return run_of(name, scores)


def evaluate(
    reranker: str | Reranker,
    tasks: Sequence[str],
    *,
    retriever: str = "bm25",
    depth: int = 100,
    data: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Result]:
    """Rerank a first stage's candidates with a reranker (a part's name, or an object with `score`), per task."""
    results = {}
    for name in expand(list(tasks)):
        task = single_task(name)
        candidates, run = make_candidates(task, retriever, depth, data=data, options=options)
        stage = _Reranking(task, candidates, run, data, None)
        label = reranker if isinstance(reranker, str) else type(reranker).__name__.lower()
        ranked = stage.reranked(stage.part(reranker) if isinstance(reranker, str) else reranker, label)
        results[name] = stage.result(label, "model", ranked, f"exabench.evaluate({label!r}, [{name!r}])")
    return results


def run_board(
    board: str | Path,
    *,
    slugs: Sequence[str] = (),
    task: str | None = None,
    candidates: str | None = None,
    data: str | Path | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Compute the results of the filed submissions (all, or `slugs`), one file each; those still true are kept.

    A baseline is run on every candidate list of the board, a run is measured on the list it was filed for.
    Returns the result files, new and kept.
    """
    ledger = Ledger(Path(board))
    filed = ledger.submissions()
    for slug in slugs:
        if slug not in filed:
            raise BadInput(
                f"no submission {slug!r} is filed there; choose from: {', '.join(filed) or 'none'}", file=board
            )
    work: dict[tuple[str, str], list[Submission]] = {}
    for submission in (filed[slug] for slug in (slugs or filed)):
        for pair in _pairs(ledger, submission):
            if task in (None, pair[0]) and candidates in (None, pair[1]):
                work.setdefault(pair, []).append(submission)
    total, written = sum(map(len, work.values())), []
    for pair, submissions in sorted(work.items()):
        frozen = ledger.one_candidates(*pair)
        stage = _Reranking(single_task(pair[0]), frozen, ledger.candidates_run(frozen), data, ledger.lock)
        for submission in submissions:
            written.append(_result_file(ledger, stage, submission))
            progress(len(written), total, f"{submission.slug} on {pair[0]} ({pair[1]})")
    return written


def _pairs(ledger: Ledger, submission: Submission) -> list[tuple[str, str]]:
    if submission.kind == "run":
        return ledger.runs(submission.slug)
    return [(candidates.task, candidates.name) for candidates in ledger.candidates()]


def _result_file(ledger: Ledger, stage: _Reranking, submission: Submission) -> Path:
    names = (submission.slug, stage.task.name, stage.candidates.name)
    if submission.kind == "run":
        run = read_run(ledger.run_file(*names), submission.slug)
    else:
        run = stage.reranked(stage.part(submission.reranker), submission.slug)
        ledger.add_run(*names, run)
    result = stage.result(submission.slug, submission.kind, run)
    file = ledger.result_file(*names)
    if file.is_file() and _still_true(file, result):
        return file
    return ledger.add_result(result)


def _still_true(file: Path, result: Result) -> bool:
    """Is the filed result the same but for its date? An edited one never is."""
    try:
        filed = read_result(file)
    except BadInput:
        return False
    return {**vars(filed), "created": ""} == {**vars(result), "created": ""}


class _Reranking(Stage):
    """A stage together with the collection it came from: what rerankers are given, read once."""

    def __init__(
        self, task: Task, candidates: Candidates, run: Run, data: str | Path | None, lock: Path | None
    ) -> None:
        self._collection = open_collection(task, data, lock)
        qrels = checked_qrels(task, self._collection, lock)
        super().__init__(task, candidates, run, qrels, self._collection.source)

    def part(self, name: str) -> Reranker:
        """The reranker called `name`, made for this task."""
        kind = RERANKERS[name]
        made: Reranker = kind(self.qrels) if kind.reads == "judgements" else kind()
        return made

    def reranked(self, reranker: Reranker, name: str) -> Run:
        """The candidates in the order that a reranker gives them."""
        queries: dict[str, Query] = {}
        passages: dict[str, Passage] = {}
        if getattr(reranker, "reads", "texts") == "texts":
            wanted = set(self.run.passage_ids.to_pylist())
            queries = {query.id: query for query in self._collection.queries()}
            passages = {passage.id: passage for passage in self._collection.passages() if passage.id in wanted}
            if missing := wanted - set(passages):
                raise BadInput(f"{self._collection.source} holds no text for a candidate", id=min(missing))
        return rerank(reranker, self.run, queries, passages, name)
