"""Submitting: a TOML file, its runs or its training's report -> checked, all problems at once -> filed on a board."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from exabench.catalogue import single_task
from exabench.errors import BadInput, ExabenchError, UnknownName
from exabench.ledger import Ledger
from exabench.nouns import Run, Submission
from exabench.rerankers import RERANKERS
from exabench.runs import completed, read_run
from exabench.submissions import TRAINING_FILES, Training, read_submission, read_training

BASELINES = ("unchanged", "oracle", "reversed", "random", "constant")
_RUN = re.compile(r"(?P<task>[^=@]+)(?:@(?P<candidates>[^=]+))?=(?P<file>.+)", re.DOTALL)


def submit(file: str | Path, runs: list[str], board: str | Path) -> tuple[Submission, list[Path]]:
    """Check a submission and its runs (`TASK=RUN` or `TASK@CANDIDATES=RUN`) and file them under `board`.

    Where no candidates are named, the run must fit exactly one list of the board. The model "." is the folder that
    the file lies in, and of a trained one the report beside it is filed too. Raises BadInput that lists every problem;
    nothing is filed unless everything is in order. Returns the submission and the files.
    """
    ledger = Ledger(Path(board))
    ledger.settings()
    problems: list[str] = []
    submission: Submission | None = None
    training: Training | None = None
    try:
        submission = _placed(read_submission(file), Path(file).parent)
        training = _training(submission, Path(file).parent)
    except ExabenchError as error:
        problems.append(str(error))
    if submission and submission.kind == "baseline":
        problems.append(f"{file}: kind baseline is exabench's own; send the ranking as kind run")
    elif submission and submission.kind == "model":
        problems += _model_problems(submission, runs)
    elif submission and not runs:
        problems.append("a submission of kind run needs at least one --run TASK=RUN")
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
    files = [ledger.add_submission(submission), *ledger.add_training(submission.slug, training)]
    files += [ledger.add_run(submission.slug, *pair, run) for pair, run in found.items()]
    return submission, files


def _placed(submission: Submission, folder: Path) -> Submission:
    """The submission with the model "." as a path from where the board is used, one without this machine if it can."""
    if submission.model != ".":
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


def _model_problems(submission: Submission, runs: list[str]) -> list[str]:
    problems = ["a submission of kind model is run by exabench itself: leave --run out"] if runs else []
    if submission.reranker in BASELINES:
        problems.append(f"reranker {submission.reranker} needs no model: it is a baseline of every board")
    elif submission.reranker not in RERANKERS:
        problems.append(str(UnknownName("reranker", submission.reranker, RERANKERS)))
    return problems


def add_baselines(board: str | Path) -> None:
    """File the rerankers that need no model: the scorer's self-test and the bounds of every task page."""
    ledger = Ledger(Path(board))
    for reranker in BASELINES:
        ledger.add_submission(
            Submission(
                name=f"exabench/{reranker}",
                kind="baseline",
                licence="apache-2.0",
                link="https://github.com/exabench/exabench",
                contact="https://github.com/exabench/exabench/issues",
                training_data=(),
                reranker=reranker,
            )
        )


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
