"""The board's verdict on a submission: everything that is wrong with it, before a byte of it is written anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from exabench.catalogue import single_task
from exabench.errors import BadInput, ExabenchError, UnknownName
from exabench.files import digest_of, packed
from exabench.hub import is_repo
from exabench.ledger import Ledger
from exabench.nouns import Progress, Run, Submission, silent
from exabench.rerankers import RERANKERS, Reranker
from exabench.reranking import Reranking
from exabench.runs import completed, read_run, run_digest, run_text
from exabench.submissions import (
    COMMIT,
    SENT_IN,
    TRAINING_FILES,
    Training,
    digest,
    read_submission,
    read_training,
    submission_text,
)
from exabench.systems import reranker as reranker_of

BASELINES = ("unchanged", "oracle", "reversed", "random", "constant")
_RUN = re.compile(r"(?P<task>[^=@]+)(?:@(?P<candidates>[^=]+))?=(?P<file>.+)", re.DOTALL)


@dataclass(frozen=True)
class Checked:
    """A submission in order: with the report of its training, where it has one, and its runs by task and candidates."""

    submission: Submission
    training: Training | None = None
    runs: Mapping[tuple[str, str], Run] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """What it is on a board: the bytes of each file, by its path there."""
        slug = self.submission.slug
        found = {f"submissions/{slug}.toml": submission_text(self.submission, sealed=True).encode()}
        for (task, candidates), run in self.runs.items():
            found[f"runs/{slug}/{task}.{candidates}.trec.gz"] = packed(run_text(run, slug))
        if self.training:
            found |= {f"models/{slug}/{name}": data for name, data in self.training.files.items()}
        return found

    def digests(self) -> dict[str, str]:
        """What it is made of, by name: the submission, each run, the report."""
        slug = self.submission.slug
        runs = {f"run {task} over {name}": run_digest(run, slug) for (task, name), run in self.runs.items()}
        report = {"training.json": digest_of(self.training.files[TRAINING_FILES[0]])} if self.training else {}
        return {"submission": digest(self.submission)} | runs | report


def check(
    file: str | Path, runs: Sequence[str], ledger: Ledger, *, public: bool = False, queued: bool = False
) -> Checked:
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
        problems += _problems(submission, runs) + _strangers_problems(submission, runs, public, queued)
        problems += _filed_problems(submission, ledger)
    found: dict[tuple[str, str], Run] = {}
    for given in runs:
        try:
            task, candidates, run = _fitting(ledger, given)
            if (task, candidates) in found:
                raise BadInput(f"two runs are given for {task} over {candidates}; keep one")
            found[task, candidates] = run
        except ExabenchError as error:
            problems.append(str(error))
    if problems or submission is None:
        raise BadInput("\n".join(problems))
    return Checked(submission, training, found)


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
    """What its grammar cannot tell: parts that are not there, runs that belong or do not."""
    problems = []
    if submission.withdrawn:
        problems.append("withdrawn is for `exabench bench withdraw` to say; leave it out")
    if submission.kind == "baseline" or submission.slug in {f"exabench--{name}" for name in BASELINES}:
        problems.append(f"{submission.name}: baselines are exabench's own; send a ranking as kind run")
    if submission.kind == "run" and not runs:
        problems.append("a submission of kind run needs at least one --run TASK=RUN")
    if submission.kind == "model" and runs:
        problems.append("a submission of kind model is run by exabench itself: leave --run out")
    if submission.kind in ("model", "api"):
        if submission.reranker in BASELINES:
            problems.append(f"reranker {submission.reranker} needs no model: it is a baseline of every board")
        elif submission.reranker not in RERANKERS:
            problems.append(str(UnknownName("reranker", submission.reranker, RERANKERS)))
    return problems


def _strangers_problems(submission: Submission, runs: Sequence[str], public: bool, queued: bool) -> list[str]:
    """What one may do on a board of one's own alone: a model that nobody else has, or that may change."""
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


def _filed_problems(submission: Submission, ledger: Ledger) -> list[str]:
    """What stands against its name on this board."""
    filed = ledger.folder / "submissions" / f"{submission.slug}.toml"
    if filed.is_file() and (reason := ledger.submission(filed).withdrawn):
        return [f"{submission.name} was withdrawn ({reason}): it stays listed so; send it under another name"]
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


def with_runs(checked: Checked, ledger: Ledger, data: str | Path | None = None, progress: Progress = silent) -> Checked:
    """Of kind api without runs: its reranker called over every candidate list of the board; all others as they are.

    Texts are read from `data` or their public source. Raises BadInput where there is no list, OutsideFailed.
    """
    submission = checked.submission
    if submission.kind not in SENT_IN or checked.runs:
        return checked
    lists = ledger.candidates()
    if not lists:
        raise BadInput("holds no candidates to rerank", file=ledger.folder)
    reranker, runs = _calling(submission), {}
    for done, candidates in enumerate(lists, 1):
        stage = Reranking(single_task(candidates.task), candidates, ledger.candidates_run(candidates), data, None)
        runs[candidates.task, candidates.name], _ = stage.ranked(reranker, submission.slug)
        progress(done, len(lists), f"{submission.slug} on {candidates.task} ({candidates.name})")
    return replace(checked, runs=runs)


def _calling(submission: Submission) -> Reranker:
    """The part that calls a submission's endpoint: by itself, or by a teacher that speaks chat completions."""
    options = dict(submission.options)
    if getattr(RERANKERS[submission.reranker], "asks", "") == "teacher":
        own = options.pop("teacher", {})
        if not isinstance(own, Mapping):
            raise BadInput('options.teacher must be a table, as in { api_key_env = "MY_KEY" }')
        options["teacher"] = {"part": "openai", **own, "base_url": submission.endpoint}
    else:
        options["endpoint"] = submission.endpoint
    return reranker_of(submission.reranker, **{**options, "model": submission.model})
