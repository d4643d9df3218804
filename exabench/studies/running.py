"""Running a study: each build once, then each cell: its training, its runs over the lists of all tasks, its results."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, structs

from exabench.bench.submissions import read_training
from exabench.core.files import json_text, only_writer, read_json, write
from exabench.core.nouns import Progress, silent
from exabench.core.parallel import run_items
from exabench.core.records import Record, as_builtins, read
from exabench.data.building import Sources, build
from exabench.data.releases import MANIFEST
from exabench.measure.runs import write_run
from exabench.studies.page import CellPlan, Study, StudyTask, builds_of, task_key
from exabench.tasks.catalogue import from_recipe, single_task
from exabench.tasks.collections import check_data
from exabench.training import train
from exabench.training.recipe import Check

FORMAT = 1
Value = Annotated[float, Meta(ge=0, le=1)]


class CellResult(Record, frozen=True):
    """What a model got on one task of its study: the metric's value of every query, and that of the list's own order.

    `candidates` is the digest of the list that was reranked, which all cells must share.
    """

    task: StudyTask
    name: str
    metric: str
    candidates: str
    run: str
    queries: dict[str, Value]
    first_stage: dict[str, Value]
    format: Literal[1] = 1


def cell_folder(study_folder: str | Path, cell: CellPlan) -> Path:
    """Where a cell of a study is kept."""
    return Path(study_folder) / "cells" / cell.key


def result_file(folder: Path, task: StudyTask) -> Path:
    """Where the result of a cell on a task is kept."""
    return folder / "results" / f"{task_key(task)}.json"


def read_cell_result(folder: Path, task: StudyTask) -> CellResult:
    """The result of a cell on a task. Raises BadInput."""
    file = result_file(folder, task)
    return read(CellResult, read_json(file), file=file, what="does not contain a result:")


def is_done(folder: Path, tasks: Sequence[StudyTask]) -> bool:
    """Is every result of a cell there?"""
    return all(result_file(folder, task).is_file() for task in tasks)


def is_trained(folder: Path) -> bool:
    """Is the model of a cell there? It takes its place whole."""
    return (folder / "training" / "model" / "training.json").is_file()


def is_built(folder: Path, key: str) -> bool:
    """Is the release of a build there? Its manifest is written last."""
    return (folder / "builds" / key / "release" / MANIFEST).is_file()


def run_study(
    study: Study,
    to: str | Path,
    *,
    data: str | Path | None = None,
    only: Sequence[str] = (),
    devices: Sequence[str] = (),
    engine: str = "local",
    workers: int = 0,
    progress: Progress = silent,
) -> list[CellPlan]:
    """Run the cells of a study that are not done yet, in its folder `to`; returns those that were run.

    `only` names settings or cells. Builds and trainings continue as they always do; a finished cell is not looked at
    again. Raises UnknownName, BadInput, CannotWrite, OutsideFailed, and what a build or a training raises.
    """
    chosen = study.chosen(only)
    check_data(data)
    for task in study.page.tasks:  # one that no one knows is told before the first training
        single_task(from_recipe(task.task, study.file), data=data)
    collections = None if data is None else Path(data).resolve()
    folder = Path(to)
    file = study.file.resolve()
    with only_writer(folder):
        # Under the lock, for another call may have finished some.
        todo = [cell for cell in chosen if not is_done(cell_folder(folder, cell), study.page.tasks)]
        if not todo:
            return []
        folder.mkdir(parents=True, exist_ok=True)
        # From inside: recipes name releases by paths that begin there, wherever the folder is. What is written has
        # whole paths, for a message is read outside.
        with contextlib.chdir(folder):
            begin = partial(_worker, study.page.tasks, file, collections, tuple(devices))
            begin_here = partial(begin, progress)
            done = 0
            for cells in _in_turn(todo):
                _build_all(cells, collections, progress)
                outcomes = run_items(cells, begin, engine=engine, workers=workers, begin_here=begin_here)
                for place, outcome in outcomes:
                    outcome.get()
                    done += 1
                    progress(done, len(todo), f"cells of {study.name}; {cells[place]} is done")
    return todo


def _in_turn(cells: Sequence[CellPlan]) -> Iterator[list[CellPlan]]:
    """The cells in groups, so that the models that a cell's data need are those of an earlier group."""
    left = list(cells)
    while left:
        keys = {cell.key for cell in left}
        ready = [cell for cell in left if keys.isdisjoint(needed.key for needed in cell.needs)]
        yield ready
        left = [cell for cell in left if cell not in ready]


def _build_all(cells: Sequence[CellPlan], data: Path | None, progress: Progress) -> None:
    """Build what the cells read and is not there yet."""
    home = Path.cwd()
    untrained = [cell for cell in cells if not is_trained(cell_folder(home, cell))]
    for key, recipe in builds_of(untrained).items():
        if not is_built(home, key):
            build(recipe, home / "builds" / key, sources=Sources(data), progress=progress)


def _worker(
    tasks: Sequence[StudyTask], file: Path, data: Path | None, devices: tuple[str, ...], progress: Progress = silent
) -> Callable[[CellPlan], None]:
    """The function of a worker, which keeps the lists that it made."""
    return _CellRunner(tasks, file, data, devices, progress).run


def _weight(cell: CellPlan, folder: Path) -> float | None:
    """The weight by which a cell's scores are mixed with the first stage's: fitted, given, or None."""
    if cell.seed is None:
        given = cell.plan.interpolate
        assert given != "fit", "read_study refuses it"
        return given
    # The training chose it, or took the recipe's: its report is what the submission of this model says, too.
    told = read_training(folder / "training" / "model").values.get("interpolate")
    if told is None:
        return None
    return float(told["weight"])


class _CellRunner:
    """What runs cells in the study's folder, one after the other over the same lists."""

    def __init__(
        self, tasks: Sequence[StudyTask], file: Path, data: Path | None, devices: tuple[str, ...], progress: Progress
    ) -> None:
        self._tasks = tasks
        self._file = file
        self._data = data
        self._devices = devices
        self._progress = progress
        self._home = Path.cwd()
        self._lock = self._home / "lock.json"
        self._evaluators: dict[Check, Any] = {}

    def run(self, cell: CellPlan) -> None:
        """Train the cell's model, rerank the candidates of every task, and write what it got."""
        folder = cell_folder(self._home, cell)
        model: Any = None
        for task in self._tasks:
            if result_file(folder, task).is_file():
                continue
            if model is None:
                model = self._model(cell, folder)
            # Lists are kept between cells: searching and reading texts takes longer than a small model's scores.
            evaluator = self._evaluator(task)
            run, _ = evaluator.rerank(model, cell.recipe.name, interpolate=_weight(cell, folder))
            measured = evaluator.by(task.metric)
            own = measured.result(cell.recipe.name, "model", run)
            listed = measured.result("first-stage", "model", evaluator.run)
            metric = own.measurement.headline
            run_file = folder / "runs" / f"{task_key(task)}.trec.gz"
            write_run(run, run_file)
            result = CellResult(
                task=task,
                name=evaluator.task.name,
                metric=metric,
                candidates=evaluator.candidates.digest,
                run=own.run_digest,
                queries=dict(own.measurement.per_query[metric]),
                first_stage=dict(listed.measurement.per_query[metric]),
            )
            write(result_file(folder, task), json_text(as_builtins(result)))  # last: it says that all of it is there

    def _model(self, cell: CellPlan, folder: Path) -> Any:
        """The cell's model, trained if it is not yet."""
        # These load torch: a study whose cells are done need not wait for it.
        from exabench.parts.assembly import reranker
        from exabench.training.evaluation import start_model

        plan = cell.plan
        options = dict(plan.options)
        if self._devices:
            options["devices"] = list(self._devices)
        if cell.seed is None:
            return start_model(structs.replace(plan, options=options), self._lock)
        work = folder / "training"
        if not is_trained(folder):
            train(cell.recipe, work, data=self._data, devices=self._devices, progress=self._told(cell))
        # Weights and moments of steps that nothing goes back to any more, three times the size of the model.
        shutil.rmtree(work / "checkpoints", ignore_errors=True)
        return reranker(plan.reranker, model=str(work / "model"), **options)

    def _told(self, cell: CellPlan) -> Progress:
        return lambda done, total, what: self._progress(done, total, f"{what} of {cell}")

    def _evaluator(self, task: StudyTask) -> Any:
        """What ranks the candidates of a task, made once."""
        from exabench.training.evaluation import evaluator_of

        # Tasks that differ in their metric share it.
        check = Check(task=task.task, candidates=task.candidates, depth=task.depth)
        if check not in self._evaluators:
            self._evaluators[check] = evaluator_of(check, self._file, self._data, self._lock)
        return self._evaluators[check]
