"""Reranking of any run: its passages in the order of a reranker's scores, as a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

from exabench.bench.candidates import check_depth
from exabench.bench.chosen_reranker import ChosenReranker
from exabench.core.errors import BadInput
from exabench.core.files import check_can_hold
from exabench.core.nouns import Progress, Qrels, Query, Run, Task, silent
from exabench.measure.runs import read_run, top, write_run
from exabench.parts.reranking import PairProgress, rerank as rerank_candidates
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Collection, SelectedTexts, open_collection, read_checked_qrels


def rerank(
    reranker: Any,
    run: str | Path | Run,
    task: str | Task,
    *,
    to: str | Path | None = None,
    part: str = "",
    depth: int = 0,
    data: str | Path | None = None,
    board: str | Path | None = None,
    interpolate: float | None = None,
    progress: Progress = silent,
    note: Callable[[str], object] = lambda line: None,
    **options: Any,
) -> Run:
    """Rerank a run, any file that `read_run` takes, with a reranker as `evaluate` takes it.

    With a `depth` only the best `depth` passages of each query are reranked, and the others are dropped. With the
    weight `interpolate` the scores are mixed with those of the input run (`measure.interpolation.mix`). The run is
    written to the file `to`, whole or not at all, and replaces an existing file. `note` is called with the part that
    was chosen. Raises BadInput, with its id, for a query or a passage without a text in the task, and where `to` is the
    run itself; OutsideFailed, CannotWrite.
    """
    if to is not None and Path(to).is_dir():
        raise BadInput("is a folder; name a file", file=to)
    # The real paths: a link may lead to the run itself.
    if to is not None and not isinstance(run, Run) and os.path.realpath(to) == os.path.realpath(run):
        raise BadInput("is the input run; name another file", file=to)
    if to is not None:
        check_can_hold(to)
    if depth:
        check_depth(depth)
    chosen = ChosenReranker(reranker, options, part, interpolate)
    task = single_task(task, data=data, board=board)
    ranking = run if isinstance(run, Run) else read_run(run)
    if depth:
        ranking = top(ranking, depth)
    note(chosen.find())
    collection = open_collection(task, data)
    # Only the oracle and its like are made of judgements; for the others none are read.
    qrels: Qrels = {}
    if chosen.reads_judgements:
        qrels = read_checked_qrels(task, collection)
    queries = _queries(collection, ranking)
    wanted = set(ranking.passage_ids.to_pylist())
    passages = SelectedTexts(collection.passages(), wanted, task.convention.text_fields)
    _check_texts(wanted - set(passages), "passage", collection)
    pairs = PairProgress(progress)
    made = chosen.make(qrels, pairs)
    pairs.begin(len(ranking.passage_ids), f"pairs of {chosen.label} on {task.name}")
    reranked, _ = rerank_candidates(made, ranking, queries, passages, chosen.label, pairs, chosen.interpolate)
    if to is not None:
        write_run(reranked, to)
    return reranked


def _queries(collection: Collection, ranking: Run) -> dict[str, Query]:
    """The queries of a run. Raises BadInput for one without text, which would be ranked by nothing."""
    wanted = set(ranking.query_ids)
    queries = {query.id: query for query in collection.queries() if query.id in wanted and query.text.strip()}
    _check_texts(wanted - queries.keys(), "query", collection)
    return queries


def _check_texts(missing: Set[str], what: str, collection: Collection) -> None:
    """Raise BadInput for queries or passages of the run without a text, with the first of their ids."""
    if not missing:
        return
    more = ""
    if len(missing) > 1:
        more = f", nor for {len(missing) - 1} others"
    raise BadInput(f"{collection.source} has no text for a {what} of the run{more}", id=min(missing))
