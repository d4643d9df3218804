"""`exabench train`: fit reference rerankers, and publish what came out."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._output import (
    data_option,
    json_option,
    note,
    place_of,
    place_options,
    progress,
    set_option,
    show,
    show_json,
    show_published,
    table,
)
from exabench.nouns import silent

if TYPE_CHECKING:
    from exabench.training import Trained

FOLDER = click.Path(path_type=Path)


@click.group()
def train() -> None:
    """Fit reference rerankers, and publish what came out."""


@train.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the recipes that come with exabench."""
    from exabench.recipe import recipes

    pages = {name: dict(recipe.values) for name, recipe in recipes("train").items()}
    if as_json:
        show_json(pages)
        return
    rows = [
        (name, page["reranker"], page["loss"]["part"], page["model"], ", ".join(one["table"] for one in page["data"]))
        for name, page in pages.items()
    ]
    show(table(("recipe", "reranker", "loss", "starts from", "learns from"), rows))


@train.command()
@click.argument("recipe")
@click.option("--to", type=FOLDER, help="Work folder; else exabench-train/<recipe>.")
@click.option("--device", help="cpu, cuda:1, ...; else a GPU where there is one.")
@click.option("--owner", default="local", show_default=True, help="The account that the submission will name.")
@click.option("--dry-run", is_flag=True, help="Read recipe and data, and say what would be fitted; fit nothing.")
@set_option
@data_option
@json_option
def run(recipe: str, to: Path | None, pairs: tuple[str, ...], data: Path | None, as_json: bool, **given: Any) -> None:
    """Fit the reranker of RECIPE; TO/model holds it, with its card, its curves and a submission.toml to send.

    Stopped anywhere, the same command goes on from the newest whole checkpoint. An option reaches into a table of the
    recipe by a dot, as in --set steps.rate=1e-5. Under torchrun every process fits its share of each step.
    """
    from exabench.training import Who, planned, train, train_recipe

    plan = train_recipe(recipe, pairs)
    to = to or Path("exabench-train") / plan.recipe.name
    if given["dry_run"]:
        found = planned(plan)
        show_json(found) if as_json else show("\n".join(f"{key}: {value}" for key, value in found.items()))
        return
    devices = [given["device"]] if given["device"] else []
    alone = os.environ.get("RANK", "0") == "0"  # torchrun's name for this process
    with progress(plan.recipe.name) if alone else nullcontext(silent) as report:
        made = train(plan.recipe, to, data=data, devices=devices, who=Who(given["owner"]), progress=report)
    _told(made, as_json)


def _told(made: Trained, as_json: bool) -> None:
    if made.rank:  # the first process speaks for all
        return
    for line in made.skipped:
        note(f"a checkpoint was not whole and was passed over: {line}")
    if as_json:
        from dataclasses import asdict

        show_json({**asdict(made), "folder": str(made.folder)})
        return
    dev = f", dev {made.dev[made.best]:.4f}" if made.best in made.dev else ""
    show(f"{made.steps} steps, the weights of step {made.best}{dev}")
    rows = []
    for check in made.checks:
        gains = [one for one in (check.first_stage, check.start) if one is not None]
        cells = [cell for one in gains for cell in (f"{one.value:.4f}", f"{one.difference:+.4f}", f"{one.p_holm:.4f}")]
        rows.append((f"{check.task} ({check.candidates})", check.metric, f"{check.value:.4f}", *cells))
    if rows:
        show(table(("check", "metric", "value", "first stage", "gain", "p", "start", "gain", "p"), rows))
    show(f"model: {made.folder}")


@train.command()
@click.argument("folder", type=FOLDER)
@place_options
@click.option("--tag", default="", help="Else v1.0.0, and one more with every change.")
@json_option
def publish(folder: Path, repo: str | None, to: Path | None, tag: str, pr: bool, dry_run: bool, as_json: bool) -> None:
    """Publish the model in FOLDER (a run's, or its model/): one commit with weights, card and curves, then its tag."""
    from exabench.publishing import publish_model

    where, inner = place_of(repo, to), folder / "model"
    folder = inner if inner.is_dir() else folder
    with progress("publish") as report:
        done = publish_model(folder, where, tag=tag, pull_request=pr, dry_run=dry_run, progress=report)
    show_published(done, as_json)
