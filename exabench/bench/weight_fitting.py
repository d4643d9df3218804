"""Fitting of the weight by which a model's scores are mixed with the first stage's, on held-out queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exabench.bench.candidates import RerankEvaluator, make_candidates
from exabench.bench.chosen_reranker import ChosenReranker
from exabench.core.errors import BadInput
from exabench.core.nouns import Progress, Task
from exabench.measure.interpolation import METRIC, fit_weight
from exabench.parts.reranking import PairProgress
from exabench.tasks.collections import open_collection, read_checked_qrels
from exabench.tasks.held_out import HeldOut, held_out, judged_queries


@dataclass(frozen=True)
class FirstStage:
    """A first stage by name, with the depth of its lists and its options."""

    retriever: str
    depth: int
    options: Mapping[str, Any]


def given_weight(interpolate: float | str | None) -> float | None:
    """The weight, where one is given; of queries to fit it on as of nothing None."""
    if isinstance(interpolate, str):
        return None
    return interpolate


def queries_to_fit_on(
    interpolate: float | str | None,
    tested: Sequence[Task],
    candidates: str,
    *,
    data: str | Path | None,
    board: str | Path | None = None,
) -> HeldOut | None:
    """The queries that `interpolate` names as `<task>/<split>`; None where it is a weight, or nothing is mixed.

    Those that a task of `tested` tests on are left out. Raises BadInput where no other is left, and next to a frozen
    list, which has no others.
    """
    if not isinstance(interpolate, str):
        return None
    if candidates:
        raise BadInput(
            f"the list {candidates} has only the queries that are tested; fit the weight with --retriever, "
            "and give it here as a number"
        )
    queries = held_out(interpolate, data, board)
    # Task by task: two may share queries with one split.
    for task in tested:
        collection = open_collection(task, data, needs="judgements")
        queries = queries.apart_from(judged_queries(collection, read_checked_qrels(task, collection)))
    return queries


def fit_on(
    queries: HeldOut,
    chosen: ChosenReranker,
    first_stage: FirstStage,
    *,
    data: str | Path | None,
    pairs: PairProgress,
    progress: Progress,
    note: Callable[[str], object],
) -> None:
    """Give the chosen reranker the weight that ranks the first stage's lists of these queries best.

    `note` gets it in words.
    """
    made, run = make_candidates(
        queries.task,
        first_stage.retriever,
        first_stage.depth,
        data=data,
        options=first_stage.options,
        progress=progress,
    )
    evaluator = RerankEvaluator(queries.task, made, run, data, None)
    # Once, by its own scores alone: every weight is tried on these.
    reranked, _ = evaluator.rerank(chosen.make(evaluator.qrels, pairs), chosen.label, pairs)
    threshold = queries.task.convention.relevance_threshold
    fitted = fit_weight(reranked, evaluator.run, queries.qrels, queries.name, threshold)
    # Both are told, so that a gain that is only the first stage's own can be seen.
    best = fitted.curve[fitted.weight]
    alone = fitted.curve[1.0]
    note(
        f"{chosen.label}: weight {fitted.weight} fitted on {fitted.queries} queries of {queries.name}: "
        f"{METRIC} {best:.4f} there, {alone:.4f} without the first stage"
    )
    chosen.interpolate = fitted.weight
