"""What a study would do, before it does it: cells and builds, and what each will cost as far as it is known.

No torch is loaded and nothing is written: what would need a model is left unknown, and says which command tells it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exabench.core.errors import BadInput, ExabenchError, plural
from exabench.core.nouns import Progress, silent
from exabench.core.recipe import Recipe
from exabench.core.rows import Table
from exabench.data.building import Sources, plan_build
from exabench.data.releases import MANIFEST, read as read_release
from exabench.studies.page import CellPlan, Study, builds_of, key_of
from exabench.studies.running import cell_folder, is_built, is_done, is_trained
from exabench.training.order import Order
from exabench.training.recipe import Data, Plan

_LIGHT_TEACHERS = ("replay", "")  # what plans with these loads no model, and asks no server


@dataclass(frozen=True)
class PlannedBuild:
    """A build that cells share: its recipe, and the items and prompts that it would have (None: not known, see `why`).

    `rows` are those of the split "train" of a release that is built. Of a build that was not planned, `items` are what
    its recipe asks for. `tokens_to_read` (about) and `tokens_to_write` (at most) are those of prompts that were not
    answered before, as `data build --dry-run` counts them.
    """

    key: str
    recipe: str
    state: str
    rows: int | None = None
    items: int | None = None
    prompts: int | None = None
    answered: int | None = None
    tokens_to_read: int | None = None
    tokens_to_write: int | None = None
    why: str = ""


@dataclass(frozen=True)
class PlannedCell:
    """A cell: what is there of it, how many groups and steps its training has, and hours at the page's rate.

    `groups` of a release that is not built are at most the items of its plan, and `steps` may follow them (`at_most`).
    What is not known is None.
    """

    cell: str
    key: str
    state: str
    builds: tuple[str, ...]
    groups: int | None
    at_most: bool
    steps: int | None
    hours: float | None


@dataclass(frozen=True)
class StudyEstimate:
    """The builds and cells of a study, and the rate that the hours are at, if the page gives one."""

    study: str
    builds: tuple[PlannedBuild, ...]
    cells: tuple[PlannedCell, ...]
    rate: str

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it."""
        return asdict(self)


def estimate_study(
    study: Study,
    to: str | Path,
    *,
    data: str | Path | None = None,
    only: Sequence[str] = (),
    progress: Progress = silent,
) -> StudyEstimate:
    """What `run_study` would do in the folder `to`. Raises UnknownName, BadInput."""
    folder = Path(to)
    chosen = study.chosen(only)
    recipes = builds_of(chosen)
    builds = {}
    for place, (key, recipe) in enumerate(recipes.items()):
        progress(place, len(recipes), "builds planned")
        builds[key] = _planned_build(key, recipe, folder, data)
    rate = study.page.rate
    cells = []
    for cell in chosen:
        groups, at_most = _groups(cell, builds)
        steps = _steps(cell, groups)
        hours = None
        if rate is not None and steps is not None:
            # The rate is of groups, for the groups to a step may be what a study varies.
            hours = steps * cell.plan.steps.groups / rate.groups_per_second / 3600
        keys = tuple(key_of(recipe.fingerprint) for recipe in cell.builds)
        cells.append(PlannedCell(str(cell), cell.key, _state(study, folder, cell), keys, groups, at_most, steps, hours))
    told = ""
    if rate is not None:
        told = f"{rate.groups_per_second:g} groups a second on {rate.device} ({rate.source})"
    return StudyEstimate(study.name, tuple(builds.values()), tuple(cells), told)


def _state(study: Study, folder: Path, cell: CellPlan) -> str:
    """What is there of a cell: nothing, some of its training, its model, or all."""
    place = cell_folder(folder, cell)
    if is_done(place, study.page.tasks):
        return "done"
    if is_trained(place):
        return "trained"
    if (place / "training" / "checkpoints").is_dir():
        return "begun"
    return "new"


def _planned_build(key: str, recipe: Recipe, folder: Path, data: str | Path | None) -> PlannedBuild:
    """A build as far as it is known: by its release, or by a plan that is thrown away."""
    if is_built(folder, key):
        table = read_release(folder / "builds" / key / "release").tables[recipe.values["table"]]
        return PlannedBuild(key, recipe.name, "built", rows=_rows_of(table, "train"))
    asked = _asked_for(recipe.values.get("options", {}))
    values = dict(recipe.values)
    is_light = not _loads_models(values)
    # Planning would load them, which takes minutes for nothing but a count.
    if _loads_models(values.get("options", {})) or (not is_light and _has_queries_written(values)):
        told = f"exabench data build {recipe.name} --dry-run tells it"
        return PlannedBuild(key, recipe.name, "new", items=asked, why=f"its parts are models; {told}")
    if not is_light:  # what a teacher would be asked is known without it, what it was asked before is not
        del values["teacher"]
    with tempfile.TemporaryDirectory() as place:
        try:
            counts = plan_build(
                replace(recipe, values=values),
                Path(place) / "build",
                sources=Sources(None if data is None else Path(data)),
            )
        except ExabenchError as error:  # a collection that is not here is no reason to tell nothing of the others
            return PlannedBuild(key, recipe.name, "new", items=asked, why=str(error))
    return PlannedBuild(
        key,
        recipe.name,
        "new",
        items=counts["items"],
        prompts=counts["prompts"],
        answered=counts["answered before"] if is_light else None,
        tokens_to_read=counts["tokens to read"],
        tokens_to_write=counts["tokens to write"],
    )


def _asked_for(options: Mapping[str, Any]) -> int | None:
    """How many items a data recipe asks for, itself or of its pairs or queries; None where it does not say."""
    # The builder's own count, or that of the part that it draws from; 0 asks for all, however many that is.
    for table in (options, options.get("pairs"), options.get("queries")):
        if isinstance(table, Mapping) and isinstance(table.get("count"), int):
            return int(table["count"]) or None
    return None


def _has_queries_written(value: Any) -> bool:
    """Does a language model write queries for a data recipe? Nothing is known of what comes of them before it has."""
    if isinstance(value, Mapping):
        return value.get("part") == "llm_queries" or any(map(_has_queries_written, value.values()))
    return False


def _loads_models(value: Any, key: str = "") -> bool:
    """Does a part of a data recipe name a model, so that planning would load it?"""
    if isinstance(value, Mapping):
        if key == "teacher" and value.get("part", "") not in _LIGHT_TEACHERS:
            return True
        return "model" in value or any(_loads_models(one, name) for name, one in value.items())
    if isinstance(value, list):
        return any(_loads_models(one) for one in value)
    return key == "teacher" and value not in _LIGHT_TEACHERS


def _rows_of(table: Table, split: str) -> int:
    return sum(file.rows for file in table.splits.get(split, ()))


def _groups(cell: CellPlan, builds: Mapping[str, PlannedBuild]) -> tuple[int | None, bool]:
    """The groups that a cell's training is fitted to, and whether they may turn out fewer. None where not known."""
    if cell.seed is None:
        return 0, False
    # A table is read from the build that makes it, whatever release the recipe names.
    made = {build.values["table"]: builds[key_of(build.fingerprint)] for build in cell.builds}
    total = 0
    at_most = False
    for table in cell.plan.data:
        count: int | None
        build = made.get(table.table)
        if build is not None:
            count = build.rows
            if count is None:
                count = build.items
                at_most = True
        else:
            count = _rows_here(table)
        if count is None:
            return None, False
        if table.only:  # which rows these are is read from the table itself
            at_most = True
        total += min(count, table.limit or count)
    plan = cell.plan
    if plan.dev.every and plan.dev.groups:
        at_most = True  # the last are held out where no split is
    return total, at_most


def _rows_here(table: Data) -> int | None:
    """The rows of a release that is a folder of this machine; None of one on the Hub."""
    place = Path(table.release)
    if not (place / MANIFEST).is_file():
        place /= "release"
    if not (place / MANIFEST).is_file():
        return None
    known = read_release(place).tables
    if table.table not in known:
        raise BadInput(f"has no table {table.table}", file=place)
    return _rows_of(known[table.table], table.split)


def _steps(cell: CellPlan, groups: int | None) -> int | None:
    """The optimiser steps of a cell's training; None where its groups are not known."""
    if cell.seed is None:
        return 0
    plan: Plan = cell.plan
    if plan.steps.steps:
        return plan.steps.steps
    if not groups:
        return None
    # As the training counts them: the last step of an epoch may be smaller, and is one all the same.
    return Order(groups, plan.seed, plan.steps.groups).steps(plan.steps.epochs)


def estimate_lines(found: StudyEstimate) -> list[str]:
    """The lines under the table: each build, and the rate."""
    lines = []
    for build in found.builds:
        what = f"build {build.key} ({build.recipe}): {build.state}"
        if build.rows is not None:
            what += f", {plural(build.rows, 'row')} to train on"
        if build.items is not None:
            what += f", {plural(build.items, 'item')}"
        if build.prompts is not None:
            what += f", {plural(build.prompts, 'prompt')}"
        if build.answered is not None:
            what += f", {build.answered} answered before"
        if build.tokens_to_read:
            what += f"; about {build.tokens_to_read:,} tokens to read and at most {build.tokens_to_write:,} to write"
        if build.why:
            what += f"; its prompts are not known: {build.why}"
        lines.append(what)
    if found.rate:
        lines.append(f"hours at {found.rate}")
    else:
        lines.append("hours are not known: the page gives no measured rate")
    return lines
