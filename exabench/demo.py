"""The demo: a board recipe carried through the whole thread, from first stages to pages."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs

from exabench.bench.candidates import freeze_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.submissions import TRAINING_FILES, read_submission, read_training, submission_text
from exabench.bench.submitting import BASELINES, add_baselines, submit
from exabench.bench.verification import Cell, verify
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.core.errors import BadInput
from exabench.core.files import only_writer, replacing_folder, toml_lines, write
from exabench.core.nouns import Progress, Submission, silent
from exabench.core.options import accepts
from exabench.core.parallel import run_items
from exabench.core.recipe import Recipe, read_recipe
from exabench.data.auditing import Audit, audit
from exabench.data.building import Sources, build, data_recipe
from exabench.data.publishing import publish
from exabench.data.releases import MANIFEST, read as read_release
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.catalogue import expand
from exabench.training import Plan, train, train_recipe

KEYS: Mapping[str, type] = {
    "title": str,
    "tasks": list,
    "collections": dict,
    "board": dict,
    "baselines": list,
    "texts": bool,
    "checked": bool,
    "datasets": list,
    "views": dict,
    "first_stages": dict,
    "published": dict,
    "models": dict,
    "trained": list,
    "trained_from": dict,
}
OWNER = "exabench"  # of what the demo trains

Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class TrainedModel:
    """A model that the demo trained: its recipe, its folder, and its training as training.json tells it."""

    recipe: str
    folder: Path
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Demo:
    """A finished demo: its recipe, its board, the board's first page and its result files.

    `cells` are the board's numbers, recomputed from their stored runs. `audits` are by the name of the dataset's
    recipe; the work folders of datasets and models are in `builds`.
    """

    recipe: Recipe
    board: Board
    page: Path
    results: Sequence[Path]
    cells: Sequence[Cell]
    audits: Mapping[str, Audit]
    trained: Sequence[TrainedModel]
    builds: Path

    @property
    def wrong(self) -> list[Cell]:
        """The numbers that do not hold."""
        return [cell for cell in self.cells if not cell.holds]


@dataclass(frozen=True)
class _DemoRun:
    """A demo on its way: the recipe and the board, and the collections if there are any."""

    recipe: Recipe
    ledger: Ledger
    data: Path | None
    workers: int
    progress: Progress
    note: Note

    @property
    def builds(self) -> Path:
        """Datasets and models are made next to the board, which holds only what belongs to it."""
        board = self.ledger.folder
        return board.with_name(f"{board.name}-builds")

    def report(self, stage: str) -> Progress:
        """The progress of one stage."""
        return lambda done, total, what: self.progress(done, total, f"{stage}: {what}")


def run_demo(
    to: str | Path = "exabench-demo",
    recipe: str | Path = "mini",
    *,
    overrides: Iterable[str] = (),
    data: str | Path | None = None,
    workers: int = 0,
    progress: Progress = silent,
    note: Note = lambda line: None,
) -> Demo:
    """Carry a board recipe through the whole thread, into the leaderboard `to`.

    The stages: first stages and their fusion, baselines, published runs, models, datasets, trained models, results,
    verification, pages. `workers` (0: one for each GPU) encode the passages of a first stage, train one model each, and
    compute results at the same time; their number changes no bit of what is made. Run again, it continues, and keeps
    what still holds. `note` gets what begins to take long, and what was left out. Numbers that do not hold raise
    nothing: look at `wrong`. Raises UnknownName for a recipe or a key that is not known, BadInput, CannotWrite,
    OutsideFailed.
    """
    page = read_recipe("board", recipe, KEYS, overrides)
    values = page.values
    tasks = values["tasks"]
    board = Path(to).resolve()  # trained models are made and run from another folder
    collections = None if data is None else Path(data).resolve()
    for name in values.get("datasets", []):
        if collections is None and "run" in data_recipe(name).values["options"]:
            raise BadInput(f"recipe {page.name} reads published runs; give the folder that has them with --data DIR")
    ledger = Ledger(board)
    job = _DemoRun(page, ledger, collections, workers, progress, note)
    with only_writer(board):
        ledger.create(values["title"], tasks, values.get("views"), data=collections, **values.get("board", {}))
        # A folder of `data` does not say its title or where others find it: the recipe does, before a list is frozen.
        for name, about in values.get("collections", {}).items():
            write(ledger.task_file(name), toml_lines([("name", name), *about.items()]))
        for file in Path("leaderboard/reported").glob("*.*"):  # a checkout has tables of printed numbers
            write(board / "reported" / file.name, file.read_bytes())

        report = job.report("candidates")
        stages = _stages(job)
        for done, stage in enumerate(stages):
            what = f"first stage {stage.name} on {stage.task}"
            report(done, len(stages), what)
            freeze_candidates(
                ledger,
                stage.task,
                stage.retriever,
                stage.depth,
                data=collections,
                name=stage.name,
                options=stage.options,
                credit=stage.credit,
                texts=values.get("texts", True),
                progress=report,
            )
            report(done + 1, len(stages), what)

        # All that needs no training.
        add_baselines(board, values.get("baselines", BASELINES))
        _submit_published_runs(job)
        # The lists that a model runs on, task and name, by its slug; one that is not here runs on all.
        lists_of: dict[str, list[tuple[str, str]]] = {}
        for name, about in values.get("models", {}).items():
            told = dict(about)  # what belongs to no submission is removed of it
            chosen = told.pop("lists", None)
            where = _single_tasks(job, told.pop("tasks", tasks))
            slug = _submit(job, {"name": name, "kind": "model", **told}, []).slug
            if chosen is not None:
                lists_of[slug] = []
                for one in ledger.candidates():
                    if one.task in where and one.name in chosen:
                        lists_of[slug].append((one.task, one.name))

        # Datasets, each published into the board's folder of datasets.
        audits = {}
        for name in values.get("datasets", []):
            dataset = data_recipe(name)
            work = job.builds / dataset.name
            report = job.report("datasets")
            sources = Sources(collections, job.builds / "replies.sqlite")
            release = build(dataset, work, sources=sources, progress=report)
            publish(work / "release", ledger.datasets / release.name, progress=report)
            audits[dataset.name] = audit(work / "release", data=collections, progress=report)

        # Models trained on them. They run on the lists that their recipe checks: they must not be tested on what they
        # learnt from, and of another list a pool may lack the texts.
        plans = [train_recipe(name) for name in values.get("trained", [])]
        _train_models(job, plans)
        for plan in plans:
            slug = _submit_trained(job, plan).slug
            lists_of[slug] = []
            for check in plan.checks:
                one_list = (check.task, f"{check.candidates}-{check.depth}")
                if ledger.candidates(check.task) and one_list not in lists_of[slug]:
                    lists_of[slug].append(one_list)

        # Results: every other submission runs on every candidate list.
        report = job.report("results")
        with contextlib.chdir(board.parent):  # where models were submitted from: their paths begin here
            files = run_board(board, lists=lists_of, data=collections, workers=workers, progress=report)
        cells = list(verify(board, data=collections))

    read = Board.read(board)
    render(read, board / "site", progress=job.report("pages"))
    trained = []
    for plan in plans:
        model = job.builds / plan.recipe.name / "model"
        trained.append(TrainedModel(plan.recipe.name, model, read_training(model).values))
    return Demo(page, read, board / "site" / "index.html", files, cells, audits, trained, job.builds)


@dataclass(frozen=True)
class _Stage:
    """A candidate list that the recipe asks for."""

    task: str
    name: str
    retriever: str
    depth: int
    options: Mapping[str, Any]
    credit: Mapping[str, Any] | None


def _stages(job: _DemoRun) -> list[_Stage]:
    """The lists of the runs next to each collection, then those of the first stages in the recipe.

    In this order, because a fusion reads lists that are frozen already.
    """
    values = job.recipe.values
    published = values.get("published", {})
    stages = []
    if job.data is not None:
        credits = published.get("first_stages", {})
        for task in _single_tasks(job, values["tasks"]):
            for file in sorted((job.data / task / "runs").glob("*.trec")):
                depth = published.get("depth", 100)
                name = f"{file.stem}-{depth}"
                stages.append(_Stage(task, name, "run_file", depth, {"file": str(file)}, credits.get(file.stem)))
    for name, about in values["first_stages"].items():
        shared = dict(about)  # what is not an option is removed of it
        retriever = shared.pop("retriever")
        depth = shared.pop("depth")
        credit = shared.pop("credit", None)
        if job.workers > 1 and "devices" in accepts(RETRIEVERS[retriever]):
            from exabench.models.devices import devices_of  # loads torch

            if devices_of() == ("cpu",):
                shared["devices"] = ["cpu"] * job.workers  # a thread for each
        for task in _single_tasks(job, shared.pop("tasks", values["tasks"])):
            options = dict(shared)
            if retriever == "fusion":  # a recipe names the lists of this board that it fuses
                options["runs"] = [str(job.ledger.candidates_file(task, run)) for run in shared["runs"]]
            stages.append(_Stage(task, name, retriever, depth, options, credit))
    return stages


def _single_tasks(job: _DemoRun, names: Sequence[str]) -> list[str]:
    """The names of the tasks that names of tasks and suites stand for."""
    return [one.name for one in expand(names, data=job.data)]


def _submit_published_runs(job: _DemoRun) -> None:
    """Submit every published sample of every system, with its runs over all tasks and first stages."""
    published = job.recipe.values.get("published", {})
    if not published or job.data is None:
        return
    runs_of: dict[str, list[str]] = {}  # as `submit` takes them
    for task in _single_tasks(job, job.recipe.values["tasks"]):
        for file in sorted((job.data / task / "rerank_runs").glob("*.trec")):
            first_stage, _, sample = file.stem.partition("+")  # <first stage>+<system>.<number>.trec
            runs_of.setdefault(sample, []).append(f"{task}@{first_stage}-{published['depth']}={file}")

    report = job.report("published runs")
    for done, (sample, runs) in enumerate(sorted(runs_of.items()), 1):
        system, _, number = sample.rpartition(".")
        about = published["systems"].get(system)
        if about is None:
            job.note(f"skipped: the recipe does not describe {sample}")
            continue
        values = {"kind": "run", "licence": "unknown", "contact": about["link"], **about}
        owner = values.pop("owner")
        values |= {"name": f"{owner}/{sample}", "system": f"{owner}/{system}", "sample": int(number)}
        _submit(job, values, runs)
        report(done, len(runs_of), values["name"])


def _submit(job: _DemoRun, values: Mapping[str, Any], runs: Sequence[str]) -> Submission:
    """Submit as everybody does: by a file, so that a recipe is checked as hard."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "submission.toml"
        write(draft, toml_lines(values.items()))
        return submit(draft, runs, job.ledger.folder)[0]


# -- trained models -----------------------------------------------------------------------------------------------


class _Training(NamedTuple):
    """A model to train: its recipe, with releases as the board publishes them, and its work folder."""

    recipe: Recipe
    folder: Path

    def __str__(self) -> str:
        return f"training {self.recipe.name}"


def _train_models(job: _DemoRun, plans: Sequence[Plan]) -> None:
    """Train models on the board's datasets, as many at a time as there are workers.

    A finished model of the same recipe and data is kept; one that `trained_from` names is copied from there. All is
    done from the folder that the board is in: paths that are written down then do not tell where the demo began.
    Raises BadInput for a model in `trained_from` that another recipe made.
    """
    trainings = []
    for plan in plans:
        elsewhere = job.recipe.values.get("trained_from", {}).get(plan.recipe.name)
        model = job.builds / plan.recipe.name / "model"
        if elsewhere is not None:
            _copy_trained(plan, Path(elsewhere).expanduser().resolve(), model)
            continue
        recipe = _recipe_on_board(job, plan)
        with contextlib.chdir(job.ledger.folder.parent):
            if _is_trained(model, recipe, job.ledger):
                continue
        tables = " and ".join(table["release"] for table in recipe.values["data"])
        job.note(f"training {recipe.name} on {tables}")
        trainings.append(_Training(recipe, model.parent))

    report = job.report("training")
    begin = partial(_trainer, job.data)
    begin_here = partial(_trainer, job.data, report)
    with contextlib.chdir(job.ledger.folder.parent):
        outcomes = run_items(trainings, begin, workers=job.workers, begin_here=begin_here)
        for done, (place, outcome) in enumerate(outcomes, 1):
            training = trainings[place]
            report(done, len(trainings), "models trained")
            best, steps = outcome.get()
            submitted = f"it is submitted from {training.folder / 'model'}"
            job.note(f"trained {training.recipe.name}: step {best} of {steps} is kept; {submitted}")


def _trainer(data: Path | None, progress: Progress = silent) -> Callable[[_Training], tuple[int, int]]:
    """A function that trains a model and returns the step that it kept, and how many there were."""

    def run(training: _Training) -> tuple[int, int]:
        trained = train(training.recipe, training.folder, data=data, owner=OWNER, progress=progress)
        return trained.best, trained.steps

    return run


def _copy_trained(plan: Plan, source: Path, model: Path) -> None:
    """Copy a model that the recipe trained elsewhere. Raises BadInput for one that another recipe made."""
    if (source / "model" / "training.json").is_file():  # the work folder of a training
        source /= "model"
    if not _is_same_plan(plan, read_training(source).values["recipe"]):
        raise BadInput(f"was not trained by the recipe {plan.recipe.name}; remove it from trained_from", file=source)
    with only_writer(model.parent), replacing_folder(model) as copy:
        shutil.copytree(source, copy, dirs_exist_ok=True)


def _recipe_on_board(job: _DemoRun, plan: Plan) -> Recipe:
    """The recipe with its releases read where the board publishes them, as paths from the board's parent on."""
    home = job.ledger.folder.parent
    tables = []
    for table in plan.recipe.values["data"]:
        release = job.ledger.datasets / Path(table["release"]).name
        if not release.is_dir():
            release = Path(table["release"]).resolve()
        if release.is_dir():  # else it is a repository on the Hub
            table = {**table, "release": Path(os.path.relpath(release, home)).as_posix()}
        tables.append(table)
    values = {**plan.recipe.values, "data": tables}
    if not job.recipe.values.get("checked", True):
        values["check"] = []
    return Recipe(plan.recipe.name, values, plan.recipe.file)


def _submit_trained(job: _DemoRun, plan: Plan) -> Submission:
    """Submit a trained model as everybody does: by the submission.toml next to it."""
    name = plan.recipe.name
    home = job.ledger.folder.parent
    model = job.builds / name / "model"
    with contextlib.chdir(home), tempfile.TemporaryDirectory() as folder:
        draft = model / "submission.toml"
        submission = read_submission(draft)
        ours = f"{OWNER}/{name}"
        if submission.name != ours:  # whoever trained it, the board's account sends it, with the training's report
            for file in TRAINING_FILES:
                shutil.copyfile(model / file, Path(folder) / file)
            place = model.relative_to(home).as_posix()
            submission = replace(submission, name=ours, model=place)
            draft = Path(folder) / "submission.toml"
            write(draft, submission_text(submission))
        return submit(draft, [], job.ledger.folder)[0]


def _is_trained(model: Path, recipe: Recipe, ledger: Ledger) -> bool:
    """Is a finished model there that this recipe made, from releases whose content has not changed?"""
    if not (model / "submission.toml").is_file():  # it is written last
        return False
    training = read_training(model).values
    plan = train_recipe(recipe)
    if not _is_same_plan(plan, training["recipe"]):
        return False
    if plan.interpolate is not None and not training.get("interpolate"):  # stopped before its weight was fitted
        return False
    for release in training["data"]:
        folder = ledger.datasets / release["name"]
        if (folder / MANIFEST).is_file() and read_release(folder).content != release["content"]:
            return False
    return True


def _is_same_plan(plan: Plan, values: Mapping[str, Any]) -> bool:
    """Does a recipe of these values train the same model? Titles, notes, checks and folders of releases may differ."""
    other = train_recipe(Recipe(plan.recipe.name, values, plan.recipe.file))
    alone = []
    for one in (plan, other):
        tables = [structs.replace(table, release="") for table in one.data]
        alone.append(structs.replace(one, recipe=plan.recipe, data=tables, title="", note="", checks=[]))
    return alone[0] == alone[1]
