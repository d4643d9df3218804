"""`exabench demo`: the whole thread in one command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._command import (
    Command,
    Count,
    answer,
    data_option,
    key_option,
    not_secret_option,
    note,
    p_value,
    progress,
    set_option,
    table,
    to_option,
)
from exabench.core.errors import CheckFailed, plural

if TYPE_CHECKING:
    from exabench.demo import TrainedModel


@click.command(
    cls=Command,
    short_help="The whole thread on the embedded collection: no network, no GPU.",
    examples=("exabench demo", "exabench demo --data collections --to my-demo --set trained=[]"),
)
@to_option("Leaderboard folder; datasets and models are built next to it.", default="exabench-demo")
@click.option("--recipe", help="A board recipe.  [default: mini, or leaderboard with --data]")
@set_option
@key_option
@not_secret_option
@click.option("--workers", type=Count(0), default=0, help="Number of parallel workers; 0: one per GPU.")
@data_option
def demo(to: Path, recipe: str | None, pairs: tuple[str, ...], workers: int, data: Path | None) -> None:
    """Run the full pipeline on a small built-in collection (or on the collections in --data) and build a leaderboard.

    First stages and their fusion, datasets, a model trained on one of them, rerankers with and without a model,
    published runs, results, verification, pages.
    """
    from exabench.demo import run_demo

    if recipe is None:
        recipe = "mini"
        # Only --data itself asks for the long demo; EXABENCH_DATA may be set for other commands.
        source = click.get_current_context().get_parameter_source("data")
        if source is click.core.ParameterSource.COMMANDLINE:
            recipe = "leaderboard"
    with progress("demo") as report:
        made = run_demo(to, recipe, overrides=pairs, data=data, workers=workers, progress=report, note=note)
    wrong = len(made.wrong)
    value = {
        "board": to,
        "page": made.page,
        "recipe": made.recipe.name,
        "fingerprint": made.recipe.fingerprint,
        "datasets": [audit.as_json() for audit in made.audits.values()],
        "trained": [{"model": model.folder, "checks": model.training["checks"]} for model in made.trained],
        "results": len(made.results),
        "numbers": len(made.cells),
        "wrong": wrong,
    }

    overviews = []
    for ranking in made.board.rankings:
        tasks = [task.name for task in ranking.tasks]
        rows = []
        for row in ranking.rows:
            if row.mean is None or row.interval is None:
                continue
            name = f"{row.name} ({row.candidates})"
            if row.is_first_stage:
                name = f"first stage {row.candidates}"
            low, high = row.interval
            # Times 100, as on the page.
            interval = f"[{100 * low:.1f}, {100 * high:.1f}]"
            values = [f"{100 * row.values[task]:.1f}" for task in tasks]
            rows.append((name, row.group, f"{100 * row.mean:.1f}", interval, *values))
        if rows:
            overviews.append(table((ranking.title, "group", "mean", "95%", *tasks), rows))
    lines = ["\n\n".join(overviews)]
    for name in made.audits:
        lines.append(f"dataset: {name} (exabench data audit {made.builds / name / 'release'})")
    for model in made.trained:
        lines.append(f"model: {model.recipe} ({model.folder})")
        for check in model.training["checks"]:
            lines += ["", _check_text(model, check)]
    for model in made.trained[:1]:
        lines += ["", "next:"]
        lines.append(f"  exabench evaluate {model.folder} --task {made.board.rankings[0].tasks[0].name}")
        lines.append(f"  exabench train run {model.recipe} --to my-model --set seed=2")
        lines.append(f"  exabench train publish {model.folder} --repo OWNER/{model.recipe}")
    lines.append(f"page: {made.page}")
    answer(value, "\n".join(lines))
    results = plural(len(made.results), "result")
    numbers = plural(len(made.cells), "number")
    failures = plural(wrong, "of them failed", "of them failed")
    note(f"{results}; {numbers} recomputed from their stored runs, {failures}")
    if wrong:
        failures = plural(wrong, "number failed", "numbers failed")
        raise CheckFailed(f"{to}: {failures}; exabench bench verify --board {to} names them")


def _check_text(model: TrainedModel, check: Mapping[str, Any]) -> str:
    """A check of a trained model next to its first stage and the model that it began as, and what its queries show."""
    from exabench.measure.statistics import ALPHA

    training = model.training
    baselines = {
        "first stage": (check["candidates"], check["first_stage"]),
        "start": (training["base"]["model"], check["start"]),
    }
    rows = []
    verdicts = []
    for kind, (name, baseline) in baselines.items():
        low, high = baseline["interval"]
        p = baseline["p_holm"]
        verdict = "not significantly different from"
        if p < ALPHA and baseline["difference"] > 0:
            verdict = "significantly better than"
        elif p < ALPHA:
            verdict = "significantly worse than"
        verdicts.append(f"{verdict} its {kind}")
        gain = f"{100 * baseline['difference']:+.1f}"  # times 100, as on the page
        interval = f"[{100 * low:+.1f}, {100 * high:+.1f}]"
        rows.append((f"{kind}: {name}", f"{100 * baseline['value']:.1f}", gain, interval, p_value(p)))
    rows.append((f"trained: {model.recipe}", f"{100 * check['value']:.1f}", "", "", ""))

    over = f"{check['task']}, {plural(check['queries'], 'query', 'queries')}"
    kept = f"step {training['best']} of {training['steps']}"
    dev = training["dev"]
    if dev["values"]:
        kept += f", the best on dev: {dev['metric']}"
    said = f"The trained model ({kept}) is {' and '.join(verdicts)} (paired t-test, p after Holm)."
    return table((over, check["metric"], "trained gains", "95%", "p"), rows) + "\n" + said
