"""The board's verdict on a submission: everything that is wrong with it, before a byte of it is written anywhere."""

from __future__ import annotations

import contextlib
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
from exabench.core.files import packed
from exabench.core.nouns import Progress, Run, Submission, silent
from exabench.core.options import NOT_OPTIONS
from exabench.hub.client import is_repo
from exabench.measure.runs import completed, read_run, run_text
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


def check(
    file: str | Path, runs: Sequence[str], ledger: Ledger, *, public: bool = False, queued: bool = False
) -> CheckedSubmission:
    """A submission and its runs (`TASK=RUN` or `TASK@CANDIDATES=RUN`), held against a board.

    Where no candidates are named, the run must fit exactly one list. `public`: for a board elsewhere, where a model is
    a Hub id at a commit and nothing else. `queued`: taken from a queue, where a model is pinned and an API's runs are
    there. Raises BadInput that lists every problem.
    """
    problems = []
    submission: Submission | None = None
    training: Training | None = None
    folder = Path(file).parent
    try:
        submission = _with_model_path(read_submission(file), folder)
        if submission.kind == "model" and (folder / TRAINING_FILES[0]).exists():
            training = read_training(folder)
    except ExabenchError as error:
        problems.append(str(error))
    if submission:
        problems += _problems(submission, bool(runs), ledger, public, queued)
    checked_runs: dict[tuple[str, str], Run] = {}
    for given in runs:
        try:
            task, candidates, run = _read_run(ledger, given)
            if (task, candidates) in checked_runs:
                raise BadInput(f"two runs are given for {task} over {candidates}; keep one")
            checked_runs[task, candidates] = run
        except ExabenchError as error:
            problems.append(str(error))
    if problems or submission is None:
        raise BadInput("\n".join(problems))
    return CheckedSubmission(submission, training, checked_runs)


def _with_model_path(submission: Submission, folder: Path) -> Submission:
    """The submission with the model "." as a path from where the board is used, one without this machine if it can."""
    if submission.model != "." or submission.kind != "model":
        return submission
    path = folder.resolve()
    if Path.cwd() in path.parents:
        path = path.relative_to(Path.cwd())
    model = path.as_posix()
    if not model.isprintable():
        raise BadInput("cannot stand on a page: its path holds a sign that does not print; rename it", file=folder)
    return replace(submission, model=model)


def _problems(submission: Submission, has_runs: bool, ledger: Ledger, public: bool, queued: bool) -> list[str]:
    """Everything that is wrong with a submission on this board, but for its runs."""
    problems = []
    name = submission.name
    slug = submission.slug
    kind = submission.kind
    if kind in ("model", "api"):
        problems += _part_problems(submission)

    if submission.withdrawn:
        problems.append("withdrawn is for `exabench bench withdraw` to say; leave it out")
    if kind == "baseline" or slug in {f"exabench--{baseline}" for baseline in BASELINES}:
        problems.append(f"{name}: baselines are exabench's own; send a ranking as kind run")
    if kind == "run" and not has_runs:
        problems.append("a submission of kind run needs at least one --run TASK=RUN")
    if kind == "model" and has_runs:
        problems.append("a submission of kind model is run by exabench itself: leave --run out")

    # Only the board of its owner takes a model that nobody else has, or that may change.
    if public and kind == "model":
        if not is_repo(submission.model):
            problems.append("model must be a Hub id (owner/name) on a board that others run")
        if not COMMIT.fullmatch(submission.revision):
            problems.append("revision must be the model's commit (40 hex digits) on a board that others run")
    elif queued and kind == "model" and not submission.revision:
        problems.append("revision must pin the model: a commit of the Hub, or the digest of its folder")
    if queued and kind == "api" and not has_runs:
        problems.append("a submission of kind api comes with its runs: send it with `exabench bench submit`")

    file = ledger.submission_file(slug)
    withdrawn = ledger.submission(file).withdrawn if file.is_file() else ""
    if withdrawn:
        problems.append(f"{name} was withdrawn ({withdrawn}): it stays listed so; send it under another name")
    else:
        for other in ledger.twins(slug):
            problems.append(f"{name} differs from the filed {other} in case only; take another name")
    return problems


def _part_problems(submission: Submission) -> list[str]:
    """An unknown reranker, or an option that it does not have, lacks, or has with another type."""
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


def _read_run(ledger: Ledger, given: str) -> tuple[str, str, Run]:
    """`given` (TASK=RUN or TASK@CANDIDATES=RUN) as a task, the name of the list that the run fits, and the run."""
    match = _RUN.fullmatch(given)
    if not match:
        raise BadInput(f"--run {given!r} must read TASK=RUN or TASK@CANDIDATES=RUN")
    file = match["file"]
    task = single_task(match["task"]).name
    run = read_run(file)
    if match["candidates"]:
        chosen = ledger.one_candidates(task, match["candidates"])
        completed(run, ledger.candidates_run(chosen))
        return task, chosen.name, run
    names = []
    fitting = []
    for candidates in ledger.candidates(task):
        names.append(candidates.name)
        ranking = ledger.candidates_run(candidates)
        with contextlib.suppress(BadInput):  # it ranks a passage or answers a query that is not in this list
            completed(run, ranking)
            fitting.append(candidates.name)
    if not fitting:
        there = ", ".join(names) or "none"
        raise BadInput(f"ranks passages outside every candidate list of {task} on this board ({there})", file=file)
    if len(fitting) > 1:
        raise BadInput(f"fits {' and '.join(fitting)}; say which with --run {task}@{fitting[0]}=RUN", file=file)
    return task, fitting[0], run


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
