"""Evaluation: Submission x Task x Candidates -> Run -> Result."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from exabench.bench.candidates import RerankEvaluator, make_candidates
from exabench.bench.evaluation._recorder import SAME as SAME
from exabench.bench.evaluation._recorder import ResultRecorder as ResultRecorder
from exabench.bench.evaluation._worker import BoardWork, Computed, WorkItem, work_items
from exabench.bench.evaluation._worker import reranker_options as reranker_options
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.measurement import METRICS, measurement, metrics_of
from exabench.bench.submissions import EXTERNAL_RUN_KINDS
from exabench.core.errors import BadInput, CannotWrite, CheckFailed, ExabenchError, MissingExtra, OutsideFailed
from exabench.core.nouns import Measurement, Progress, Qrels, Result, Run, Submission, silent
from exabench.core.parallel import run_items
from exabench.measure.runs import read_run
from exabench.parts.assembly import reranker as reranker_of
from exabench.parts.rerankers import Reranker
from exabench.tasks.catalogue import expand, single_task
from exabench.tasks.collections import judgements_of

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
        evaluator = RerankEvaluator(task, candidates, run, data, None)
        if part is None or getattr(part, "reads", "") == "judgements":
            part = reranker_of(label, qrels=evaluator.qrels, progress=progress, **options)
        result, _ = evaluator.evaluate(part, label, "model", f"exabench.evaluate({label!r}, [{name!r}])")
        results[name] = evaluator.time_latency(result, part)
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
    failures: dict[str, ExabenchError] | None = None,
) -> list[Path]:
    """Compute the results of the filed submissions (all, or `slugs`), one file each; those still true are kept.

    A baseline and a model are run on every candidate list of the board, runs are measured on the list they were filed
    for; what was withdrawn is left as it is. A model that is not `trusted` runs in the sandbox, never in this process.
    Every headline number that comes, changes or goes gets its line in the change log, with `reason` or what follows
    from the results; one that would change for no reason is an error (CheckFailed). `engine` and `workers` as in
    `parallel.run_items`. Returns the result files, new and kept.

    Whatever goes wrong with one submission stops no other. Its error is put into `failures` by its slug; without such
    a dict it is raised when all others are done (see `raise_failures`). A disk that is full stops everything.
    """
    ledger = Ledger(Path(board))
    filed, unreadable = ledger.readable_submissions()
    failed: dict[str, ExabenchError] = {slug: unreadable[slug] for slug in unreadable if slug in (slugs or unreadable)}
    chosen = _choose(ledger, filed, unreadable, slugs)
    items = work_items(_cells(ledger, chosen, task, candidates, failed))
    work = BoardWork(ledger.folder, None if data is None else Path(data), trusted)
    recorder = ResultRecorder(ledger, reason)
    files: dict[int, list[Path]] = {}
    outcomes = run_items(items, work, engine=engine, workers=workers, model_of=lambda item: item.slug)
    for done, (place, outcome) in enumerate(outcomes, 1):
        item = items[place]
        try:
            files[place] = _record(recorder, ledger, item, outcome.get())
        except CannotWrite:
            raise
        except ExabenchError as error:
            failed.setdefault(item.slug, error)
        progress(done, len(items), f"{item.slug} on {item.task}")
    if task is None and candidates is None:
        recorder.record_removed({submission.slug for submission in chosen} - set(failed))
    if failures is not None:
        failures.update(failed)
    elif failed:
        raise_failures(failed)
    return [file for place in sorted(files) for file in files[place]]


def raise_failures(failures: Mapping[str, ExabenchError]) -> NoReturn:
    """One error for all submissions that have no results; that of a single one as it is.

    Its class is theirs where they agree on OutsideFailed, CheckFailed or MissingExtra, else BadInput.
    """
    if len(failures) == 1:
        raise next(iter(failures.values()))
    slugs_of: dict[str, list[str]] = {}
    for slug, error in failures.items():
        slugs_of.setdefault(str(error), []).append(slug)
    listed = "; ".join(f"{', '.join(slugs)}: {message}" for message, slugs in slugs_of.items())
    kinds = {type(error) for error in failures.values()}
    kind = kinds.pop() if len(kinds) == 1 else BadInput
    if kind not in (OutsideFailed, CheckFailed, MissingExtra):
        kind = BadInput
    raise kind(f"{len(failures)} submissions have no new results, all others do: {listed}")


def merge_results(board: str | Path, staged: str | Path, slug: str, *, reason: str = "") -> list[Path]:
    """Take the finished results of `slug`, and their runs, over from another board (`staged`). Returns the files."""
    ledger = Ledger(Path(board))
    other = Ledger(Path(staged))
    recorder = ResultRecorder(ledger, reason)
    files = []
    for result in other.results(slug):
        run = read_run(other.run_file(slug, result.task, result.candidates.name), slug)
        files.append(recorder.record(result, run))
    recorder.record_removed({slug})
    return files


def _choose(
    ledger: Ledger, filed: Mapping[str, Submission], unreadable: Collection[str], slugs: Sequence[str]
) -> list[Submission]:
    """The submissions called `slugs`, or all that were not withdrawn. Raises BadInput."""
    for slug in slugs:
        if slug not in filed and slug not in unreadable:
            names = ", ".join(filed) or "none"
            raise BadInput(f"no submission {slug!r} is filed there; choose from: {names}", file=ledger.folder)
        if slug in filed and filed[slug].withdrawn:
            raise BadInput(f"{slug} was withdrawn ({filed[slug].withdrawn}): its results stay as they are")
    return [submission for slug, submission in filed.items() if slug in (slugs or filed) and not submission.withdrawn]


def _cells(
    ledger: Ledger,
    chosen: Sequence[Submission],
    task: str | None,
    candidates: str | None,
    failed: dict[str, ExabenchError],
) -> Iterator[tuple[str, str, str]]:
    """(submission, task, candidates) of everything to compute; a submission whose runs cannot be listed is failed."""
    lists = [(one.task, one.name) for one in ledger.candidates()]
    for submission in chosen:
        pairs = lists
        if submission.kind in EXTERNAL_RUN_KINDS:
            try:
                pairs = ledger.runs(submission.slug)
            except BadInput as error:
                failed[submission.slug] = error
                continue
        for pair in pairs:
            if task in (None, pair[0]) and candidates in (None, pair[1]):
                yield submission.slug, *pair


def _record(recorder: ResultRecorder, ledger: Ledger, item: WorkItem, computed: Sequence[Computed]) -> list[Path]:
    """Record what a worker computed, list by list; the files."""
    files = []
    for name, one in zip(item.candidates, computed, strict=True):
        if one is None:  # a result from before there was a change log gets its line
            one = (read_result(ledger.result_file(item.slug, item.task, name)), None)
        files.append(recorder.record(*one))
    return files
