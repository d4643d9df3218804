"""Training: release rows -> groups -> the reranker that will score -> strategy -> loss -> model folder.

A run's folder holds recipe.lock.json (its recipe, and the commits that were looked up for it), start/ (where a scoring
head had to be made), checkpoints/, curves.csv, and model/: all that is published.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.core.errors import BadInput, printable
from exabench.core.files import json_text, only_writer, read_json, write
from exabench.core.licences import check_inherited
from exabench.core.nouns import Progress, silent
from exabench.core.options import make
from exabench.core.recipe import Recipe
from exabench.hub.client import check_model, is_repo, settings_of
from exabench.models.costs import hardware
from exabench.parts.assembly import check_options
from exabench.parts.losses import LOSSES
from exabench.parts.recognition import with_family
from exabench.parts.rerankers import RERANKERS
from exabench.tasks.catalogue import from_recipe, single_task
from exabench.tasks.collections import check_data
from exabench.training.groups import GroupLoader, groups_of
from exabench.training.model_folder import portable, write_folder
from exabench.training.order import Order
from exabench.training.recipe import Plan as Plan, train_recipe as train_recipe
from exabench.training.tracking import Tracker, tracker_library

if TYPE_CHECKING:
    from exabench.training.evaluation import CheckResult

LIBRARIES = "accelerate exabench safetensors tokenizers torch transformers".split()


@dataclass(frozen=True)
class Trained:
    """A finished run: its model folder, the optimiser steps done and the best one, dev values by step, checks.

    The best step is 0 where none did better on dev than the model that the run began with, which is then kept.
    `skipped` names checkpoints that were not whole when the run was resumed. Of several processes, only that of `rank`
    0 has the checks. `interpolate` is the weight of the model where its scores are mixed with the first stage's.
    """

    folder: Path
    steps: int
    best: int
    dev: Mapping[int, float]
    checks: Sequence[CheckResult]
    skipped: tuple[str, ...]
    rank: int
    interpolate: float | None = None


def train(
    recipe: Recipe | str | Path,
    to: str | Path,
    *,
    overrides: Iterable[str] = (),
    data: str | Path | None = None,
    devices: Sequence[str] = (),
    owner: str = "local",
    track: str = "",
    progress: Progress = silent,
) -> Trained:
    """Fit the reranker that `recipe` describes in the work folder `to`; `to`/model is the result.

    `data` holds the test collections that dev and checks read; `devices` is the one to fit on (default: a GPU where
    there is one), `owner` the account that the submission names. `track` sends every step to "trackio" or "wandb" as
    well. Started by torchrun, every process fits its share of each step. Run again after any stop it continues from its
    newest whole checkpoint. Raises BadInput where the folder holds another run, MissingExtra, CannotWrite,
    OutsideFailed.
    """
    plan = train_recipe(recipe, overrides)
    _check_sources(plan)
    if track:
        tracker_library(track)
    check_data(data)
    tasks = [check.task for check in plan.checks]
    if plan.dev.task:
        tasks.append(plan.dev.task)
    for task in tasks:  # one that no one knows is told before the training, not after it
        single_task(from_recipe(task, plan.recipe.file), data=data)
    # These load torch: a recipe that is refused need not wait for it.
    from exabench.training.distributed import Ranks
    from exabench.training.evaluation import (
        dev_lists,
        fit_interpolation,
        fixed_interpolation,
        make_evaluation,
        run_checks,
        without_tested,
    )
    from exabench.training.gradients import Gradient
    from exabench.training.loop import Fit
    from exabench.training.start_model import LOCK, load_start

    folder = Path(to)
    ranks = Ranks()
    if devices and ranks.count > 1:
        raise BadInput("several processes use one device each; remove the device")
    own_devices = tuple(devices) or (ranks.device,)
    if plan.precision == "float16" and own_devices[0].startswith("cpu"):
        raise BadInput('a CPU does not train in float16; write precision = "float32"', file=plan.recipe.file)
    for key, asked in {"negatives.every": plan.negatives.every, "steps.clip_each": plan.steps.clip_each}.items():
        if asked and ranks.count > 1:
            raise BadInput(f"{key} is for one process; remove it, or start without torchrun", file=plan.recipe.file)
    collections = Path(data) if data else None
    with ranks.together(), only_writer(folder) if ranks.first else nullcontext():
        loss = _loss(plan)
        # The first rank looks commits up, downloads and makes start/; the others then find all of it there.
        with ranks.first_rank_first():
            lock = folder / LOCK
            locked = {}
            if lock.is_file():
                locked = read_json(lock)
            fingerprint = plan.recipe.fingerprint
            if locked and locked.get("fingerprint") != fingerprint:
                if (folder / "checkpoints").is_dir():
                    name = locked.get("name")
                    raise BadInput(
                        f"contains the run of another recipe ({name}) or of other values; give each its own folder",
                        file=folder,
                    )
                shutil.rmtree(folder / "start", ignore_errors=True)  # nothing was fitted yet: the recipe was mended
            if ranks.first:
                source = {"name": plan.recipe.name, "recipe": plan.recipe.values, "fingerprint": fingerprint}
                write(lock, json_text({**locked, **source}))
            groups, held_out, sources = groups_of(plan, loss.needs, lock)
            learner, base = load_start(plan, folder, lock, own_devices)
            check_inherited(plan.licence, {f"the model {base['model']}": base["licence"]}, plan.recipe.file)
            start = settings_of(plan.model, plan.revision, lock)
        if plan.steps.sharded:
            ranks.shard(learner.module)
        order = Order(len(groups), plan.seed, plan.steps.groups)
        loader = GroupLoader(learner, groups, order, written=loss.needs == "targets", loaders=plan.steps.loaders)
        gradient = Gradient(learner, loss, plan.steps, ranks, plan.seed)
        with ranks.first_rank_first():
            dev = make_evaluation(plan, held_out, loader, gradient, collections)
            if plan.interpolate == "fit" and ranks.first:  # before the training, so that no hour is lost for a refusal
                lists = without_tested(
                    plan, dev_lists(plan.dev, groups.query_texts, collections, plan.recipe.file), collections
                )
        versions = {"python": platform.python_version()}
        for name in [*LIBRARIES, *(["peft"] if plan.lora.rank else [])]:
            with suppress(PackageNotFoundError):  # what is not installed has no version
                versions[name] = version(name)
        tracker = None
        if track and ranks.first:
            tracker = Tracker(track, plan.recipe.name, portable(plan.recipe.values))
        fit = Fit(plan, learner, gradient, folder, ranks, tracker).run(loader, dev, progress)
        if tracker is not None:
            failed = tracker.close()
            if failed:
                progress(fit.steps, fit.steps, failed)

        model = folder / "model"
        saves_adapter = plan.lora.rank > 0 and plan.lora.save == "adapter"

        def save(to: Path) -> None:
            if saves_adapter:
                learner.save_adapter(to, fit.weights, base["model"], base["revision"])
            else:
                learner.save(to, fit.weights)

        dev_source = "rows held out"
        if plan.dev.task:
            dev_source = f"split {plan.dev.split} of {plan.dev.task}"
        report = {
            "name": f"{owner}/{plan.recipe.name}",
            "title": plan.title,
            "note": plan.note,
            "licence": plan.licence,
            "kind": "adapter" if saves_adapter else learner.kind,
            "reranker": plan.reranker,
            "options": with_family(plan.reranker, plan.model, plan.options, start),
            "recipe": plan.recipe.values,
            "fingerprint": fingerprint,
            "base": base,
            "data": sources,
            "seed": plan.seed,
            "steps": fit.steps,
            "epochs": fit.steps / order.steps_per_epoch,
            "groups": order.count,
            "order": order.digest(fit.steps),
            "best": fit.best,
            "dev": {
                "metric": dev.metric if dev else "",
                "source": dev_source,
                "values": list(fit.journal.values.items()),
            },
            "hardware": hardware(),
            "versions": versions,
        }

        if plan.negatives.every:
            mined = plan.negatives
            times = (fit.steps - 1) // mined.every  # not after the last step
            report["negatives"] = {"every": mined.every, "depth": mined.depth, "times": times}

        write_model = partial(
            write_folder,
            model,
            save=save,
            curves=folder / "curves.csv",
        )
        if ranks.first:
            write_model({**report, "checks": []})  # checks take long, and a kill among them must not cost the model
        ranks.wait_for_all()  # for the model alone: the first rank runs the checks without the others
        checks = []
        interpolation = None
        if ranks.first and plan.interpolate is not None:
            if plan.interpolate == "fit":
                interpolation = fit_interpolation(plan, model, lock, lists)
            else:
                interpolation = fixed_interpolation(plan.interpolate)
            report["interpolate"] = interpolation.report
            write_model({**report, "checks": []})
        if ranks.first and plan.checks:
            checks = run_checks(plan, model, lock, collections, progress, interpolation)
            write_model({**report, "checks": [asdict(check) for check in checks]})
    weight = None if interpolation is None else interpolation.weight
    return Trained(model, fit.steps, fit.best, fit.journal.values, checks, fit.skipped, ranks.rank, weight)


def _check_sources(plan: Plan) -> None:
    """Refuse a model or a release that is neither here nor a name of the Hub, before anything is loaded or written."""
    check_model(plan.model)
    for data in plan.data:
        if not Path(data.release).is_dir() and not is_repo(data.release):
            raise BadInput(f"{printable(data.release)!r} is neither a release folder nor a Hub id (owner/name)")


def plan_training(plan: Plan) -> dict[str, Any]:
    """A summary of what `train` would fit: reranker, loss, numbers of groups and steps, and releases.

    It loads no torch. Raises BadInput for options that reranker or loss do not have, and for data that cannot be learnt
    from.
    """
    _check_sources(plan)
    check_options(RERANKERS, plan.reranker, {"model": plan.model, **plan.options})
    groups, held, sources = groups_of(plan, _loss(plan).needs)
    order = Order(len(groups), plan.seed, plan.steps.groups)
    return {
        "reranker": plan.reranker,
        "model": plan.model,
        "loss": plan.loss["part"],
        "groups": order.count,
        "held_out": len(held),
        "steps": plan.steps.steps or order.steps(plan.steps.epochs),
        "data": ["{name}/{table} {version}: {rows} rows".format(**source) for source in sources],
    }


def _loss(plan: Plan) -> Any:
    """The plan's loss with its options. Raises UnknownName, BadInput for options that it does not take."""
    options = dict(plan.loss)
    name = options.pop("part")
    part = LOSSES[name]
    if plan.steps.clip_each and part.needs == "targets":
        raise BadInput(f"steps.clip_each is for losses on lists of scores, not {name}", file=plan.recipe.file)
    try:
        return make(f"loss {name}", part, {}, options)
    except BadInput as error:
        raise BadInput(str(error), file=plan.recipe.file) from error
