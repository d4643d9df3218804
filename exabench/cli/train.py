"""`exabench train`: fit reference rerankers, and publish what came out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._command import (
    PATH,
    CommandGroup,
    answer,
    answer_list,
    completing,
    data_option,
    dry_run_option,
    key_option,
    note,
    p_value,
    place_options,
    progress,
    publish_to,
    set_option,
    table,
    to_option,
)
from exabench.core.nouns import silent
from exabench.core.recipe import recipes

if TYPE_CHECKING:
    from exabench.training.evaluation import CheckResult


@click.group(cls=CommandGroup, examples=("exabench train run mini-minilm --to my-reranker",))
def train() -> None:
    """Train reference rerankers and publish them."""


@train.command("list", examples=("exabench train list",))
def list_() -> None:
    """List the recipes that come with exabench."""
    recipe_values = {}
    rows = []
    for name, recipe in recipes("train").items():
        values = recipe.values
        recipe_values[name] = values
        tables = ", ".join(data["table"] for data in values["data"])
        rows.append((name, values["reranker"], values["loss"]["part"], values["model"], tables))
    answer_list(recipe_values, ("recipe", "reranker", "loss", "starts from", "learns from"), rows)


@train.command(
    examples=(
        "exabench train run mini-minilm --to my-reranker",
        "exabench train run mini-minilm --set steps.rate=1e-5 --dry-run",
    )
)
@click.argument("recipe", shell_complete=completing(lambda: recipes("train")), help="Name of a recipe, or a TOML file.")
@to_option("Work folder.  [default: exabench-train/<recipe>]")
@click.option("--device", help="cpu, cuda:1, ...  [default: a GPU if there is one]")
@click.option("--owner", default="local", show_default=True, help="Owner (Hub account) named in the submission.")
@click.option("--track", type=click.Choice(["trackio", "wandb"]), help="Send loss and other curves there as well.")
@dry_run_option
@set_option
@key_option
@data_option
def run(
    recipe: str,
    to: Path | None,
    device: str | None,
    owner: str,
    track: str | None,
    dry_run: bool,
    pairs: tuple[str, ...],
    data: Path | None,
) -> None:
    """Train the reranker of RECIPE; write it to TO/model with a model card, curves and a submission.toml.

    After an interruption the same command resumes from the newest complete checkpoint. A dot in --set reaches into a
    table of the recipe: --set steps.rate=1e-5. Under torchrun each process trains on its share of each step.
    """
    from exabench.training import plan_training, train, train_recipe

    plan = train_recipe(recipe, pairs)
    if dry_run:
        answer(plan_training(plan))
        return
    folder = to or Path("exabench-train") / plan.recipe.name
    devices = [device] if device else []
    # torchrun's name for this process. The first speaks for all: their lines would be the same.
    is_first = os.environ.get("RANK", "0") == "0"
    with progress(plan.recipe.name) if is_first else nullcontext(silent) as report:
        trained = train(
            plan.recipe, folder, data=data, devices=devices, owner=owner, track=track or "", progress=report
        )
    if trained.rank != 0:
        return
    for checkpoint in trained.skipped:
        note(f"skipped an incomplete checkpoint:  {checkpoint}")
    weights = f"{trained.steps} steps, the weights of step {trained.best}"
    if trained.best in trained.dev:
        weights += f", dev {trained.dev[trained.best]:.4f}"
    if trained.best == 0:
        weights += "; no step was better than the starting model, which is kept"
    lines = [weights]
    if trained.interpolate is not None:
        lines.append(f"mixed with the first stage, weight {trained.interpolate}")
    if trained.checks:
        lines.append(_check_table(trained.checks))
        lines.append("p is of the paired t-test, Holm-corrected over the checks")
    lines.append(f"model: {trained.folder}")
    answer(asdict(trained), "\n".join(lines))


def _check_table(checks: Sequence[CheckResult]) -> str:
    """The checks of a training as its card has them, with the published numbers where a recipe names any."""
    header = ["check", "metric", "value", "first stage", "gain", "p (Holm)", "start", "gain", "p (Holm)"]
    any_published = any(check.published for check in checks)
    if any_published:
        header.insert(3, "published")
    rows = []
    for check in checks:
        row = [f"{check.task} ({check.candidates})", check.metric, f"{check.value:.4f}"]
        if any_published:
            row.append(f"{check.published['value']:.4f}" if check.published else "")
        for baseline in (check.first_stage, check.start):
            if baseline is None:
                row += [""] * 3
            else:
                row += [f"{baseline.value:.4f}", f"{baseline.difference:+.4f}", p_value(baseline.p_holm)]
        rows.append(row)
    return table(header, rows)


@train.command(examples=("exabench train publish my-reranker --repo my-group/my-reranker",))
@click.argument("folder", type=PATH, help="The folder of a run, or the model in it.")
@place_options
@click.option("--tag", default="", help="Tag.  [default: v1, then the next number with each change]")
def publish(folder: Path, tag: str, **place: Any) -> None:
    """Publish the trained model in FOLDER: one commit with weights, card and curves, then a tag."""
    from exabench.training.publishing import publish_model

    if (folder / "model").is_dir():
        folder /= "model"
    publish_to(publish_model, folder, tag=tag, **place)
