"""Evaluation: Submission x Task x Candidates -> Run -> Result."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from exabench.catalogue import expand, single_task
from exabench.collections._choose import judgements_of
from exabench.errors import BadInput, CannotWrite, CheckFailed, ExabenchError, MissingExtra, OutsideFailed
from exabench.evaluation._recording import SAME as SAME
from exabench.evaluation._recording import ResultRecorder as ResultRecorder
from exabench.evaluation._working import BoardWork, staging_of, work_items
from exabench.evaluation._working import reranker_options as reranker_options
from exabench.files import digest_of, read_bytes
from exabench.ledger import Ledger, read_result
from exabench.measuring import METRICS, measurement, metrics_of
from exabench.nouns import Measurement, Progress, Qrels, Result, Run, Submission, silent
from exabench.parallel import run_items
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
    failed: dict[str, ExabenchError] = {}
    filed, unreadable = ledger.readable_submissions()
    chosen = _choose(ledger, filed, unreadable, slugs)
    failed.update({slug: error for slug, error in unreadable.items() if slug in (slugs or unreadable)})
    items = work_items(_cells(ledger, chosen, task, candidates, failed))
    recorder = ResultRecorder(ledger, reason)
    staging = staging_of(ledger.folder)
    work = BoardWork(ledger.folder, None if data is None else Path(data), trusted)
    files: dict[int, list[Path]] = {}
    try:
        _record_staged(recorder, ledger, filed, failed)  # results of a run that was killed before it recorded them
        outcomes = run_items(items, work, engine=engine, workers=workers, model_of=lambda item: item.slug)
        for done, (place, outcome) in enumerate(outcomes, 1):
            if isinstance(outcome.error, CannotWrite):
                raise outcome.error
            if outcome.error is not None:
                failed.setdefault(items[place].slug, outcome.error)
            else:
                files[place] = outcome.value
            _record_staged(recorder, ledger, filed, failed)
            progress(done, len(items), f"{items[place].slug} on {items[place].task}")
    finally:
        _record_staged(recorder, ledger, filed, failed)
        shutil.rmtree(staging, ignore_errors=True)
    finished = [file for place in sorted(files) for file in files[place] if items[place].slug not in failed]
    for file in finished:
        recorder.record(read_result(file))  # one from before there was a change log gets its line
    if task is None and candidates is None:
        recorder.record_removed({submission.slug for submission in chosen} - set(failed))
    if failures is not None:
        failures.update(failed)
    elif failed:
        raise_failures(failed)
    return finished


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
        if submission.kind in SENT_IN:
            try:
                pairs = ledger.runs(submission.slug)
            except BadInput as error:
                failed[submission.slug] = error
                continue
        for pair in pairs:
            if task in (None, pair[0]) and candidates in (None, pair[1]):
                yield submission.slug, *pair


def _record_staged(
    recorder: ResultRecorder, ledger: Ledger, filed: Mapping[str, Submission], failed: dict[str, ExabenchError]
) -> None:
    """Record what workers finished, each result with its run; one that contradicts the log fails its submission."""
    staged = Ledger(staging_of(ledger.folder))
    for file in staged.result_files():
        try:
            result = read_result(file)
            if _is_wanted(ledger, result, filed.get(result.submission)):
                run_file = staged.run_file(result.submission, result.task, result.candidates.name)
                recorder.record(result, read_run(run_file, result.submission) if run_file.is_file() else None)
        except CheckFailed as error:
            failed.setdefault(file.parent.name, error)
        except BadInput:
            pass  # made by another version of exabench, or over a list that is gone: it is made again
        file.unlink()


def _is_wanted(ledger: Ledger, result: Result, submission: Submission | None) -> bool:
    """Is a finished result still of what is filed? The run that was killed may be long ago."""
    if submission is None or submission.withdrawn:
        return False
    names = (result.task, result.candidates.name)
    if ledger.one_candidates(*names) != result.candidates:
        return False
    if submission.kind not in SENT_IN:
        return True
    return digest_of(read_bytes(ledger.run_file(submission.slug, *names))) == result.run_digest
