"""`exabench bench`: tasks, candidates, submissions, results, scores, comparisons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exabench.cli._options import (
    PATH,
    CommandGroup,
    board_option,
    data_option,
    depth_option,
    json_option,
    retriever_option,
    set_option,
)
from exabench.cli._output import answer, note, progress, ready, show, show_json, table
from exabench.cli._queue import pending, run, submit, withdraw
from exabench.core.errors import BadInput, plural

if TYPE_CHECKING:
    from exabench.bench.comparison import TaskComparison
    from exabench.bench.ledger import Ledger
    from exabench.core.nouns import Measurement

task_option = click.option("--task", help="A task of the table (exabench bench tasks).")
qrels_option = click.option("--qrels", type=PATH, help="Judgements of your own: TREC or BEIR layout, plain or .gz.")
threshold_option = click.option(
    "--threshold", type=int, default=1, show_default=True, help="Lowest relevant grade, with --qrels."
)


@click.group(cls=CommandGroup)
def bench() -> None:
    """Tasks, candidates, submissions, results, scores, comparisons."""


@bench.command()
@json_option
def tasks(as_json: bool) -> None:
    """List the tasks and suites that exabench knows."""
    from exabench.tasks.catalogue import suites
    from exabench.tasks.catalogue import tasks as known_tasks

    described = {}
    rows = []
    for name, task in known_tasks().items():
        described[name] = asdict(task) | {"convention": task.convention.as_json()}
        size = f"mean of {len(task.members)}" if task.members else task.queries or "at first use"
        rows.append((name, size, task.judgements or "", task.headline, "yes" if task.needs_licence else ""))
    members = {name: list(names) for name, names in suites().items()}
    sizes = [f"{name} ({len(names)})" for name, names in members.items()]
    listed = table(("task", "queries", "judgements", "headline", "needs a licence"), rows)
    answer(as_json, {"tasks": described, "suites": members}, f"{listed}\n\nsuites: {', '.join(sizes)}")


@bench.command()
@click.argument("task")
@retriever_option
@click.option("--from", "run", type=PATH, help="Freeze this published run instead.")
@depth_option
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
    from exabench.bench.candidates import freeze_candidates
    from exabench.bench.ledger import Ledger
    from exabench.core.recipe import settings
    from exabench.tasks.catalogue import single_task

    options = settings(pairs)
    if run is not None:
        retriever = "run_file"
        options = {"file": str(run), **options}
        name = name or f"{_plain_name(run)}-{depth}"
    ledger = Ledger(ready(board, [single_task(task).name]))
    with progress("first stage") as report:
        frozen, file = freeze_candidates(
            ledger, task, retriever, depth, data=data, name=name, options=options, progress=report
        )
    if not as_json:
        if not _is_listed(task, ledger):
            note(f"{board / 'board.toml'} does not list {task}: add it to tasks, and the pages will show it")
        queries = plural(frozen.queries, "query", "queries")
        note(f"{queries}, recall@{depth} {frozen.recall:.4f}, {frozen.digest}")
    answer(as_json, frozen.as_json(), str(file))


def _plain_name(file: Path) -> str:
    """A file's name without its endings, as a name for candidates."""
    name = file.name.removesuffix(".gz").removesuffix(".trec").removesuffix(".txt").lower()
    return re.sub("[^a-z0-9+-]", "-", name).strip("-+")


def _is_listed(task: str, ledger: Ledger) -> bool:
    """Does the board show this task, by itself or as a member of another?"""
    from exabench.tasks.catalogue import expand
    from exabench.tasks.catalogue import task as task_of

    shown: list[str] = []
    for name in expand(ledger.settings()["tasks"]):
        shown += task_of(name).members or [name]
    return task in shown


@bench.command()
@click.argument("run", type=PATH)
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
    from exabench.bench.evaluation import score as measured

    lock = _lock_of_here()
    found = measured(run, task=task, qrels=qrels, threshold=threshold, metrics=metrics, data=data, lock=lock)
    answer(as_json, found.as_json(), _scores(found, per_query))
    if as_json:
        return
    judged = plural(found.queries, "judged query", "judged queries")
    extra = plural(found.extra_queries, "query", "queries")
    note(f"{judged}; {found.missing_queries} of them missing from the run, {extra} of the run not judged")
    for text in found.notes:
        note(f"note: {text}")


def _scores(found: Measurement, per_query: bool) -> str:
    rows = []
    for name, value in found.metrics.items():
        low, high = found.intervals[name]
        rows.append((name, f"{value:.4f}", f"[{low:.4f}, {high:.4f}]"))
    text = table((found.run, "value", "95 % interval"), rows)
    if not per_query:
        return text
    names = list(found.metrics)
    values = []
    for query_id in found.per_query[names[0]]:
        values.append((query_id, *(f"{found.per_query[name][query_id]:.4f}" for name in names)))
    return text + "\n\n" + table(("query", *names), values)


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
    from exabench.bench.comparison import compare as compare_runs
    from exabench.bench.comparison import compare_submissions

    if qrels is not None or Path(a).is_file() or Path(b).is_file():
        if candidates:
            raise BadInput("--candidates chooses among the results of submissions; runs are compared as they are")
        found = compare_runs(
            a,
            b,
            task=task,
            qrels=qrels,
            data=data,
            metric=metric,
            threshold=threshold,
            lock=_lock_of_here(),
            test=test,
        )
    else:
        found = compare_submissions(a, b, board, task=task, candidates=candidates, metric=metric, test=test)
    text = found.latex() if latex else _comparisons(found, per_query)
    answer(as_json, {"a": a, "b": b, "tasks": [one.as_json() for one in found]}, text)


def _comparisons(found: Sequence[TaskComparison], per_query: bool) -> str:
    rows = []
    for one in found:
        low, high = one.test.interval
        rows.append(
            (
                one.task,
                one.metric,
                f"{one.a:.4f}",
                f"{one.b:.4f}",
                f"{one.test.difference:+.4f} [{low:+.4f}, {high:+.4f}]",
                f"{one.test.wins}/{one.test.ties}/{one.test.losses}",
                f"{one.test.effect_size:+.2f}",
                _p(one.test.p),
                _p(one.corrected),
                one.verdict,
            )
        )
    header = "task|metric|A|B|A - B [95 %]|win/tie/loss|effect|p|p (Holm)|verdict"
    tables = [table(header.split("|"), rows)]
    if per_query:
        tables += [_queries(one) for one in found]
    return "\n\n".join(tables)


def _queries(one: TaskComparison) -> str:
    """Both values of every query, the largest difference first."""
    differences = {query_id: a - b for query_id, (a, b) in one.per_query.items()}
    rows = []
    for query_id in sorted(differences, key=lambda query_id: (-abs(differences[query_id]), query_id)):
        a, b = one.per_query[query_id]
        rows.append((query_id, f"{a:.4f}", f"{b:.4f}", f"{differences[query_id]:+.4f}"))
    return table((one.task, "A", "B", "A - B"), rows)


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


@bench.command()
@click.argument("slug", default="*")
@data_option
@board_option
@json_option
def verify(slug: str, data: Path | None, board: Path, as_json: bool) -> None:
    """Recompute every number (of SLUG) from its stored run: OK, off by ..., or FAIL, cell by cell."""
    from exabench.bench.verification import verify as cells_of
    from exabench.core.errors import CheckFailed

    wrong = 0
    cells = []
    for cell in cells_of(ready(board), slug.replace("/", "--"), data):
        wrong += not cell.holds
        cells.append(asdict(cell))
        if not as_json:  # a large board takes long: each line as soon as it is known
            filed = "" if cell.filed is None else f"{cell.filed:.4f}"
            show(f"{cell.submission} {cell.task} {cell.candidates} {cell.metric} {filed} {cell.verdict}")
    if as_json:
        show_json({"holds": not wrong, "cells": cells})
    if wrong:
        raise CheckFailed(f"{board}: {plural(wrong, 'number does not hold', 'numbers do not hold')}")


for command in (submit, pending, run, withdraw):
    bench.add_command(command)
