"""Dev: how good the model is in the middle of training, on rows held out or on queries that no board tests on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from exabench.bench.candidates import search
from exabench.core.errors import BadInput
from exabench.measure.metric_values import MetricName, mean, measure
from exabench.measure.runs import run_of
from exabench.models.batches import batches, budget_of
from exabench.parts.assembly import retriever
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import Passages, SelectedTexts, open_collection

if TYPE_CHECKING:
    from exabench.models.learner import Learner
    from exabench.models.templates import ModelInput
    from exabench.training.gradients import Encoded, Gradient
    from exabench.training.groups import Groups
    from exabench.training.loading import Loading
    from exabench.training.plan import Plan

LOOKED_AT = 20  # held-out groups, to see whether any has an order


class Evaluation(Protocol):
    """A number that is better when it is higher; `metric` is its name."""

    metric: str

    def __call__(self) -> float:
        """The model's value as it stands now."""


def dev_of(
    plan: Plan, learner: Learner, held: Groups, loading: Loading, gradient: Gradient, data: Path | None
) -> Evaluation | None:
    """The evaluation that the plan asks for, or None.

    Raises BadInput where nothing is held out, and for the queries that a board tests on.
    """
    if not plan.dev.every:
        return None
    if plan.dev.task:
        return HeldOutTask(plan, learner, data)
    if not len(held):
        what = "dev asks for evaluations, but no rows are held out; give dev.groups or dev.task"
        raise BadInput(what, file=plan.recipe.file)
    groups = [loading.encoded(group) for group in held]
    has_lists = any(len(group.items) > 1 for group in groups[:LOOKED_AT])
    if plan.dev.metric == "loss" or not has_lists:
        return HeldOutLoss(gradient, groups)
    return HeldOut(plan.dev.metric or "nDCG@10", learner, groups)


class HeldOut:
    """nDCG on held-out groups. Gain: the label where labels are 1 and 0, else 1 / place in the teacher's order.

    The reciprocal is what TWOLAR validates with. Passages with one score count in their worst order.
    """

    def __init__(self, metric: str, learner: Learner, groups: Sequence[Encoded]) -> None:
        name = MetricName.parse(metric)
        if name.metric != "nDCG":
            raise BadInput(f"held-out groups are measured by nDCG@k, not {metric}")
        self.metric = f"held-out {name}"
        self._k = name.k
        self._learner = learner
        self._groups = groups

    def __call__(self) -> float:
        """The mean over the groups."""
        scores = scores_of(self._learner, [item for group in self._groups for item in group.items])
        values = []
        begin = 0
        for group in self._groups:
            end = begin + len(group.items)
            values.append(ndcg(scores[begin:end], gains_of(group.labels), self._k))
            begin = end
        return mean(values)


class HeldOutLoss:
    """The loss on held-out groups, its sign turned: for single passages, which make no ranking."""

    metric = "held-out -loss"

    def __init__(self, gradient: Gradient, groups: Sequence[Encoded]) -> None:
        self._gradient = gradient
        self._groups = groups

    def __call__(self) -> float:
        """Minus the mean loss."""
        return -self._gradient.value(self._groups)


class HeldOutTask:
    """A task's metric over a first stage's candidates, on a split that is not the one that boards test on."""

    def __init__(self, plan: Plan, learner: Learner, data: Path | None) -> None:
        dev = plan.dev
        task = single_task(dev.task)
        if dev.split == task.split:
            what = f"split {dev.split} of {task.name} is what boards test on; take another one for dev"
            raise BadInput(what, file=plan.recipe.file)
        self._learner = learner
        self._threshold = task.convention.relevance_threshold
        self._metric = dev.metric or task.headline
        self.metric = f"{self._metric} on {task.name} ({dev.split}, best {dev.depth} of {dev.retriever})"
        collection = open_collection(task, data, None)
        self._qrels = dict(sorted(collection.qrels(dev.split).items())[: dev.queries])
        queries = {query.id: query for query in collection.queries() if query.id in self._qrels}
        fields = task.convention.text_fields
        first_stage = retriever(dev.retriever, Passages(collection), fields=fields)
        run = search(first_stage, list(queries.values()), dev.depth, task.convention, "dev")
        passages = SelectedTexts(collection.passages(), set(run.passage_ids.to_pylist()), fields)
        self._rankings = {query_id: run.ranking(query_id) for query_id in run.query_ids}
        self._items: list[ModelInput] = []
        for query_id, ids in self._rankings.items():
            self._items += learner.items(queries[query_id], [passages[id] for id in ids])

    def __call__(self) -> float:
        """The mean over the queries."""
        scores = iter(scores_of(self._learner, self._items).tolist())
        found = {query_id: {id: next(scores) for id in ids} for query_id, ids in self._rankings.items()}
        _, values = measure(self._qrels, run_of("dev", found), [self._metric], threshold=self._threshold)
        return mean(values[self._metric].tolist())


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
