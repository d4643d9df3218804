"""`exabench bench`: tasks, candidates, submissions, results, scores, comparisons."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._options import Group, board_option, data_option, json_option, set_option
from exabench.cli._output import note, progress, ready, show, show_json, table
from exabench.cli._queue import pending, run, submit, withdraw
from exabench.errors import BadInput

if TYPE_CHECKING:
    from exabench.comparison import TaskComparison

FILE = click.Path(path_type=Path)
task_option = click.option("--task", help="A task of the table (exabench bench tasks).")
qrels_option = click.option("--qrels", type=FILE, help="Judgements of your own: TREC or BEIR layout, plain or .gz.")
threshold_option = click.option(
    "--threshold", type=int, default=1, show_default=True, help="Lowest relevant grade, with --qrels."
)


@click.group(cls=Group)
def bench() -> None:
    """Tasks, candidates, submissions, results, scores, comparisons."""


for command in (submit, pending, run, withdraw):
    bench.add_command(command)


@bench.command()
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks and suites that exabench knows."""
    from exabench.catalogue import suites
    from exabench.catalogue import tasks as all_tasks

    if as_json:
        listed = {name: asdict(task) | {"convention": task.convention.as_json()} for name, task in all_tasks().items()}
        show_json({"tasks": listed, "suites": {name: list(names) for name, names in suites().items()}})
        return
    rows = []
    for name, task in all_tasks().items():
        size = f"mean of {len(task.members)}" if task.members else task.queries or "at first use"
        rows.append((name, size, task.judgements or "", task.headline, "yes" if task.needs_licence else ""))
    show(table(("task", "queries", "judgements", "headline", "needs a licence"), rows))
    show("\nsuites: " + ", ".join(f"{name} ({len(names)})" for name, names in suites().items()))


@bench.command()
@click.argument("task")
@click.option("--retriever", default="bm25", show_default=True, help="A part (exabench parts retrievers).")
@click.option("--from", "run", type=FILE, help="Freeze this published run instead.")
@click.option("--depth", type=click.IntRange(1), default=100, show_default=True)
@click.option("--name", help="Else <retriever>-<depth>.")
@set_option
@data_option
@board_option
@json_option
def candidates(
    task: str,
    retriever: str,
    run: Path | None,
    depth: int,
    name: str | None,
    pairs: tuple[str, ...],
    data: Path | None,
    board: Path,
    as_json: bool,
) -> None:
    """Freeze the list of passages for TASK that everybody reranks: a run, and a JSON file that describes it."""
    from exabench.catalogue import expand, single_task
    from exabench.catalogue import task as task_of
    from exabench.ledger import Ledger
    from exabench.recipe import settings
    from exabench.reranking import freeze_candidates

    options = settings(pairs)
    if run is not None:
        retriever, options = "run_file", {"file": str(run), **options}
        name = name or f"{_plain_name(run)}-{depth}"
    ledger = Ledger(ready(board, [single_task(task).name]))
    with progress("first stage") as report:
        made, file = freeze_candidates(
            ledger, task, retriever, depth, data=data, name=name, options=options, progress=report
        )
    if as_json:
        show_json(made.as_json())
        return
    listed = [name for name in expand(ledger.settings()["tasks"]) for name in (task_of(name).members or (name,))]
    if task not in listed:
        note(f"{board / 'board.toml'} does not list {task}: add it to tasks, and the pages will show it")
    note(f"{made.queries} queries, recall@{depth} {made.recall:.4f}, {made.digest}")
    show(str(file))


def _plain_name(file: Path) -> str:
    name = file.name.removesuffix(".gz").removesuffix(".trec").removesuffix(".txt").lower()
    return "".join(c if c.isascii() and c.isalnum() or c in "+-" else "-" for c in name).strip("-+")


@bench.command()
@click.argument("run", type=FILE)
@task_option
@qrels_option
@threshold_option
@click.option("--metric", "metrics", multiple=True, help="nDCG@10, RR@10, ...; repeat for more.")
@click.option("--per-query", is_flag=True, help="Print the value of every query too.")
@data_option
@json_option
def score(
    run: Path,
    task: str | None,
    qrels: Path | None,
    threshold: int,
    metrics: tuple[str, ...],
    per_query: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Print the metrics of any run."""
    from exabench.evaluation import score as measured

    lock = _lock_of_here()
    found = measured(run, task=task, qrels=qrels, threshold=threshold, metrics=metrics, data=data, lock=lock)
    if as_json:
        show_json(found.as_json())
        return
    rows = [
        (name, f"{value:.4f}", "[{:.4f}, {:.4f}]".format(*found.intervals[name]))
        for name, value in found.metrics.items()
    ]
    show(table((found.run, "value", "95 % interval"), rows))
    if per_query:
        names = list(found.metrics)
        ids = list(found.per_query[names[0]])
        show("\n" + table(("query", *names), [(q, *(f"{found.per_query[n][q]:.4f}" for n in names)) for q in ids]))
    note(
        f"{found.queries} judged queries; {found.missing_queries} of them missing from the run, "
        f"{found.extra_queries} queries of the run not judged"
    )
    for text in found.notes:
        note(f"note: {text}")


def _lock_of_here() -> Path | None:
    """A leaderboard in this folder also holds what was resolved at first use."""
    return Path("leaderboard/lock.json") if Path("leaderboard/board.toml").is_file() else None


@bench.command()
@click.argument("a")
@click.argument("b")
@task_option
@qrels_option
@threshold_option
@click.option("--candidates", help="Of two submissions, only these candidates.")
@click.option("--metric", help="Else the task's headline metric.")
@click.option("--per-query", is_flag=True, help="Print every query, the largest difference first.")
@click.option("--latex", is_flag=True, help="Print the comparison as a LaTeX table.")
@click.option("--test", default="t", show_default=True, help="t (paired t-test) or permutation.")
@data_option
@board_option
@json_option
def compare(
    a: str,
    b: str,
    task: str | None,
    qrels: Path | None,
    threshold: int,
    candidates: str | None,
    metric: str | None,
    per_query: bool,
    latex: bool,
    test: str,
    data: Path | None,
    board: Path,
    as_json: bool,
) -> None:
    """Say who wins, A or B: two run files (with --task or --qrels), or two submissions of the board."""
    from exabench.comparison import compare as of_runs
    from exabench.comparison import compare_submissions

    about: dict[str, Any] = {"task": task, "qrels": qrels, "data": data, "threshold": threshold}
    about["lock"] = _lock_of_here()
    are_runs = qrels is not None or Path(a).is_file() or Path(b).is_file()
    if are_runs and candidates:
        raise BadInput("--candidates chooses among the results of submissions; runs are compared as they are")
    if are_runs:
        found = of_runs(a, b, metric=metric, test=test, **about)
    else:
        found = compare_submissions(a, b, board, task=task, candidates=candidates, metric=metric, test=test)
    if latex:
        show(found.latex())
        return
    if as_json:
        show_json({"a": a, "b": b, "tasks": [comparison.as_json() for comparison in found]})
        return
    header = "task|metric|A|B|A - B [95 %]|win/tie/loss|effect|p|p (Holm)|verdict"
    show(table(header.split("|"), [_line(one) for one in found]))
    for one in found if per_query else []:
        ordered = sorted(one.per_query.items(), key=lambda item: (-abs(item[1][0] - item[1][1]), item[0]))
        lines = [(q, f"{x:.4f}", f"{y:.4f}", f"{x - y:+.4f}") for q, (x, y) in ordered]
        show("\n" + table((one.task, "A", "B", "A - B"), lines))


def _line(one: TaskComparison) -> tuple[str, ...]:
    low, high = one.test.interval
    difference = f"{one.test.difference:+.4f} [{low:+.4f}, {high:+.4f}]"
    counts = f"{one.test.wins}/{one.test.ties}/{one.test.losses}"
    tests = (f"{one.test.effect_size:+.2f}", _p(one.test.p), _p(one.corrected))
    return (one.task, one.metric, f"{one.a:.4f}", f"{one.b:.4f}", difference, counts, *tests, one.verdict)


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


@bench.command()
@click.argument("slug", default="*")
@data_option
@board_option
@json_option
def verify(slug: str, data: Path | None, board: Path, as_json: bool) -> None:
    """Recompute every number (of SLUG) from its stored run: OK, off by ..., or FAIL, cell by cell."""
    from exabench.errors import CheckFailed
    from exabench.verification import verify as cells_of

    wrong, cells = 0, []
    for cell in cells_of(ready(board), slug.replace("/", "--"), data):
        wrong += not cell.holds
        if as_json:
            cells.append(asdict(cell))
        else:
            filed = "" if cell.filed is None else f"{cell.filed:.4f}"
            show(f"{cell.submission} {cell.task} {cell.candidates} {cell.metric} {filed} {cell.verdict}")
    if as_json:
        show_json({"holds": not wrong, "cells": cells})
    if wrong:
        raise CheckFailed(f"{board}: {wrong} numbers do not hold")
