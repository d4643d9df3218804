"""The board's verdict on a submission: everything that is wrong with it, before a byte of it is written anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exabench.bench.candidates import RerankEvaluator
from exabench.bench.evaluation import reranker_options
from exabench.bench.ledger import Ledger, run_path
from exabench.bench.submissions import (
    COMMIT,
    EXTERNAL_RUN_KINDS,
    TRAINING_FILES,
    Training,
    read_submission,
    read_training,
    submission_text,
)
from exabench.core.errors import BadInput, ExabenchError, MissingExtra, UnknownName
from exabench.core.files import digest_of, packed
from exabench.core.nouns import Progress, Run, Submission, silent
from exabench.core.options import NOT_OPTIONS
from exabench.hub.client import is_repo
from exabench.measure.runs import completed, read_run, run_digest, run_text
from exabench.parts.assembly import check_part
from exabench.parts.assembly import reranker as reranker_of
from exabench.parts.rerankers import RERANKERS
from exabench.tasks.catalogue import single_task

BASELINES = ("unchanged", "oracle", "reversed", "random", "constant")
_RUN = re.compile(r"(?P<task>[^=@]+)(?:@(?P<candidates>[^=]+))?=(?P<file>.+)", re.DOTALL)


@dataclass(frozen=True)
class CheckedSubmission:
    """A submission in order: with the report of its training, where it has one, and its runs by task and candidates."""

    submission: Submission
    training: Training | None = None
    runs: Mapping[tuple[str, str], Run] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """The bytes of each of its files on a board, by the path there."""
        slug = self.submission.slug
        files = {f"submissions/{slug}.toml": submission_text(self.submission).encode()}
        for (task, candidates), run in self.runs.items():
            files[run_path(slug, task, candidates)] = packed(run_text(run, slug))
        if self.training:
            for name, data in self.training.files.items():
                files[f"models/{slug}/{name}"] = data
        return files

    def digests(self) -> dict[str, str]:
        """The digest of the submission, of each run and of the report, by name."""
        slug = self.submission.slug
        digests = {"submission": digest_of(submission_text(self.submission))}
        for (task, candidates), run in self.runs.items():
            digests[f"run {task} over {candidates}"] = run_digest(run, slug)
        if self.training:
            digests["training.json"] = digest_of(self.training.files["training.json"])
        return digests


def check(
    file: str | Path, runs: Sequence[str], ledger: Ledger, *, public: bool = False, queued: bool = False
) -> CheckedSubmission:
    """A submission and its runs (`TASK=RUN` or `TASK@CANDIDATES=RUN`), held against a board.

    Where no candidates are named, the run must fit exactly one list. `public`: for a board elsewhere, where a model is
    a Hub id at a commit and nothing else. `queued`: taken from a queue, where a model is pinned and an API's runs are
    there. Raises BadInput that lists every problem.
    """
    problems: list[str] = []
    submission: Submission | None = None
    training: Training | None = None
    try:
        submission = _placed(read_submission(file), Path(file).parent)
        training = _training(submission, Path(file).parent)
    except ExabenchError as error:
        problems.append(str(error))
    if submission:
        problems += _part_problems(submission)
        problems += _problems(submission, runs)
        problems += _reproducibility_problems(submission, runs, public, queued)
        problems += _name_problems(submission, ledger)
    checked_runs: dict[tuple[str, str], Run] = {}
    for given in runs:
        try:
            task, candidates, run = _fitting(ledger, given)
            if (task, candidates) in checked_runs:
                raise BadInput(f"two runs are given for {task} over {candidates}; keep one")
            checked_runs[task, candidates] = run
        except ExabenchError as error:
            problems.append(str(error))
    if problems or submission is None:
        raise BadInput("\n".join(problems))
    return CheckedSubmission(submission, training, checked_runs)


def _placed(submission: Submission, folder: Path) -> Submission:
    """The submission with the model "." as a path from where the board is used, one without this machine if it can."""
    if submission.model != "." or submission.kind != "model":
        return submission
    here, there = Path.cwd(), folder.resolve()
    inside = here in there.parents
    model = (there.relative_to(here) if inside else there).as_posix()
    if not model.isprintable():
        raise BadInput("cannot stand on a page: its path holds a sign that does not print; rename it", file=folder)
    return replace(submission, model=model)


def _training(submission: Submission, folder: Path) -> Training | None:
    """The report beside a submission's file, where exabench trained the model."""
    there = submission.kind == "model" and (folder / TRAINING_FILES[0]).exists()
    return read_training(folder) if there else None


def _problems(submission: Submission, runs: Sequence[str]) -> list[str]:
    """A name that is not the sender's to give, and runs that must or must not be there."""
    problems = []
    if submission.withdrawn:
        problems.append("withdrawn is for `exabench bench withdraw` to say; leave it out")
    if submission.kind == "baseline" or submission.slug in {f"exabench--{name}" for name in BASELINES}:
        problems.append(f"{submission.name}: baselines are exabench's own; send a ranking as kind run")
    if submission.kind == "run" and not runs:
        problems.append("a submission of kind run needs at least one --run TASK=RUN")
    if submission.kind == "model" and runs:
        problems.append("a submission of kind model is run by exabench itself: leave --run out")
    return problems


def _part_problems(submission: Submission) -> list[str]:
    """An unknown reranker, or an option that it does not have, lacks, or has with another type."""
    if submission.kind not in ("model", "api"):
        return []
    name = submission.reranker
    if name in BASELINES:
        return [f"reranker {name} needs no model: it is a baseline of every board"]
    if name not in RERANKERS:
        return [str(UnknownName("reranker", name, RERANKERS))]
    for option in sorted(NOT_OPTIONS.intersection(submission.options)):
        return [f"reranker {name} has no option {option!r}: the board's own runner fills it in"]
    try:
        options = reranker_options(submission) if submission.kind == "model" else _api_options(submission)
        check_part(RERANKERS, name, options)
    except MissingExtra:
        return []  # of the machine, not of the submission; whoever runs it hears of it
    except BadInput as error:
        return [str(error)]
    return []


def _reproducibility_problems(submission: Submission, runs: Sequence[str], public: bool, queued: bool) -> list[str]:
    """Only one's own board takes a model that nobody else has, or that may change."""
    problems = []
    if public and submission.kind == "model":
        if not is_repo(submission.model):
            problems.append("model must be a Hub id (owner/name) on a board that others run")
        if not COMMIT.fullmatch(submission.revision):
            problems.append("revision must be the model's commit (40 hex digits) on a board that others run")
    elif queued and submission.kind == "model" and not submission.revision:
        problems.append("revision must pin the model: a commit of the Hub, or the digest of its folder")
    if queued and submission.kind == "api" and not runs:
        problems.append("a submission of kind api comes with its runs: send it with `exabench bench submit`")
    return problems


def _name_problems(submission: Submission, ledger: Ledger) -> list[str]:
    """What is filed on this board under the name, or nearly."""
    filed = ledger.submission_file(submission.slug)
    if filed.is_file():
        withdrawn = ledger.submission(filed).withdrawn
        if withdrawn:
            return [f"{submission.name} was withdrawn ({withdrawn}): it stays listed so; send it under another name"]
    return [
        f"{submission.name} differs from the filed {other} in case only; take another name"
        for other in ledger.twins(submission.slug)
    ]


def _fitting(ledger: Ledger, given: str) -> tuple[str, str, Run]:
    match = _RUN.fullmatch(given)
    if not match:
        raise BadInput(f"--run {given!r} must read TASK=RUN or TASK@CANDIDATES=RUN")
    task = single_task(match["task"]).name
    run = read_run(match["file"])
    lists = ledger.candidates(task)
    if match["candidates"]:
        chosen = ledger.one_candidates(task, match["candidates"])
        completed(run, ledger.candidates_run(chosen))
        return task, chosen.name, run
    fitting = [candidates.name for candidates in lists if _fits(run, ledger.candidates_run(candidates))]
    if not fitting:
        names = ", ".join(candidates.name for candidates in lists) or "none"
        raise BadInput(
            f"ranks passages outside every candidate list of {task} on this board ({names})", file=match["file"]
        )
    if len(fitting) > 1:
        raise BadInput(
            f"fits {' and '.join(fitting)}; say which with --run {task}@{fitting[0]}=RUN", file=match["file"]
        )
    return task, fitting[0], run


def _fits(run: Run, candidates: Run) -> bool:
    try:
        completed(run, candidates)
    except BadInput:
        return False
    return True


# -- runs of an API, made on the sender's machine ----------------------------------------------------------------------


def with_api_runs(
    checked: CheckedSubmission, ledger: Ledger, data: str | Path | None = None, progress: Progress = silent
) -> CheckedSubmission:
    """Of kind api without runs: its reranker called over every candidate list of the board; all others as they are.

    Texts are read from `data` or their public source. Raises BadInput where there is no list, OutsideFailed.
    """
    submission = checked.submission
    if submission.kind not in EXTERNAL_RUN_KINDS or checked.runs:
        return checked
    lists = ledger.candidates()
    if not lists:
        raise BadInput("holds no candidates to rerank", file=ledger.folder)
    reranker = reranker_of(submission.reranker, **_api_options(submission))
    runs = {}
    for done, candidates in enumerate(lists, 1):
        evaluator = RerankEvaluator(
            single_task(candidates.task), candidates, ledger.candidates_run(candidates), data, None
        )
        runs[candidates.task, candidates.name], _ = evaluator.rerank(reranker, submission.slug)
        progress(done, len(lists), f"{submission.slug} on {candidates.task} ({candidates.name})")
    return replace(checked, runs=runs)


def _api_options(submission: Submission) -> dict[str, Any]:
    """The options of the part that calls a submission's endpoint: itself, or by a teacher that speaks chat."""
    options: dict[str, Any] = {**submission.options, "model": submission.model}
    if getattr(RERANKERS[submission.reranker], "asks", "") != "teacher":
        return {**options, "endpoint": submission.endpoint}
    own = options.get("teacher", {})
    if not isinstance(own, Mapping):
        raise BadInput('options.teacher must be a table, as in { api_key_env = "MY_KEY" }')
    return {**options, "teacher": {"part": "openai", **own, "base_url": submission.endpoint}}
