"""Evaluation of one reranker in one call: a first stage's candidates of each task, reranked and measured."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exabench.bench.candidates import RerankEvaluator, make_candidates, read_evaluator
from exabench.bench.ledger import Ledger
from exabench.bench.result_table import ResultTable
from exabench.core.errors import BadInput, ExabenchError, UnknownName, printable
from exabench.core.files import cache_folder
from exabench.core.nouns import Progress, Task, silent
from exabench.core.options import accepts
from exabench.measure.metric_values import MetricName
from exabench.parts.assembly import check_part, reranker as reranker_of
from exabench.parts.own_rerankers import as_reranker, reranker_name
from exabench.parts.recognition import check_given, choose_reranker
from exabench.parts.rerankers import RERANKERS
from exabench.parts.reranking import PairProgress
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.catalogue import expand, suites
from exabench.tasks.collections import open_collection, read_checked_qrels


def evaluate(
    reranker: Any,
    tasks: str | Task | Sequence[str | Task],
    *,
    part: str = "",
    retriever: str = "bm25",
    depth: int = 100,
    data: str | Path | None = None,
    retriever_options: Mapping[str, Any] | None = None,
    candidates: str = "",
    board: str | Path | None = None,
    metrics: Sequence[str] = (),
    progress: Progress = silent,
    **options: Any,
) -> ResultTable:
    """Rerank a first stage's candidates with a reranker, on one task or several, and measure.

    `reranker` is a model (a Hub id, a folder, `pypi:<package>`), which `part` reads or the part that its files call
    for; the name of a part, or "auto", with its `options` (`model`, `revision`, `strategy`, `precision`, ...); or an
    object or a function of your own (parts/own_rerankers.py). A suite stands for its tasks. The candidates are those
    of `retriever` at `depth`, or the list `candidates` that `board` holds. `metrics`, the headline first, default to
    those of the task.

    Everything is checked before the first query is reranked. Raises BadInput, OutsideFailed; where one of several
    tasks fails, the error names those that are done and holds their results as `done`.
    """
    chosen, table = tasks_of(tasks, data, board)
    names = [str(MetricName.parse(metric)) for metric in metrics]
    ledger = check_candidates(chosen, retriever, depth, candidates, board)
    pairs = PairProgress(progress)
    own = None
    name = ""
    label = ""
    if isinstance(reranker, str):
        check_given(reranker)
        found = choose_reranker(reranker, options, part)
        name = found.reranker
        options = dict(found.options)
        label = label_of(str(options.get("model", name)))
        check_part(RERANKERS, name, options)
    else:
        if options or part:
            raise BadInput(f"{', '.join(options) or 'part'} belongs to a reranker that is given by name or by model")
        own = as_reranker(reranker)
        label = label_of(reranker_name(own))
    check_part(RETRIEVERS, retriever, retriever_options or {})
    for task in chosen:
        read_checked_qrels(task, open_collection(task, data))

    for task in chosen:
        try:
            evaluator: RerankEvaluator
            if ledger is not None:
                evaluator = read_evaluator(ledger, task.name, candidates, data, names)
            else:
                made, run = make_candidates(
                    task, retriever, depth, data=data, options=retriever_options, progress=progress
                )
                evaluator = RerankEvaluator(task, made, run, data, None, names)
            if own is None or (name and getattr(own, "reads", "") == "judgements"):
                own = reranker_of(name, qrels=evaluator.qrels, progress=pairs, **options)
            started = time.perf_counter()
            command = f"exabench.evaluate({label!r}, {task.name!r})"
            result, ranking = evaluator.evaluate(own, label, "model", command, pairs)
            seconds = time.perf_counter() - started
            table.add(evaluator.time_latency(result, own), ranking, seconds)
        except ExabenchError as error:
            if table:
                kept = ""
                if name and "scores" in accepts(RERANKERS[name]):
                    kept = f", and the same call takes their scores from {cache_folder('scores')}"
                error.args = (f"{error}; done before it: {', '.join(table)}{kept}",)
                error.done = table
            raise
    return table


def tasks_of(
    tasks: str | Task | Sequence[str | Task], data: str | Path | None = None, board: str | Path | None = None
) -> tuple[list[Task], ResultTable]:
    """The tasks that names of tasks and suites stand for, and an empty table that knows what belongs together.

    Raises as `tasks.catalogue.task` does, and BadInput where there is none.
    """
    names = [tasks] if isinstance(tasks, str | Task) else list(tasks)
    if not names:
        raise BadInput("no task is given; exabench bench tasks lists them")
    groups = {}
    chosen = []
    for task in expand(names, data=data, board=board):
        if task.members:
            groups[task.name] = task.members
        for member in expand(task.members or task):
            if member not in chosen:
                chosen.append(member)
    known = suites()
    asked = [name.lower() for name in names if isinstance(name, str)]
    return chosen, ResultTable(groups, {name: known[name] for name in asked if name in known})


def check_candidates(
    tasks: Sequence[Task], retriever: str, depth: int, candidates: str, board: str | Path | None
) -> Ledger | None:
    """The board that holds the lists called `candidates`, None where candidates are made.

    Raises UnknownName for a retriever or a list, BadInput for a depth below 1 and for a folder that is no board.
    """
    if retriever not in RETRIEVERS:
        raise UnknownName("retriever", retriever, RETRIEVERS)
    if depth < 1:
        raise BadInput(f"depth must be at least 1, not {depth}")
    if not candidates:
        return None
    if board is None:
        raise BadInput(f"candidates {printable(candidates)!r} lie on a board: say which")
    ledger = Ledger(Path(board))
    ledger.settings()
    for task in tasks:
        ledger.one_candidates(task.name, candidates)
    return ledger


def label_of(model: str) -> str:
    """The name of a system in runs and results: a Hub id as it is, of a folder its last name, without blanks."""
    if Path(model).is_dir():
        model = Path(model).resolve().name
    return re.sub(r"\s+", "-", model.removeprefix("pypi:"))
