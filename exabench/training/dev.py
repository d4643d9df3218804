"""Dev: how good the model is in the middle of training, on rows held out or on queries that no board tests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from exabench.batches import batches, budget_of
from exabench.catalogue import single_task
from exabench.collections._choose import open_collection
from exabench.collections._texts import Passages, Texts
from exabench.errors import BadInput
from exabench.metrics._measure import MetricName, mean, measure
from exabench.reranking import searched
from exabench.runs import run_of
from exabench.systems import retriever

if TYPE_CHECKING:
    from exabench.nouns import Passage, Qrels, Query, Run
    from exabench.rerankers._learning import Learner
    from exabench.rerankers._templates import Item
    from exabench.training.groups import Groups
    from exabench.training.loading import Loading
    from exabench.training.plan import Plan
    from exabench.training.gradients import Encoded, Gradient


class Dev(Protocol):
    """A number that is better when it is higher; `metric` is its name."""

    metric: str

    def __call__(self) -> float:
        """The model's value as it stands now."""


def dev_of(
    plan: Plan, learner: Learner, held: Groups, loading: Loading, gradient: Gradient, data: Path | None
) -> Dev | None:
    """What the plan evaluates on; None where it asks for nothing, or nothing is held out.

    Raises BadInput for the queries that a board tests on.
    """
    if not plan.dev.every:
        return None
    if plan.dev.task:
        return TaskDev(plan, learner, data)
    if not len(held):
        raise BadInput(
            "dev asks for evaluations, but no rows are held out; give dev.groups or dev.task", file=plan.recipe.file
        )
    ranked = plan.dev.metric != "loss" and any(len(held[n].passages) > 1 for n in range(min(20, len(held))))
    groups = [loading.encoded(held[n]) for n in range(len(held))]
    return HeldOut(plan.dev.metric or "nDCG@10", learner, groups) if ranked else HeldOutLoss(gradient, groups)


class HeldOut:
    """nDCG on held-out groups. Gain: the label where labels are 1 and 0, else 1 / place in the teacher's order.

    The reciprocal is what TWOLAR validates with. Passages with one score count in their worst order.
    """

    def __init__(self, metric: str, learner: Learner, groups: Sequence[Encoded]) -> None:
        name = MetricName.parse(metric)
        if name.metric != "nDCG":
            raise BadInput(f"held-out groups are measured by nDCG@k, not {metric}")
        self.metric, self._k, self._learner, self._groups = f"held-out {name}", name.k, learner, groups

    def __call__(self) -> float:
        """The mean over the groups."""
        scores = scores_of(self._learner, [item for group in self._groups for item in group.items])
        ends = np.cumsum([len(group.items) for group in self._groups])
        rows = np.split(scores, ends[:-1])
        return mean(_ndcg(row, _gains(group.labels), self._k) for row, group in zip(rows, self._groups, strict=True))


class HeldOutLoss:
    """The loss on held-out groups, its sign turned: for single passages, which make no ranking."""

    metric = "held-out -loss"

    def __init__(self, gradient: Gradient, groups: Sequence[Encoded]) -> None:
        self._gradient, self._groups = gradient, groups

    def __call__(self) -> float:
        """Minus the mean loss."""
        return -self._gradient.value(self._groups)


class TaskDev:
    """A task's metric over a first stage's candidates, on a split that is not the one that boards test on."""

    def __init__(self, plan: Plan, learner: Learner, data: Path | None) -> None:
        dev, task = plan.dev, single_task(plan.dev.task)
        if dev.split == task.split:
            raise BadInput(
                f"split {dev.split} of {task.name} is what boards test on; take another one for dev",
                file=plan.recipe.file,
            )
        collection = open_collection(task, data, None)
        self._qrels: Qrels = dict(sorted(collection.qrels(dev.split).items())[: dev.queries])
        queries: Mapping[str, Query] = {q.id: q for q in collection.queries() if q.id in self._qrels}
        fields = task.convention.text_fields
        first_stage = retriever(dev.retriever, Passages(collection), fields=fields)
        run: Run = searched(first_stage, list(queries.values()), dev.depth, task.convention, "dev")
        wanted = set(run.passage_ids.to_pylist())
        passages: Mapping[str, Passage] = Texts(collection.passages(), wanted, fields)
        self._rankings = {query_id: run.ranking(query_id) for query_id in run.query_ids}
        jobs = ((queries[query_id], [passages[id] for id in ids]) for query_id, ids in self._rankings.items())
        self._items = [item for job in jobs for item in learner.items(*job)]
        self._threshold, self._learner = task.convention.relevance_threshold, learner
        self._metric = dev.metric or task.headline
        self.metric = f"{self._metric} on {task.name} ({dev.split}, best {dev.depth} of {dev.retriever})"

    def __call__(self) -> float:
        """The mean over the queries."""
        scores = iter(scores_of(self._learner, self._items).tolist())
        found = {query_id: {id: next(scores) for id in ids} for query_id, ids in self._rankings.items()}
        _, values = measure(self._qrels, run_of("dev", found), [self._metric], threshold=self._threshold)
        return mean(values[self._metric].tolist())


def scores_of(learner: Learner, items: Sequence[Item]) -> np.ndarray:
    """float32 `[n]`, with dropout off; the module is left as it was found."""
    values = np.zeros(len(items), np.float32)
    trains = learner.module.training
    learner.module.eval()
    with torch.no_grad():  # what a module keeps of a forward in inference mode could not be learnt through later
        for batch in batches([len(item.ids) for item in items], budget_of(learner.device)):
            values[batch] = learner.module(*learner.inputs([items[i] for i in batch])).float().cpu().numpy()
    learner.module.train(trains)
    return values


def _gains(labels: Sequence[float]) -> np.ndarray:
    values = np.asarray(labels, np.float64)
    if set(values.tolist()) <= {0.0, 1.0}:
        return values
    return 1.0 / (1 + np.array([(values > value).sum() for value in values]))


def _ndcg(scores: np.ndarray, gains: np.ndarray, k: int | None) -> float:
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))[:k]
    ranked, best = gains[np.lexsort((gains, -scores))][:k], np.sort(gains)[::-1][:k]
    ideal = float((best * discounts[: len(best)]).sum())
    return float((ranked * discounts[: len(ranked)]).sum()) / ideal if ideal else 0.0
