"""Evaluation: Submission x Task x Candidates -> Run -> Result."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.catalogue import expand, single_task
from exabench.collections._choose import judgements_of
from exabench.errors import BadInput
from exabench.evaluation._changes import SAME as SAME
from exabench.evaluation._changes import Keeper
from exabench.evaluation._engines import chains, spread
from exabench.evaluation._working import Work, made_in
from exabench.files import digest_of, read_bytes
from exabench.ledger import Ledger, read_result
from exabench.measuring import METRICS, measurement, metrics_of
from exabench.nouns import Measurement, Progress, Qrels, Result, Run, Submission, silent
from exabench.rerankers import Reranker
from exabench.reranking import Reranking, make_candidates
from exabench.runs import read_run
from exabench.submissions import SENT_IN
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
    trusted: bool = True,
    reason: str = "",
    engine: str = "local",
    workers: int = 0,
    progress: Progress = silent,
) -> list[Path]:
    """Compute the results of the filed submissions (all, or `slugs`), one file each; those still true are kept.

    A baseline and a model are run on every candidate list of the board, runs are measured on the list they were filed
    for; what was withdrawn is left as it is. A model that is not `trusted` runs in the sandbox, never in this process.
    Every headline number that comes, changes or goes gets its line in the change log, with `reason` or what follows
    from the results; one that would change for no reason is an error (CheckFailed). `engine` and `workers` as in
    `_engines.spread`. Returns the result files, new and kept.
    """
    ledger = Ledger(Path(board))
    filed = ledger.submissions()
    chosen = _chosen(ledger, filed, slugs)
    pairs = [
        (submission.slug, *pair)
        for submission in chosen
        for pair in _pairs(ledger, submission)
        if task in (None, pair[0]) and candidates in (None, pair[1])
    ]
    keeper, made = Keeper(ledger, reason), made_in(ledger.folder)
    begin = Work(ledger.folder, None if data is None else Path(data), trusted)
    work = chains(pairs)

    def kept(done: int, total: int, what: str) -> None:
        _keep_made(keeper, ledger, made, filed)
        progress(done, total, what)

    try:
        _keep_made(keeper, ledger, made, filed)  # what a run that was killed had finished
        files = spread(work, begin, engine=engine, workers=workers, progress=kept)
    finally:
        _keep_made(keeper, ledger, made, filed)
        shutil.rmtree(made, ignore_errors=True)
    for file in files:
        keeper.keep(read_result(file))  # one from before there was a change log gets its line
    if task is None and candidates is None:
        keeper.gone({submission.slug for submission in chosen})
    return files


def adopt(board: str | Path, staged: str | Path, slug: str, *, reason: str = "") -> list[Path]:
    """Take the finished results of `slug`, and their runs, over from another board (`staged`). Returns the files."""
    ledger, other = Ledger(Path(board)), Ledger(Path(staged))
    keeper = Keeper(ledger, reason)
    files = []
    for result in other.results(slug):
        run = read_run(other.run_file(slug, result.task, result.candidates.name), slug)
        files.append(keeper.keep(result, run))
    keeper.gone({slug})
    return files


def _chosen(ledger: Ledger, filed: Mapping[str, Submission], slugs: Sequence[str]) -> list[Submission]:
    """The submissions called `slugs`, or all that were not withdrawn. Raises BadInput."""
    for slug in slugs:
        if slug not in filed:
            names = ", ".join(filed) or "none"
            raise BadInput(f"no submission {slug!r} is filed there; choose from: {names}", file=ledger.folder)
        if filed[slug].withdrawn:
            raise BadInput(f"{slug} was withdrawn ({filed[slug].withdrawn}): its results stay as they are")
    return [submission for slug, submission in filed.items() if slug in (slugs or filed) and not submission.withdrawn]


def _pairs(ledger: Ledger, submission: Submission) -> list[tuple[str, str]]:
    if submission.kind in SENT_IN:
        return ledger.runs(submission.slug)
    return [(candidates.task, candidates.name) for candidates in ledger.candidates()]


def _keep_made(keeper: Keeper, ledger: Ledger, made: Path, filed: Mapping[str, Submission]) -> None:
    """File what workers finished; their results wait in `made`, beside the board, each with its run."""
    for file in sorted(made.glob("results/*/*.json")):
        with contextlib.suppress(BadInput):  # of another version of exabench, or of a list that is gone: made again
            result = read_result(file)
            if _is_wanted(ledger, result, filed.get(result.submission)):
                other = Ledger(made).run_file(result.submission, result.task, result.candidates.name)
                keeper.keep(result, read_run(other, result.submission) if other.is_file() else None)
        file.unlink()


def _is_wanted(ledger: Ledger, result: Result, submission: Submission | None) -> bool:
    """Is a finished result still of what is filed? The run that killed it may be long ago."""
    if submission is None or submission.withdrawn:
        return False
    names = (result.task, result.candidates.name)
    if ledger.one_candidates(*names) != result.candidates:
        return False
    sent = submission.kind in SENT_IN
    return not sent or digest_of(read_bytes(ledger.run_file(submission.slug, *names))) == result.run_digest
