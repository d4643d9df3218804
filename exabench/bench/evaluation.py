"""Evaluation: Submission x Task x Candidates -> Run -> Result."""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from exabench.bench.candidates import RerankEvaluator, read_evaluator
from exabench.bench.ledger import Ledger, last_values, read_result
from exabench.bench.measurement import today
from exabench.bench.sandbox import LIMITS, JailLimits, SandboxedReranker
from exabench.bench.submissions import EXTERNAL_RUN_KINDS, OPTION_KEYS
from exabench.core.api_keys import check_keys
from exabench.core.errors import (
    BadInput,
    CannotWrite,
    CheckFailed,
    ExabenchError,
    MissingExtra,
    OutsideFailed,
    printable,
)
from exabench.core.files import digest_of, read_bytes
from exabench.core.nouns import FIRST_STAGE, RESULT_FORMAT, BoardChange, Progress, Result, Run, Submission, silent
from exabench.core.options import accepts
from exabench.core.parallel import run_items
from exabench.hub.client import local_model, model_folder
from exabench.measure.runs import read_run
from exabench.models.values import TORCH
from exabench.parts.assembly import reranker as reranker_of
from exabench.parts.rerankers import RERANKERS, Reranker
from exabench.parts.reranking import PairProgress
from exabench.tasks.locks import locked_judgements

SAME = 1e-9  # two numbers that are no further apart are the same: sums in another order differ in the last bits
_EVALUATORS = 64  # candidate lists with their judgements and texts that a worker holds


class Work(NamedTuple):
    """What a result took: the pairs that were reranked for it (0: none), the seconds, and whether it is new or changed.

    Loading a model and timing its latency are not in the seconds.
    """

    pairs: int
    seconds: float
    is_new: bool


class Computed(NamedTuple):
    """A new result, with the run that exabench made for it; without a result the filed one still holds."""

    work: Work
    result: Result | None = None
    run: Run | None = None


# -- results ---------------------------------------------------------------------------------------------------


def run_board(
    board: str | Path,
    *,
    slugs: Sequence[str] = (),
    task: str | None = None,
    candidates: str | None = None,
    lists: Mapping[str, Collection[tuple[str, str]]] | None = None,
    data: str | Path | None = None,
    trusted: bool = True,
    limits: JailLimits = LIMITS,
    again: bool = False,
    reason: str = "",
    engine: str = "local",
    workers: int = 0,
    progress: Progress = silent,
    failures: dict[str, ExabenchError] | None = None,
    work: dict[Path, Work] | None = None,
    with_first_stage: bool = False,
) -> list[Path]:
    """Compute the results of the filed submissions (all, or `slugs`), one file each; those still true are kept.

    A baseline and a model are run on every candidate list of the board (one whose slug is in `lists` on those only,
    each a task and a name), runs are measured on the list they were filed for; what was withdrawn is left as it is. A
    model that is not `trusted` runs in the sandbox, under `limits`, and never in this process.
    A model does not run for a result that its stored run still gives, unless `again` asks for it: one of today's
    format, of the same model, options and candidate list.
    Every headline number that comes, changes or goes gets its line in the change log, with `reason` or what follows
    from the results; one that would change for no reason is an error (CheckFailed). `engine` and `workers` as in
    `parallel.run_items`. Returns the result files, new and kept; `work` gets what each of them took.
    `with_first_stage`: where the candidates' own order, as a submission, has no result over a list, it gets one, too.

    Whatever goes wrong with one submission stops no other. Its error is put into `failures` by its slug; without such
    a dict it is raised when all others are done (see `raise_failures`). A disk that is full stops everything.
    """
    ledger = Ledger(Path(board))
    ledger.check_exists()
    filed, unreadable = ledger.readable_submissions()
    slugs = [slug.replace("/", "--") for slug in slugs]
    for slug in slugs:
        if slug not in filed and slug not in unreadable:
            names = ", ".join(filed) or "none"
            raise BadInput(f"the board has no submission {printable(slug)!r}; choose from: {names}", file=ledger.folder)
        if slug in filed and filed[slug].withdrawn:
            raise BadInput(f"{slug} was withdrawn ({filed[slug].withdrawn}): its results stay as they are")
    wanted = set(slugs) or {*filed, *unreadable}
    failed: dict[str, ExabenchError] = {slug: error for slug, error in unreadable.items() if slug in wanted}
    chosen = [one for slug, one in filed.items() if slug in wanted and not one.withdrawn]

    # One item for each submission and task, in the order of submissions and lists.
    board_lists = [(one.task, one.name) for one in ledger.candidates()]
    names_of: dict[tuple[str, str], list[str]] = {}
    for submission in chosen:
        pairs = board_lists
        if lists is not None and submission.slug in lists:
            pairs = [pair for pair in board_lists if pair in lists[submission.slug]]
        if submission.kind in EXTERNAL_RUN_KINDS:
            try:
                pairs = ledger.runs(submission.slug)
            except BadInput as error:
                failed[submission.slug] = error
                continue
        for of_task, name in pairs:
            if task in (None, of_task) and candidates in (None, name):
                names_of.setdefault((submission.slug, of_task), []).append(name)
    if with_first_stage and FIRST_STAGE in filed and not filed[FIRST_STAGE].withdrawn:
        for (_, of_task), list_names in [*names_of.items()]:
            for name in list_names:
                first_stages = names_of.setdefault((FIRST_STAGE, of_task), [])
                if name not in first_stages and not ledger.result_file(FIRST_STAGE, of_task, name).is_file():
                    first_stages.append(name)
    items = [WorkItem(slug, of_task, tuple(names)) for (slug, of_task), names in names_of.items()]

    # Workers compute, and this process records: one result after the other, with its line in the change log.
    begin = functools.partial(BoardWorker, ledger, data, trusted, limits, again)
    begin_here = functools.partial(BoardWorker, ledger, data, trusted, limits, again, progress)
    recorder = ResultRecorder(ledger, reason)
    files_of = {}
    outcomes = run_items(
        items, begin, engine=engine, workers=workers, model_of=lambda item: item.slug, begin_here=begin_here
    )
    for done, (place, outcome) in enumerate(outcomes, 1):
        item = items[place]
        try:
            files = []
            for name, computed in zip(item.candidates, outcome.get(), strict=True):
                result = computed.result
                if result is None:  # one from before there was a change log gets its line
                    result = read_result(ledger.result_file(item.slug, item.task, name))
                file = recorder.record(result, computed.run)
                files.append(file)
                if work is not None:
                    work[file] = computed.work
            files_of[place] = files
        except CannotWrite:  # the disk is full: no other result could be written either
            raise
        except ExabenchError as error:
            failed.setdefault(item.slug, error)
        progress(done, len(items), f"{item.slug} on {item.task}")
    if task is None and candidates is None:  # else the other lists were not looked at
        recorder.record_removed({submission.slug for submission in chosen} - set(failed))
    if failures is not None:
        failures.update(failed)
    elif failed:
        raise_failures(failed)
    found = []
    for place in sorted(files_of):  # workers finish in any order
        found += files_of[place]
    return found


def raise_failures(failures: Mapping[str, ExabenchError]) -> NoReturn:
    """One error for all submissions that have no results; that of a single one as it is.

    Its class is theirs where they agree on OutsideFailed, CheckFailed or MissingExtra, else BadInput.
    """
    if len(failures) == 1:
        raise next(iter(failures.values()))
    listed = list_by_message([(slug, str(error)) for slug, error in failures.items()])
    kind: type[ExabenchError] = BadInput
    for shared in (OutsideFailed, CheckFailed, MissingExtra):
        if {type(error) for error in failures.values()} == {shared}:
            kind = shared
    raise kind(f"{len(failures)} submissions have no new results, all others do: {listed}")


def list_by_message(messages: Sequence[tuple[str, str]]) -> str:
    """Slugs with their messages on one line, those of the same message together: "a, b: message; c: message"."""
    slugs_of: dict[str, list[str]] = {}
    for slug, message in messages:
        slugs_of.setdefault(message, []).append(slug)
    return "; ".join(f"{', '.join(slugs)}: {message}" for message, slugs in slugs_of.items())


def merge_results(ledger: Ledger, staged: Ledger, slug: str, reason: str) -> None:
    """Take the finished results of `slug`, and their runs, over from another board (`staged`)."""
    recorder = ResultRecorder(ledger, reason)
    for result in staged.results(slug):
        run = read_run(staged.run_file(slug, result.task, result.candidates.name), slug)
        recorder.record(result, run)
    recorder.record_removed({slug})


# -- a worker ----------------------------------------------------------------------------------------------------


class WorkItem(NamedTuple):
    """One submission on all candidate lists of one task, in their order.

    They share the task's texts and judgements, which one worker reads once for all of them.
    """

    slug: str
    task: str
    candidates: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.slug} on {self.task} ({', '.join(self.candidates)})"


class BoardWorker:
    """One worker: the model of its last submission stays loaded, and so do the lists that it read.

    A model that is not `trusted` runs in the sandbox, under `limits`. Without `again` none runs for a result
    that its stored run still gives. `progress` is called with pairs.
    """

    def __init__(
        self,
        ledger: Ledger,
        data: str | Path | None,
        trusted: bool,
        limits: JailLimits = LIMITS,
        again: bool = False,
        progress: Progress = silent,
    ) -> None:
        self._pairs = PairProgress(progress)
        self._ledger = ledger
        self._data = data
        self._trusted = trusted
        self._limits = limits
        self._again = again
        self._evaluator = functools.lru_cache(maxsize=_EVALUATORS)(read_evaluator)
        # Kept, because all files of a model are read for it.
        self._revision_here = functools.lru_cache(maxsize=1)(functools.partial(_revision_here, lock=ledger.lock))
        self._submission: Submission | None = None  # the one of `_reranker`
        self._reranker: Any = None

    def __call__(self, item: WorkItem) -> list[Computed]:
        """Compute an item on each of its lists."""
        submission = self._ledger.submission(self._ledger.submission_file(item.slug))
        computed = []
        for name in item.candidates:
            evaluator = self._evaluator(self._ledger, item.task, name, self._data)
            computed.append(self._compute(submission, evaluator))
        return computed

    def _compute(self, submission: Submission, evaluator: RerankEvaluator) -> Computed:
        names = (submission.slug, evaluator.task.name, evaluator.candidates.name)
        file = self._ledger.result_file(*names)
        run_file = self._ledger.run_file(*names)
        started = time.monotonic()
        if submission.kind in EXTERNAL_RUN_KINDS:
            result = evaluator.result(submission.slug, "run", self._ledger.run(*names))
            # What was odd while an endpoint was called cannot be told from its run.
            said = [f"when the run was made: {note}" for note in submission.notes.get(f"{names[1]}.{names[2]}", ())]
            measured = result.measurement
            result = replace(result, measurement=replace(measured, notes=(*measured.notes, *said)))
            work = Work(0, time.monotonic() - started, not _is_current(file, result))
            if not work.is_new:
                return Computed(work)
            return Computed(work, result)
        if submission.kind == "baseline":
            reranker = reranker_of(submission.reranker, qrels=evaluator.qrels)
            command = evaluator.command(submission.slug)  # it runs anywhere without --trusted
        elif not self._again and self._is_done(file, run_file, submission, evaluator):
            result = replace(read_result(file), candidates=evaluator.candidates)
            work = Work(0, time.monotonic() - started, not _is_current(file, result))
            if not work.is_new:
                return Computed(work)
            return Computed(work, result)
        else:
            reranker = self._load(submission)
            command = evaluator.command(submission.slug, trusted=self._trusted)
        started = time.monotonic()  # again: loading a model is not part of reranking
        weight = submission.interpolate
        result, run = evaluator.evaluate(reranker, submission.slug, submission.kind, command, self._pairs, weight)
        # A result without its run could not be verified.
        is_new = not run_file.is_file() or not _is_current(file, result)
        work = Work(len(run.passage_ids), time.monotonic() - started, is_new)
        if not is_new:
            return Computed(work)
        return Computed(work, evaluator.time_latency(result, reranker), run)

    def _is_done(self, file: Path, run_file: Path, submission: Submission, evaluator: RerankEvaluator) -> bool:
        """Is the filed result one of today's format, of this very model and list, and what its stored run gives?

        The list may be credited otherwise by now: that changes no number.
        """
        filed = _read_filed(file)
        if filed is None or filed.format != RESULT_FORMAT or filed.model is None or not run_file.is_file():
            return False
        if filed.model.get("interpolate") != submission.interpolate:
            return False
        asked = {**reranker_options(submission), "reranker": submission.reranker}
        if any(filed.model.get(key, value) != value for key, value in asked.items()):
            return False
        if digest_of(read_bytes(run_file)) != filed.run_digest:
            return False
        if not submission.revision and self._revision_here(submission.model) not in ("", filed.model.get("revision")):
            return False
        if replace(filed.candidates, credit=evaluator.candidates.credit) != evaluator.candidates:
            return False
        again = evaluator.result(submission.slug, submission.kind, read_run(run_file, submission.slug), filed.command)
        return again.measurement.per_query == filed.measurement.per_query and again.qrels_digest == filed.qrels_digest

    def _load(self, submission: Submission) -> Reranker:
        """The submission's reranker; the one before it is let go first, so that one model is in memory at a time."""
        if self._submission == submission:
            return self._reranker
        if hasattr(self._reranker, "close"):
            self._reranker.close()
        self._submission = None
        self._reranker = None
        options = reranker_options(submission)
        lock = self._ledger.lock
        if self._trusted:
            self._reranker = reranker_of(submission.reranker, lock=lock, progress=self._pairs, **options)
        else:
            model = options.pop("model")
            self._reranker = SandboxedReranker(submission.reranker, model, options, self._limits, lock=lock)
        self._submission = submission
        return self._reranker


def reranker_options(submission: Submission) -> dict[str, Any]:
    """The options of the reranker of a submission of kind model, its model and revision among them.

    `strategy`, `template` and `precision` are descriptions where the part has no such option. Raises BadInput for a key
    that is not its server's own and that the user did not allow, and for another backend than torch: those who verify a
    result have torch, and no number of a board may depend on what else is installed.
    """
    file = f"{submission.slug}.toml"
    check_keys(submission.options, file)
    backend = submission.options.get("backend", TORCH)
    if backend != TORCH:
        wrong = f"a board scores with {TORCH}, not with {printable(str(backend))}"
        raise BadInput(f"{wrong}; remove options.backend", file=file)
    options = {}
    known = accepts(RERANKERS[submission.reranker])
    for name in OPTION_KEYS:
        value = getattr(submission, name)
        if name in known and value:
            options[name] = value
    options.update(submission.options)
    options["model"] = submission.model
    if submission.revision:
        options["revision"] = submission.revision
    return options


def _is_current(file: Path, result: Result) -> bool:
    """Is the filed result the same but for its date and its timing?"""
    filed = _read_filed(file)
    if filed is None:
        return False
    cost = result.cost
    if cost is not None and filed.cost is not None:
        cost = replace(cost, timing=filed.cost.timing)
    return filed == replace(result, created=filed.created, cost=cost)


def _revision_here(model: str, lock: Path) -> str:
    """The digest of a model's files in a folder or package here; "" for one that is gone, or on the Hub."""
    try:
        folder = local_model(model)
    except BadInput:
        return ""
    if folder is None:
        return ""
    return model_folder(model, lock=lock).revision


def _read_filed(file: Path) -> Result | None:
    """The result that is filed there, if no one edited it."""
    if not file.is_file():
        return None
    try:
        return read_result(file)
    except BadInput:  # edited, or of another format: it is made again
        return None


# -- recording ---------------------------------------------------------------------------------------------------


class ResultRecorder:
    """Writes the results of a board, one after the other; its owner locks the board.

    The line of the change log comes before the result: a recorder that is killed between the two writes the result
    the next time, and no second line. `reason` is in all lines instead of what follows from the results.
    """

    def __init__(self, ledger: Ledger, reason: str = "") -> None:
        self._ledger = ledger
        self._reason = reason
        self._last = last_values(ledger.changes())

    def record(self, result: Result, run: Run | None = None) -> Path:
        """File a result, and the run that it was made from where exabench made it.

        Raises CheckFailed for a number that changed although nothing that it is made of did.
        """
        names = (result.submission, result.task, result.candidates.name)
        file = self._ledger.result_file(*names)
        filed = _read_filed(file)
        metric = result.measurement.headline
        before = self._last.get((*names, metric))
        after = result[metric]
        changes = []
        if before is None or abs(before - after) > SAME:
            reason = self._reason or _explain_change(result, filed, before, file)
            if filed is not None and filed.qrels_digest != result.qrels_digest:
                locked = locked_judgements(self._ledger.lock, result.task)
                if locked is not None and locked.reason:
                    reason += f" ({locked.reason})"
            changes.append(BoardChange(today(), *names, metric, before=before, after=after, reason=reason))
        # The run first: whoever is killed after it leaves a run without its result, which the next call files; never a
        # result or a line of the log for a run that is not there.
        if run is not None:
            self._ledger.add_run(*names, run)
        self._log(changes)
        if filed != result:
            self._ledger.add_result(result)
        return file

    def record_removed(self, slugs: Collection[str]) -> None:
        """Log the numbers of these submissions whose results are no longer there."""
        removed = []
        reason = self._reason or "its run or its candidates were removed"
        for key, value in self._last.items():
            slug, task, candidates, _ = key
            if slug in slugs and value is not None and not self._ledger.result_file(slug, task, candidates).is_file():
                removed.append(BoardChange(today(), *key, before=value, after=None, reason=reason))
        self._log(removed)

    def _log(self, changes: list[BoardChange]) -> None:
        self._ledger.add_changes(changes)
        self._last.update(last_values(changes))


def _explain_change(result: Result, filed: Result | None, before: float | None, file: Path) -> str:
    """The reason for a changed number: what the `filed` result and the new one were made of, where that differs."""
    if before is None and filed == result:
        return "older than the change log"
    if before is None:
        return "first result"
    if filed is None:
        return "made again; the result before it is not there to compare"
    differences = []
    old_parts = _parts(filed)
    for name, new in _parts(result).items():
        old = old_parts.get(name, "")
        if old != new:
            differences.append(f"{name} {_short(old)} became {_short(new)}")
    if not differences:
        metric = result.measurement.headline
        raise CheckFailed(
            f"{file}: {metric} would change from {before:.6f} to {result[metric]:.6f} though run, candidates, "
            "judgements, convention, model and versions are the same; give the reason with --reason"
        )
    return "; ".join(differences)


def _parts(result: Result) -> dict[str, str]:
    """Everything that a result was made of, by name."""
    return {
        "run": result.run_digest,
        "candidates": result.candidates.digest,
        "judgements": result.qrels_digest,
        "convention": result.measurement.convention.digest,
        "model revision": str(result.model.get("revision", "")),
        "strategy": str(result.model.get("strategy", "")),
        "precision": str(result.model.get("precision", "")),
        "interpolation": str(result.model.get("interpolate", "")),
        "headline metric": result.measurement.headline,
        **result.versions,
    }


def _short(text: str) -> str:
    if text.startswith("sha256:"):
        return text[:19]  # with the twelve digits that messages show of a digest
    return text[:40] or "none"
