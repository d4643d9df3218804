"""Dev: how good the model is in the middle of training, on rows held out or on queries that no board tests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from exabench.bench.candidates import search
from exabench.core.errors import BadInput
from exabench.measure.metric_values import MetricName, mean, measure
from exabench.measure.runs import run_of
from exabench.models.batches import batches, budget_of
from exabench.models.learner import Learner
from exabench.models.templates import ModelInput
from exabench.parts.assembly import retriever
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Passages, SelectedTexts, open_collection
from exabench.training.gradients import Encoded, Gradient
from exabench.training.groups import Groups
from exabench.training.loading import Loading
from exabench.training.recipe import Plan

LOOKED_AT = 20  # held-out groups, to see whether any has an order


@dataclass(frozen=True)
class Evaluation:
    """A number that is better when it is higher: its name, and a function that measures the model as it stands."""

    metric: str
    value: Callable[[], float]


def make_evaluation(
    plan: Plan, learner: Learner, held_out: Groups, loading: Loading, gradient: Gradient, data: Path | None
) -> Evaluation | None:
    """The evaluation that the plan asks for, or None.

    Raises BadInput where nothing is held out, and for the queries that a board tests on.
    """
    if not plan.dev.every:
        return None
    if plan.dev.task:
        return _ranking_of_task(plan, learner, data)
    if not len(held_out):
        what = "dev asks for evaluations, but no rows are held out; give dev.groups or dev.task"
        raise BadInput(what, file=plan.recipe.file)
    groups = [loading.encode(held_out[number]) for number in range(len(held_out))]
    has_lists = any(len(group.items) > 1 for group in groups[:LOOKED_AT])
    if has_lists and plan.dev.metric != "loss":
        return held_out_ndcg(plan.dev.metric or "nDCG@10", learner, groups)
    return Evaluation("held-out -loss", lambda: -gradient.value(groups))  # single passages make no ranking


def held_out_ndcg(metric: str, learner: Learner, groups: Sequence[Encoded]) -> Evaluation:
    """nDCG on held-out groups. Gain: the label where labels are 1 and 0, else 1 / place in the teacher's order.

    The reciprocal is what TWOLAR validates with. Passages with one score count in their worst order. Raises BadInput
    for another metric.
    """
    name = MetricName.parse(metric)
    if name.metric != "nDCG":
        raise BadInput(f"held-out groups are measured by nDCG@k, not {metric}")
    items = [item for group in groups for item in group.items]
    ends = np.cumsum([len(group.items) for group in groups])

    def value() -> float:
        lists = np.split(scores_of(learner, items), ends[:-1])
        values = [ndcg(scores, gains_of(group.labels), name.k) for scores, group in zip(lists, groups, strict=True)]
        return mean(values)

    return Evaluation(f"held-out {name}", value)


def _ranking_of_task(plan: Plan, learner: Learner, data: Path | None) -> Evaluation:
    """A task's metric over a first stage's candidates, on a split that is not the one that boards test on."""
    dev = plan.dev
    task = single_task(dev.task)
    convention = task.convention
    if dev.split == task.split:
        what = f"split {dev.split} of {task.name} is what boards test on; take another one for dev"
        raise BadInput(what, file=plan.recipe.file)
    metric = dev.metric or task.headline

    collection = open_collection(task, data, None)
    qrels = dict(sorted(collection.qrels(dev.split).items())[: dev.queries])
    queries = {query.id: query for query in collection.queries() if query.id in qrels}
    first_stage = retriever(dev.retriever, Passages(collection), fields=convention.text_fields)
    run = search(first_stage, list(queries.values()), dev.depth, convention, "dev")
    passages = SelectedTexts(collection.passages(), set(run.passage_ids.to_pylist()), convention.text_fields)

    rankings = {query_id: run.ranking(query_id) for query_id in run.query_ids}
    items: list[ModelInput] = []
    for query_id, ids in rankings.items():
        items += learner.items(queries[query_id], [passages[id] for id in ids])

    def value() -> float:
        scores = iter(scores_of(learner, items).tolist())
        reranked = {query_id: {id: next(scores) for id in ids} for query_id, ids in rankings.items()}
        _, values = measure(qrels, run_of("dev", reranked), [metric], threshold=convention.relevance_threshold)
        return mean(values[metric].tolist())

    return Evaluation(f"{metric} on {task.name} ({dev.split}, best {dev.depth} of {dev.retriever})", value)


def scores_of(learner: Learner, items: Sequence[ModelInput]) -> np.ndarray:
    """float32 `[n]`, with dropout off; the module is left as it was found."""
    values = np.zeros(len(items), np.float32)
    trains = learner.module.training
    learner.module.eval()
    with torch.no_grad():  # what a module keeps of a forward in inference mode could not be learnt through later
        for batch in batches([len(item.ids) for item in items], budget_of(learner.device)):
            values[batch] = learner.module(*learner.inputs([items[i] for i in batch])).float().cpu().numpy()
    learner.module.train(trains)
    return values


def gains_of(labels: Sequence[float]) -> np.ndarray:
    """The labels where they are 1 and 0; else of each 1 / its place from the highest down."""
    values = np.asarray(labels, np.float64)
    if set(labels) <= {0.0, 1.0}:
        return values
    places = 1 + (values[None, :] > values[:, None]).sum(axis=1)
    return 1.0 / places


def ndcg(scores: np.ndarray, gains: np.ndarray, k: int | None) -> float:
    """nDCG@k of one list, passages of one score in their worst order; 0 where there is no gain."""
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))[:k]
    ranked = gains[np.lexsort((gains, -scores))][:k]
    ideal = float((np.sort(gains)[::-1][:k] * discounts).sum())
    return float((ranked * discounts).sum()) / ideal if ideal else 0.0
