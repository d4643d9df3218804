"""`exabench demo`: the whole thread in one command."""

from __future__ import annotations

from pathlib import Path

import click

from exabench.cli._command import Command, answer, data_option, note, progress, set_option, table, to_option
from exabench.core.errors import CheckFailed, plural


@click.command(
    cls=Command,
    short_help="The whole thread on the embedded collection: no network, no GPU.",
    examples=("exabench demo", "exabench demo --data collections --to my-demo --set trained=[]"),
)
@to_option("Leaderboard folder; datasets and models are made beside it.", default="exabench-demo")
@click.option("--recipe", help="A board recipe; else mini, or leaderboard with --data.")
@set_option
@data_option
def demo(to: Path, recipe: str | None, pairs: tuple[str, ...], data: Path | None) -> None:
    """Run the whole thread on the embedded collection (or on the collections of --data) into a leaderboard.

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
        made = run_demo(to, recipe, overrides=pairs, data=data, progress=report, note=note)
    wrong = len(made.wrong)
    value = {
        "board": to,
        "page": made.page,
        "recipe": made.recipe.name,
        "fingerprint": made.recipe.fingerprint,
        "datasets": [audit.as_json() for audit in made.audits.values()],
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
            overviews.append(table((ranking.title, "group", "mean", "95 %", *tasks), rows))
    lines = ["\n\n".join(overviews)]
    for name in made.audits:
        lines.append(f"dataset: {name} (exabench data audit {made.builds / name / 'release'})")
    for name in made.trained:
        lines.append(f"model: {name} ({made.builds / name / 'model'})")
    lines.append(f"page: {made.page}")
    answer(value, "\n".join(lines))
    results = plural(len(made.results), "result")
    numbers = plural(len(made.cells), "number")
    failures = plural(wrong, "of them does not hold", "of them do not hold")
    note(f"{results}; {numbers} recomputed from their stored runs, {failures}")
    if wrong:
        failures = plural(wrong, "number does not hold", "numbers do not hold")
        raise CheckFailed(f"{to}: {failures}; exabench bench verify --board {to} names them")
