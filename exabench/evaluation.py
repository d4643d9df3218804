"""Evaluation: Submission x Task x Candidates -> Run -> Result."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from exabench.catalogue import expand, single_task
from exabench.collections._choose import judgements_of
from exabench.errors import BadInput
from exabench.ledger import Ledger, read_result
from exabench.measuring import METRICS, measurement, metrics_of
from exabench.nouns import Measurement, Progress, Qrels, Result, Run, Submission, silent
from exabench.rerankers import Reranker
from exabench.reranking import Reranking, make_candidates
from exabench.runs import read_run
from exabench.systems import reranker as reranker_of

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


# -- results ---------------------------------------------------------------------------------------------------


def evaluate(
    reranker: str | Reranker,
    tasks: Sequence[str],
    *,
    retriever: str = "bm25",
    depth: int = 100,
    data: str | Path | None = None,
    retriever_options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> dict[str, Result]:
    """Rerank a first stage's candidates with a reranker (a part's name, or an object with `score`), per task.

    `options` are the part's own: `model`, `revision`, `strategy`, `precision`, `teacher`, ...
    """
    results = {}
    label = reranker if isinstance(reranker, str) else type(reranker).__name__.lower()
    part = None if isinstance(reranker, str) else reranker
    for name in expand(list(tasks)):
        task = single_task(name)
        candidates, run = make_candidates(
            task, retriever, depth, data=data, options=retriever_options, progress=progress
        )
        stage = Reranking(task, candidates, run, data, None)
        if part is None or getattr(part, "reads", "") == "judgements":
            part = reranker_of(label, qrels=stage.qrels, progress=progress, **options)
        result, _ = stage.measured(part, label, "model", f"exabench.evaluate({label!r}, [{name!r}])")
        results[name] = stage.timed(result, part)
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
    work = [
        (submission, pair)
        for submission in (filed[slug] for slug in (slugs or filed))
        for pair in _pairs(ledger, submission)
        if task in (None, pair[0]) and candidates in (None, pair[1])
    ]
    stage_of = functools.cache(lambda task, name: _stage(ledger, task, name, data))
    made: dict[str, Reranker] = {}
    written: list[Path] = []
    for submission, pair in work:
        if submission.kind == "model" and submission.slug not in made:  # one model in memory at a time
            made = {submission.slug: _loaded(submission, ledger, progress)}
        written.append(_result_file(ledger, stage_of(*pair), submission, made.get(submission.slug)))
        progress(len(written), len(work), f"{submission.slug} on {pair[0]} ({pair[1]})")
    return written


def _stage(ledger: Ledger, task: str, name: str, data: str | Path | None) -> Reranking:
    frozen = ledger.one_candidates(task, name)
    return Reranking(single_task(task), frozen, ledger.candidates_run(frozen), data, ledger.lock)


def _loaded(submission: Submission, ledger: Ledger, progress: Progress) -> Reranker:
    pinned = {"revision": submission.revision} if submission.revision else {}
    options = {"model": submission.model, **pinned, **submission.options}
    return reranker_of(submission.reranker, lock=ledger.lock, progress=progress, **options)


def _pairs(ledger: Ledger, submission: Submission) -> list[tuple[str, str]]:
    if submission.kind == "run":
        return ledger.runs(submission.slug)
    return [(candidates.task, candidates.name) for candidates in ledger.candidates()]


def _result_file(ledger: Ledger, stage: Reranking, submission: Submission, model: Reranker | None) -> Path:
    names = (submission.slug, stage.task.name, stage.candidates.name)
    file = ledger.result_file(*names)
    if submission.kind == "run":
        result = stage.result(submission.slug, submission.kind, read_run(ledger.run_file(*names), submission.slug))
        return file if _still_true(file, result) else ledger.add_result(result)
    reranker = model or reranker_of(submission.reranker, qrels=stage.qrels)
    result, run = stage.measured(reranker, submission.slug, submission.kind)
    ledger.add_run(*names, run)
    return file if _still_true(file, result) else ledger.add_result(stage.timed(result, reranker))


def _still_true(file: Path, result: Result) -> bool:
    """Is the filed result the same but for its date and its timing? An edited one never is."""
    try:
        return file.is_file() and _undated(read_result(file)) == _undated(result)
    except BadInput:
        return False


def _undated(result: Result) -> dict[str, Any]:
    cost = replace(result.cost, timing=None) if result.cost else None
    return {**vars(result), "created": "", "cost": cost}
