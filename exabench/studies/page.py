"""The page of a study: what is varied in a training and its data, against what, and what was published; and its cells.

A setting is one choice of every axis; a cell is a setting with one seed, so one training. Whatever a setting changes is
a `key = value` as `--set` takes it, for the training recipe (`train.loss`) or the data recipes
(`data.options.documents`); `train` and `data` themselves name other recipes. A data recipe may be given the models of
settings above (`model = "setting:NAME"`), so that these make the data of another.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, field, structs

from exabench.bench.study_reports import MEAN
from exabench.core.errors import BadInput, UnknownName
from exabench.core.files import digest_of, toml_text
from exabench.core.recipe import Recipe, read_recipe
from exabench.core.records import AtLeastOne, Record, read
from exabench.data.building import data_recipe
from exabench.hub.client import model_folder
from exabench.measure.metric_values import MetricName
from exabench.training import Plan, train_recipe

Name = Annotated[str, Meta(min_length=1, max_length=120)]

MOST_CELLS = 1000
"""Of one study. The largest that is shipped has 22; a slip in an axis should not begin a year of work."""

_KEY = 12  # hexadecimal digits of a fingerprint in the name of a folder: enough to tell thousands apart
_OF_SETTING = "setting:"  # before the name of the setting whose model is meant
_START = ("reranker", "model", "revision", "precision", "options", "interpolate")  # what untrained scores depend on


class Axis(Record, frozen=True):
    """What is varied: the `values` of one `key`, or named `settings`, each with all keys that it changes."""

    name: Name
    key: str = ""
    values: list[Any] = []
    settings: dict[str, dict[str, Any]] = {}


class StudyTask(Record, frozen=True):
    """A list of candidates that every model of a study reranks, and the metric that is compared."""

    task: Name
    candidates: str = "bm25"
    depth: AtLeastOne = 100
    metric: str = "nDCG@10"


class PrintedFigure(Record, frozen=True):
    """A printed figure, on 0 to 1: of which setting and task ("mean of tasks": of all), by which system, its source."""

    setting: Name
    task: Name
    value: Annotated[float, Meta(ge=0, le=1)]
    system: str
    source: str
    metric: str = "nDCG@10"


class Rate(Record, frozen=True):
    """A measured speed of training: groups in a second, on which device, and where that was measured."""

    groups_per_second: Annotated[float, Meta(gt=0)]
    device: Name
    source: Name


class StudyPage(Record, frozen=True):
    """The keys of a study.

    `train` is a training recipe, `data` are the data recipes whose releases it reads; `set` is changed in every
    setting. `untrained` adds the model that the training starts from, under that name. Every setting is compared with
    the `baseline`, and the pairs in `comparisons` with each other. `checks = "machinery"`: the data are too small or
    too artificial for a finding, so that no p-value is given.
    """

    title: Name
    train: Name
    baseline: Name
    seeds: Annotated[list[int], Meta(min_length=1)]
    tasks: Annotated[list[StudyTask], Meta(min_length=1)] = field(name="task")
    question: str = ""
    note: str = ""
    data: list[Name] = []
    set: dict[str, Any] = {}
    untrained: str = ""
    checks: Literal["claim", "machinery"] = "claim"
    comparisons: list[tuple[Name, Name]] = []
    rate: Rate | None = None
    axes: list[Axis] = field(name="axis", default_factory=list)
    published: list[PrintedFigure] = []


@dataclass(frozen=True)
class CellPlan:
    """One training of a study, or its untrained start (`seed` is None).

    `recipe` is that of the training. Its releases that `builds` make are paths from the study's folder on, which tell
    the recipe of each, so that the recipe's fingerprint covers them. `needs` are the cells whose models those builds
    ask, and the cells that these need.
    """

    setting: str
    seed: int | None
    recipe: Recipe
    builds: tuple[Recipe, ...]
    needs: tuple[CellPlan, ...] = ()

    def __str__(self) -> str:
        if self.seed is None:
            return self.setting
        return f"{self.setting}@{self.seed}"

    @property
    def key(self) -> str:
        """The name of its folder: the same for the same training on the same data, whatever the study says else."""
        values = dict(self.recipe.values)
        if str(values.get("revision")).startswith("sha256:"):
            del values["model"]  # a folder is what its digest says, wherever it is
        if self.seed is None:
            start = {}
            for name in _START:
                start[name] = values.get(name)
            return key_of(digest_of({"start": start}))
        return key_of(digest_of(values))

    @property
    def plan(self) -> Plan:
        """The training as its recipe says it."""
        return train_recipe(self.recipe)


@dataclass(frozen=True)
class Study:
    """A study: its name, its page with every key checked, where that was read, and the cells of every setting.

    `figures` are the published ones by setting and task (None: of the mean of all tasks).
    """

    name: str
    page: StudyPage
    file: Path
    cells: tuple[CellPlan, ...]
    figures: Mapping[tuple[str, StudyTask | None], PrintedFigure]

    @property
    def settings(self) -> Mapping[str, Sequence[CellPlan]]:
        """The cells by the name of their setting, in the page's order."""
        found: dict[str, list[CellPlan]] = {}
        for cell in self.cells:
            found.setdefault(cell.setting, []).append(cell)
        return found

    def chosen(self, only: Sequence[str]) -> list[CellPlan]:
        """The cells of these names, or of settings of these names, and what they need; all where none is named.

        Raises UnknownName.
        """
        names = [*self.settings, *map(str, self.cells)]
        for name in only:
            if name not in names:
                raise UnknownName("cell", name, dict.fromkeys(names), file=self.file)
        keys = set()
        for cell in self.cells:
            if not only or cell.setting in only or str(cell) in only:
                keys.add(cell.key)
                keys.update(needed.key for needed in cell.needs)
        return [cell for cell in self.cells if cell.key in keys]


def key_of(fingerprint: str) -> str:
    """A fingerprint as the name of a folder."""
    return fingerprint.removeprefix("sha256:")[:_KEY]


def builds_of(cells: Iterable[CellPlan]) -> dict[str, Recipe]:
    """The data recipes of cells by key: cells that read the same data share its build."""
    found = {}
    for cell in cells:
        for recipe in cell.builds:
            found[key_of(recipe.fingerprint)] = recipe
    return found


def model_of(cell: CellPlan) -> str:
    """Where the model of a cell is trained, from the study's folder on."""
    return f"cells/{cell.key}/training/model"


def release_of(recipe: Recipe) -> str:
    """Where the release of a data recipe is built, from the study's folder on."""
    return f"builds/{key_of(recipe.fingerprint)}/release"


def read_study(name: str | Path | Recipe, overrides: Iterable[str] = ()) -> Study:
    """The study `name` (of recipes/study, or a path), with `key=value` overrides of its page.

    Every recipe that it names is read and checked, with what each setting changes. Raises UnknownName and BadInput, in
    one line with file and key.
    """
    page_recipe = read_recipe("study", name, overrides=overrides)
    file = page_recipe.file
    page = read(StudyPage, page_recipe.values, file=file)
    _check_page(page, file)
    cells: list[CellPlan] = []
    pins: dict[str, str] = {}
    figures: dict[tuple[str, StudyTask | None], PrintedFigure] = {}
    for setting, changes in _settings(page, file).items():
        try:
            cells += _cells_of(page_recipe.name, page, file, setting, changes, cells, pins)
            figures |= _figures_of(page, file, setting, changes)
        except BadInput as error:
            raise _of_setting(setting, error, file) from None
    if page.untrained:
        try:
            cells.append(_untrained(page, file, pins))
        except BadInput as error:
            raise _of_setting(page.untrained, error, file) from None
    for one in page.published:
        if one.task == MEAN:
            figures[one.setting, None] = one
        for task in page.tasks:
            if (task.task, task.metric) == (one.task, one.metric):
                figures[one.setting, task] = one
    study = Study(page_recipe.name, page, file, tuple(cells), figures)
    _check_names(study)
    return study


def _of_setting(setting: str, error: BadInput, file: Path) -> BadInput:
    """What is wrong with a recipe as a setting changes it: the page wrote the change, no option did."""
    return BadInput(f"setting {setting!r}: {str(error).removeprefix('--set: ')}", file=file)


def _check_page(page: StudyPage, file: Path) -> None:
    """Raise BadInput for what is wrong in the page itself."""
    if len(set(page.seeds)) < len(page.seeds):
        raise BadInput("seeds: a seed is there twice", file=file)
    if len(set(page.tasks)) < len(page.tasks):
        raise BadInput("task: a task is there twice", file=file)
    for task in page.tasks:
        try:
            MetricName.parse(task.metric)
        except BadInput as error:
            raise BadInput(f"task {task.task}: {error}", file=file) from None
    for axis in page.axes:
        what = f"axis {axis.name!r}"
        if bool(axis.key) != bool(axis.values) or bool(axis.values) == bool(axis.settings):
            raise BadInput(f"{what} has either a key with values, or settings", file=file)
        for key in (axis.key, *itertools.chain.from_iterable(axis.settings.values())):
            if key:
                _check_key(what, key, file)
    for key in page.set:
        _check_key("set", key, file)
    # Before any cell is made: crossed axes may be millions by a slip.
    count = len(page.seeds)
    for axis in page.axes:
        count *= len(axis.values) + len(axis.settings)
    if count > MOST_CELLS:
        raise BadInput(f"has {count:,} cells; at most {MOST_CELLS:,} make a study", file=file)


def _check_key(what: str, key: str, file: Path) -> None:
    if not re.fullmatch(r"(train|data)(\.[^.=]+)*", key):
        raise BadInput(
            f"{what}: {key!r} is not a key of a recipe; write train or data, or a quoted key of one, as in "
            '"train.steps.rate" or "data.options.documents"',
            file=file,
        )


def _check_names(study: Study) -> None:
    """Raise UnknownName or BadInput for a name of a setting or a task that the study does not have, or has twice."""
    page = study.page
    names = study.settings
    named = [page.baseline, *itertools.chain.from_iterable(page.comparisons)]
    for one in page.published:
        named.append(one.setting)
    for name in named:
        if name not in names:
            raise UnknownName("setting", name, names, file=study.file)
    tasks = {MEAN, *(task.task for task in page.tasks)}
    for one in page.published:
        if one.task not in tasks:
            raise UnknownName("task of the study", one.task, tasks, file=study.file)
        metrics = {task.metric for task in page.tasks if one.task in (task.task, MEAN)}
        if one.metric not in metrics:
            raise UnknownName(f"metric of {one.task}", one.metric, metrics, file=study.file)
    if len(set(map(str, study.cells))) < len(study.cells):
        raise BadInput("two settings have one name; give the axes other names", file=study.file)
    keys: dict[str, CellPlan] = {}
    for cell in study.cells:
        same = keys.setdefault(cell.key, cell)
        if same is not cell:
            raise BadInput(f"settings {same.setting!r} and {cell.setting!r} are the same training", file=study.file)


def _settings(page: StudyPage, file: Path) -> dict[str, dict[str, Any]]:
    """Every choice of all axes by its name, with the keys that it changes."""
    choices = []
    for axis in page.axes:
        of_axis = []
        for value in axis.values:
            of_axis.append((f"{axis.name}={_label(value)}", {axis.key: value}))
        of_axis += axis.settings.items()
        choices.append(of_axis)
    found: dict[str, dict[str, Any]] = {}
    for choice in itertools.product(*choices):
        name = ", ".join(label for label, _ in choice) or "trained"
        changes = dict(page.set)
        for _, changed in choice:
            changes |= changed
        if name in found:
            raise BadInput(f"two settings are named {name!r}; give the axes other names", file=file)
        found[name] = changes
    return found


def _label(value: Any) -> str:
    return value if isinstance(value, str) else toml_text(value)


def _recipes_named(page: StudyPage, changes: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The training recipe of a setting, and its data recipes. Raises BadInput."""
    train = changes.get("train", page.train)
    data = changes.get("data", page.data)
    if not isinstance(train, str):
        raise BadInput('train must name a training recipe; a key of it is written in quotation marks: "train.seed" = 1')
    if not isinstance(data, list) or not all(isinstance(name, str) for name in data):
        raise BadInput('data must list data recipes; a key of theirs is written in quotation marks: "data.seed" = 1')
    return train, data


def _beside(name: str, file: Path) -> str:
    """A recipe as the page in `file` names it: the path of a file begins at the page, if it is there."""
    path, sign, variant = name.partition("#")
    # As the parts of a recipe, so that a folder with both can be moved.
    if path.endswith(".toml") and (file.parent / path).is_file():
        return f"{(file.parent / path).resolve()}{sign}{variant}"
    return name


def _pairs(changes: Mapping[str, Any], of: str) -> list[str]:
    """What a setting changes in the recipes of one kind, as `--set` takes it."""
    pairs = []
    for key, value in changes.items():
        kind, dot, rest = key.partition(".")
        if dot and kind == of:
            pairs.append(f"{rest}={toml_text(value)}")
    return pairs


def _cells_of(
    name: str,
    page: StudyPage,
    file: Path,
    setting: str,
    changes: Mapping[str, Any],
    above: Sequence[CellPlan],
    pins: dict[str, str],
) -> list[CellPlan]:
    """The cells of one setting; `above` are those of the settings before it, `pins` the digests of local models."""
    train, data = _recipes_named(page, changes)
    read_builds = [data_recipe(_beside(one, file), _pairs(changes, "data")) for one in data]
    cells = []
    for seed in page.seeds:
        # A seed learns from the models of its own seed, so that the seeds are whole repetitions.
        models = {cell.setting: cell for cell in above if cell.seed == seed}
        needed: dict[str, CellPlan] = {}
        builds = []
        for build in read_builds:
            builds.append(replace(build, values=_with_models(build.values, models, needed)))
        recipe = train_recipe(_beside(train, file), [*_pairs(changes, "train"), f"seed={seed}"]).recipe
        # The name of a training is one of a model, and has no spaces.
        plain = re.sub(r"[^A-Za-z0-9]+", "-", f"{name} {setting} {seed}").strip("-")
        # Without the recipe's checks: a study measures every model itself, over its own lists.
        values = {**_pinned(recipe.values, pins), "data": _tables(recipe, builds), "check": []}
        needs = tuple(needed.values())
        cells.append(CellPlan(setting, seed, Recipe(plain, values, recipe.file.resolve()), tuple(builds), needs))
    return cells


def _with_models(value: Any, models: Mapping[str, CellPlan], needed: dict[str, CellPlan]) -> Any:
    """A value of a data recipe, with the model's folder for every "setting:NAME"; adds to `needed`. Raises UnknownName.

    The folder's name is the key of its training, so the recipe's fingerprint covers how the model was made.
    """
    if isinstance(value, Mapping):
        return {key: _with_models(one, models, needed) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_models(one, models, needed) for one in value]
    if not isinstance(value, str) or not value.startswith(_OF_SETTING):
        return value
    name = value.removeprefix(_OF_SETTING)
    if name not in models:
        raise UnknownName("setting above it", name, models)
    cell = models[name]
    for one in (*cell.needs, cell):
        needed[one.key] = one
    return model_of(cell)


def _tables(recipe: Recipe, builds: Sequence[Recipe]) -> list[dict[str, Any]]:
    """The tables that a training reads, each where it is built. Raises BadInput for a build that none of them reads."""
    made = {}
    for build in builds:
        made[build.values.get("table")] = release_of(build)
    tables = []
    for table in recipe.values["data"]:
        release = table["release"]
        if table["table"] in made:
            release = made[table["table"]]
        elif Path(release).is_dir():
            release = str(Path(release).resolve())
        tables.append({**table, "release": release})
    read_names = [table["table"] for table in tables]
    for build in builds:
        if build.values.get("table") not in read_names:
            raise BadInput(
                f"data recipe {build.name} makes the table {build.values.get('table')}, but training recipe "
                f'{recipe.name} reads {", ".join(read_names)}; name it in "train.data"'
            )
    return tables


def _pinned(values: Mapping[str, Any], pins: dict[str, str]) -> dict[str, Any]:
    """A training recipe whose model, where it is a folder, is named by its digest, too; `pins` keeps those by path."""
    model = Path(values["model"])
    if not model.is_dir():
        return dict(values)
    place = str(model.resolve())  # trainings run in the study's folder
    if place not in pins:
        pins[place] = model_folder(place, values.get("revision", "")).revision
    return {**values, "model": place, "revision": pins[place]}


def _untrained(page: StudyPage, file: Path, pins: dict[str, str]) -> CellPlan:
    """The model that the page's own training starts from."""
    pairs = _pairs(page.set, "train")
    recipe = train_recipe(_beside(_recipes_named(page, page.set)[0], file), pairs).recipe
    if recipe.values.get("interpolate") == "fit":
        raise BadInput('interpolate = "fit" is done by a training, so remove untrained, or give a number')
    values = _pinned(recipe.values, pins)
    return CellPlan(page.untrained, None, Recipe("untrained", values, recipe.file.resolve()), ())


def _figures_of(
    page: StudyPage, file: Path, setting: str, changes: Mapping[str, Any]
) -> dict[tuple[str, StudyTask | None], PrintedFigure]:
    """The figures that a setting's own training recipe reproduces, where the study changes nothing in it."""
    if _pairs(changes, "train") or _pairs(changes, "data"):
        return {}
    plan = train_recipe(_beside(_recipes_named(page, changes)[0], file))
    found: dict[tuple[str, StudyTask | None], PrintedFigure] = {}
    for check in plan.checks:
        task = StudyTask(task=check.task, candidates=check.candidates, depth=check.depth, metric=check.metric)
        if task in page.tasks and check.value is not None:
            found[setting, task] = PrintedFigure(
                setting=setting, task=check.task, value=check.value, system=check.system, source=check.source
            )
    return found


def task_key(task: StudyTask) -> str:
    """A task of a study as the name of a file."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "-", Path(task.task).name)
    # Paths of one name may be of two tasks: the digest tells them apart.
    return f"{plain}.{key_of(digest_of(structs.asdict(task)))}"
