"""Training: release rows -> groups -> the reranker that will score -> strategy -> loss -> model folder.

A run's folder holds recipe.lock.json (its recipe, and the commits that were looked up for it), start/ (where a scoring
head had to be made), checkpoints/, curves.csv, and model/: all that is published.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.costs import hardware
from exabench.errors import BadInput
from exabench.files import json_text, only_writer, read_json, write
from exabench.losses import LOSSES
from exabench.nouns import Progress, silent
from exabench.recipe import Recipe
from exabench.training._checks import checked
from exabench.training._dev import dev_of
from exabench.training._folder import Checked, Finished, Learnt, write_folder
from exabench.training._groups import Source, groups_of
from exabench.training._loading import Loading
from exabench.training._loop import Fit, Fitted
from exabench.training._order import Order
from exabench.training._plan import Plan as Plan
from exabench.training._plan import train_recipe as train_recipe
from exabench.training._ranks import Ranks
from exabench.training._starting import Start, start
from exabench.training._steps import Gradient

if TYPE_CHECKING:
    from exabench.rerankers._learning import Learner


@dataclass(frozen=True)
class Trained:
    """A finished run: its model folder, the optimiser steps done and the best one, dev values by step, checks.

    `skipped` names checkpoints that were not whole when the run was taken up again. Of several processes that of `rank`
    0 has the checks, and speaks for all.
    """

    folder: Path
    steps: int
    best: int
    dev: Mapping[int, float]
    checks: Sequence[Checked]
    skipped: tuple[str, ...] = ()
    rank: int = 0


@dataclass(frozen=True)
class Who:
    """Whose model it is, as its submission says: an account (owner of its name), a link, a way to reach them."""

    owner: str = "local"
    link: str = "https://huggingface.co"
    contact: str = "https://huggingface.co"


def train(
    recipe: Recipe | str | Path,
    to: str | Path,
    *,
    overrides: Iterable[str] = (),
    data: str | Path | None = None,
    devices: Sequence[str] = (),
    who: Who | None = None,
    progress: Progress = silent,
) -> Trained:
    """Fit the reranker that `recipe` describes in the work folder `to`; `to`/model is the result.

    `data` holds the test collections that dev and checks read; `devices` is the one to fit on (default: a GPU where
    there is one). Started by torchrun, every process fits its share of each step. Run again after any stop it goes on
    from its newest whole checkpoint. Raises BadInput where the folder holds another run, CannotWrite, OutsideFailed.
    """
    folder, ranks = Path(to), Ranks()
    collections = Path(data) if data else None
    with ranks.together(), only_writer(folder) if ranks.first else nullcontext():
        plan = train_recipe(recipe, overrides)
        loss = _loss(plan)
        with ranks.first_does():  # it looks commits up, downloads, makes start/; the others find all of it there
            lock = _locked(plan, folder, ranks)
            groups, held, sources = groups_of(plan, loss.needs, lock)
            began = start(plan, folder, lock, _device(devices, ranks))
        learner = began.reranker.learner()
        order = Order(len(groups), plan.seed, plan.steps.groups)
        loading = Loading(learner, groups, order, written=loss.needs == "targets", loaders=plan.steps.loaders)
        gradient = Gradient(learner, loss, plan.steps, ranks, plan.seed)
        with ranks.first_does():
            dev = dev_of(plan, learner, held, loading, gradient, collections)
        fitted = Fit(plan, learner, gradient, folder, ranks).run(loading, order, dev, progress)
        checks: list[Checked] = []
        if ranks.first:
            about = _about(plan, began, learner, sources, order, fitted, dev.metric if dev else "")
            who = who or Who()
            about |= {"name": f"{who.owner}/{plan.recipe.name}", "link": who.link, "contact": who.contact}
            finished = Finished(**about, save=_saver(learner, fitted), curves=folder / "curves.csv")
            write_folder(folder / "model", finished)
        ranks.wait()  # for the model; checks take long, and the first rank is alone with them
        if ranks.first:
            checks = checked(plan, folder / "model", lock, collections, progress)
            if checks:
                write_folder(folder / "model", replace(finished, checks=checks))
    values = dict(sorted((int(step), value) for step, value in fitted.journal.dev.items()))
    best = fitted.steps if fitted.journal.best is None else fitted.journal.best
    return Trained(folder / "model", fitted.steps, best, values, checks, fitted.skipped, ranks.rank)


def planned(plan: Plan) -> dict[str, Any]:
    """What `train` would fit: groups, those held out, optimiser steps, and the releases that they come from."""
    groups, held, sources = groups_of(plan, _loss(plan).needs)
    order = Order(len(groups), plan.seed, plan.steps.groups)
    return {
        **{"reranker": plan.reranker, "model": plan.model, "loss": plan.loss["part"]},
        **{"groups": order.count, "held_out": len(held), "steps": plan.steps.steps or order.steps(plan.steps.epochs)},
        "data": [f"{one.release.name}/{one.data.table} {one.release.version}: {one.rows} rows" for one in sources],
    }


def _about(
    plan: Plan, began: Start, learner: Learner, sources: Sequence[Source], order: Order, fitted: Fitted, dev_metric: str
) -> dict[str, Any]:
    """What training.json says of a run."""
    learnt = [Learnt.of(one.release, one.data.table, one.rows, _repository(one.data.release)) for one in sources]
    journal = fitted.journal
    return {
        **{"kind": learner.kind, "reranker": plan.reranker, "options": dict(plan.options)},
        **{"title": plan.title, "note": plan.note, "licence": plan.licence, "seed": plan.seed},
        **{"recipe": dict(plan.recipe.values), "fingerprint": plan.recipe.fingerprint},
        **{"base": began.model, "base_revision": began.revision, "base_licence": began.licence, "data": learnt},
        **{"steps": fitted.steps, "epochs": fitted.steps / order.steps_per_epoch, "groups": order.count},
        **{"order": order.digest(fitted.steps), "best": journal.best or fitted.steps, "hardware": hardware()},
        **{"dev": sorted((int(step), value) for step, value in journal.dev.items()), "dev_metric": dev_metric},
        "dev_source": f"split {plan.dev.split} of {plan.dev.task}" if plan.dev.task else "rows held out",
    }


def _device(devices: Sequence[str], ranks: Ranks) -> tuple[str, ...]:
    if devices and ranks.count > 1:
        raise BadInput("several processes take a device each; leave the device out")
    return tuple(devices) or (ranks.device,)


def _repository(release: str) -> str:
    return "" if Path(release).is_dir() else release


def _saver(learner: Learner, fitted: Fitted) -> Any:
    return lambda folder: learner.save(folder, dict(fitted.weights))


def _loss(plan: Plan) -> Any:
    """The plan's loss with its options. Raises UnknownName, BadInput for options that it does not take."""
    options = {key: value for key, value in plan.loss.items() if key != "part"}
    part = LOSSES[plan.loss["part"]]
    try:
        return part(**options)
    except TypeError as error:
        what = f"loss {plan.loss['part']} does not take these options ({error})"
        raise BadInput(what, file=plan.recipe.file) from error


def _locked(plan: Plan, folder: Path, ranks: Ranks) -> Path:
    """The run's lock: its recipe, and the commits that were looked up for it. Raises BadInput for another recipe's."""
    lock = folder / "recipe.lock.json"
    held = read_json(lock) if lock.is_file() else {}
    if held and held.get("fingerprint") != plan.recipe.fingerprint:
        if (folder / "checkpoints").is_dir():
            what = f"holds the run of another recipe ({held.get('name')}), or of other values; give each a folder"
            raise BadInput(what, file=folder)
        shutil.rmtree(folder / "start", ignore_errors=True)  # nothing was fitted yet: the recipe was mended
    if ranks.first:
        own = {"name": plan.recipe.name, "recipe": dict(plan.recipe.values), "fingerprint": plan.recipe.fingerprint}
        write(lock, json_text({**held, **own}))
    return lock
