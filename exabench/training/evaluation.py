"""Evaluation: dev values while a model is trained, and the checks of a finished one.

Dev is measured on rows held out, or on queries that no board tests on. A check measures the finished model on test
candidates, against the first stage and against the model that it began as.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exabench.bench.candidates import RerankEvaluator, make_candidates, search
from exabench.core.errors import BadInput, ExabenchError, printable
from exabench.core.files import read_json
from exabench.core.nouns import Passage, Progress, Result, Run
from exabench.hub.client import model_folder
from exabench.measure.interpolation import fit_weight
from exabench.measure.metric_values import MetricName, mean, measure
from exabench.measure.runs import run_of, select_queries
from exabench.measure.statistics import holm, paired_test
from exabench.models.batches import batches, budget_of
from exabench.models.learner import Learner
from exabench.models.templates import ModelInput
from exabench.parts.assembly import reranker, retriever
from exabench.parts.reranking import rerank
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.catalogue import from_recipe, single_task
from exabench.tasks.collections import Passages, SelectedTexts, open_collection, passages_of
from exabench.tasks.held_out import HeldOut, judged_queries
from exabench.training.gradients import Gradient
from exabench.training.groups import EncodedGroup, GroupLoader, Groups
from exabench.training.recipe import Check, DevPlan, Plan
from exabench.training.start_model import has_many_labels

SAMPLED_GROUPS = 20  # held-out groups, to see whether any has an order


@dataclass(frozen=True)
class Evaluation:
    """A number that is better when it is higher: its name, and a function that measures the model as it stands."""

    metric: str
    value: Callable[[], float]


def make_evaluation(
    plan: Plan, held_out: Groups, loader: GroupLoader, gradient: Gradient, data: Path | None
) -> Evaluation | None:
    """The evaluation that the plan asks for, or None.

    Raises BadInput where nothing is held out, and for the queries that a board tests on.
    """
    dev = plan.dev
    if not dev.every:
        return None
    if dev.task:
        lists = dev_lists(dev, loader.groups.query_texts, data, plan.recipe.file)
        return _ranking_of_task(plan, loader.learner, lists)
    if not len(held_out):
        raise BadInput(
            "dev asks for evaluations, but no rows are held out; give dev.groups or dev.task", file=plan.recipe.file
        )
    groups = [loader.encode(held_out[number]) for number in range(len(held_out))]
    has_lists = any(len(group.labels) > 1 for group in groups[:SAMPLED_GROUPS])
    if has_lists and dev.metric != "loss":
        return held_out_ndcg(dev.metric or "nDCG@10", loader.learner, groups)
    return Evaluation("held-out -loss", lambda: -gradient.value(groups))  # single passages make no ranking


def held_out_ndcg(metric: str, learner: Learner, groups: Sequence[EncodedGroup]) -> Evaluation:
    """nDCG on held-out groups. Gain: the label where labels are 1 and 0, else 1 / place in the teacher's order.

    The reciprocal is what TWOLAR validates with. Passages with one score count in their worst order. Raises BadInput
    for another metric.
    """
    name = MetricName.parse(metric)
    if name.metric != "nDCG":
        raise BadInput(f"held-out groups are measured by nDCG@k, not {metric}")
    lists = [group.items for group in groups]
    sizes = [len(group.labels) for group in groups]

    def value() -> float:
        values = []
        for scores, group in zip(scores_of(learner, lists, sizes), groups, strict=True):
            values.append(ndcg(scores, gains_of(group.labels), name.k))
        return mean(values)

    return Evaluation(f"held-out {name}", value)


@dataclass(frozen=True)
class DevLists:
    """A first stage's candidates of the queries that dev names, with the texts of their passages."""

    queries: HeldOut
    run: Run
    passages: Mapping[str, Passage]


def dev_lists(dev: DevPlan, fitted: set[str], data: Path | None, file: Path | None = None) -> DevLists:
    """The candidates of dev's queries, of a split that is not the one that boards test on.

    Queries whose text is `fitted` are left out: of those a higher value would say nothing. `file` is the recipe, which
    errors name. Raises BadInput for the split that is tested, and where no query is left.
    """
    named = from_recipe(dev.task, file) if file else dev.task
    task = single_task(named, data=data)
    convention = task.convention
    if dev.split == task.split:
        raise BadInput(f"split {dev.split} of {task.name} is what boards test on; use another one for dev", file=file)

    # Candidates are searched and inputs built once: between evaluations only the weights change.
    collection = open_collection(task, data, None)
    judged = collection.qrels(dev.split)
    fresh = {}
    for query in collection.queries():
        if query.id in judged and query.text.strip() not in fitted:
            fresh[query.id] = query
    if not fresh:
        wrong = f"split {dev.split} of {task.name} has only queries that are trained on; use another one for dev"
        raise BadInput(wrong, file=file)
    queries = dict(sorted(fresh.items())[: dev.queries])  # sorted: the same queries everywhere
    qrels = {query_id: judged[query_id] for query_id in queries}
    first_stage = retriever(dev.retriever, Passages(collection), fields=convention.text_fields, task=task)
    run = search(first_stage, list(queries.values()), dev.depth, convention, "dev")
    wanted = set(run.passage_ids.to_pylist())
    passages = SelectedTexts(passages_of(collection, wanted), wanted, convention.text_fields)
    held = HeldOut(f"{task.name}/{dev.split}", task, queries, qrels)
    return DevLists(held, run, passages)


def _ranking_of_task(plan: Plan, learner: Learner, lists_of_dev: DevLists) -> Evaluation:
    """A task's metric over the first stage's candidates of dev."""
    dev = plan.dev
    task = lists_of_dev.queries.task
    metric = str(MetricName.parse(dev.metric or task.headline))
    queries = lists_of_dev.queries.queries
    qrels = lists_of_dev.queries.qrels
    run = lists_of_dev.run
    passages = lists_of_dev.passages

    rankings = {query_id: run.ranking(query_id) for query_id in run.query_ids}
    lists = []
    for query_id, ids in rankings.items():
        lists.append(learner.items(queries[query_id], [passages[id] for id in ids]))
    sizes = [len(ids) for ids in rankings.values()]

    def value() -> float:
        reranked = {}
        for (query_id, ids), scores in zip(rankings.items(), scores_of(learner, lists, sizes), strict=True):
            reranked[query_id] = dict(zip(ids, scores.tolist(), strict=True))
        _, values = measure(qrels, run_of("dev", reranked), [metric], threshold=task.convention.relevance_threshold)
        return mean(values[metric].tolist())

    over = f"{len(queries)} queries of {dev.split}, best {dev.depth} of {dev.retriever}"
    return Evaluation(f"{metric} on {task.name} ({over})", value)


def scores_of(learner: Learner, lists: Sequence[Sequence[ModelInput]], sizes: Sequence[int]) -> Sequence[np.ndarray]:
    """The scores float32 of each list of `sizes` passages, given its items, with dropout off.

    Equal items (a passage in several lists of a dual encoder) are computed once. The module is then in the mode that it
    was in before.
    """
    places: dict[bytes, int] = {}
    distinct: list[ModelInput] = []
    wanted = []  # for each item, its place among the distinct ones
    for item in chain.from_iterable(lists):
        if item.key not in places:
            places[item.key] = len(distinct)
            distinct.append(item)
        wanted.append(places[item.key])

    outputs = []
    order = []
    trains = learner.module.training
    learner.module.eval()
    with torch.no_grad():  # what a module keeps of a forward in inference mode could not be learnt through later
        lengths = [len(item.ids) for item in distinct]
        for batch in batches(lengths, budget_of(learner.device)):
            inputs = learner.inputs([distinct[i] for i in batch])
            outputs.append(learner.module(*inputs).float().cpu())
            order.append(batch)
        back = np.argsort(np.concatenate(order))[wanted]  # batches are cut by length
        together = learner.joined(outputs)
        scores = []
        # One list at a time: the vectors of all tokens of all lists are not copied at once.
        for rows, size in zip(torch.from_numpy(back).split([len(items) for items in lists]), sizes, strict=True):
            scores.append(learner.scores(together[rows], [size]).numpy())
    learner.module.train(trains)
    return scores


def gains_of(labels: Sequence[float]) -> np.ndarray:
    """The labels where they are 1 and 0; else of each 1 / its place from the highest down."""
    values = np.asarray(labels, np.float64)
    if set(labels) <= {0.0, 1.0}:
        return values
    places = 1 + (values[None, :] > values[:, None]).sum(axis=1)  # equal labels share the first place of theirs
    return 1.0 / places


def ndcg(scores: np.ndarray, gains: np.ndarray, k: int | None) -> float:
    """nDCG@k of one list, passages of one score in their worst order; 0 where there is no gain."""
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))[:k]
    ranked = gains[np.lexsort((gains, -scores))][:k]  # by score downwards, and by gain upwards within one score
    best = np.sort(gains)[::-1][:k]
    ideal = float((best * discounts).sum())
    if not ideal:
        return 0.0
    return float((ranked * discounts).sum()) / ideal


@dataclass
class BaselineComparison:
    """Another order of the same candidates: its value, by how much this model's is higher, and how sure that is.

    `p` is the two-sided paired t-test's, `p_holm` corrected over all checks of the training.
    """

    value: float
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float = 1.0


@dataclass(frozen=True)
class CheckResult:
    """What the model got over one frozen list of candidates, against their own order and its own starting point.

    `published` is the number that the recipe should reproduce: `value` and `source`.
    """

    task: str
    candidates: str
    depth: int
    metric: str
    queries: int
    value: float
    interval: tuple[float, float]
    first_stage: BaselineComparison
    start: BaselineComparison | None = None
    published: Mapping[str, Any] | None = None


def check_result_of(result: Result, start: Result, published: Mapping[str, Any] | None = None) -> CheckResult:
    """The headline metric of a Result, and that of the starting point on the same candidates and queries."""
    metric = result.measurement.headline
    gain = result.gain
    ours = result.measurement.per_query[metric]
    theirs = start.measurement.per_query[metric]
    test = paired_test([np.array([*ours.values()])], [np.array([theirs[query] for query in ours])])
    first_stage = BaselineComparison(result.first_stage[metric], gain["difference"], tuple(gain["interval"]), gain["p"])
    return CheckResult(
        task=result.task,
        candidates=result.candidates.name,
        depth=result.candidates.depth,
        metric=metric,
        queries=result.measurement.queries,
        value=result[metric],
        interval=result.interval,
        first_stage=first_stage,
        start=BaselineComparison(start[metric], test.difference, test.interval, test.p),
        published=published,
    )


@dataclass(frozen=True)
class Interpolation:
    """The weights by which scores are mixed with the first stage's: of the trained model, and of the one it began as.

    `report` is what training.json says of them.
    """

    weight: float
    start: float
    report: Mapping[str, Any]


def fit_interpolation(plan: Plan, folder: Path, lock: Path, lists: DevLists) -> Interpolation:
    """The weights that rank dev's queries best: of the model in `folder`, and of its start, which gets another one.

    A gain over the start is then what the training gave, and not what the first stage did.
    """
    held = lists.queries
    fitted = []
    for model in _models(plan, folder, lock):
        reranked, _ = rerank(model, lists.run, held.queries, lists.passages, plan.recipe.name)
        threshold = held.task.convention.relevance_threshold
        fitted.append(fit_weight(reranked, lists.run, held.qrels, held.name, threshold))
    own, start = fitted
    return Interpolation(own.weight, start.weight, {**own.as_json(), "start": start.as_json()})


def fixed_interpolation(weight: float) -> Interpolation:
    """A weight that the recipe gives."""
    return Interpolation(weight, weight, {"weight": weight})


def without_tested(plan: Plan, lists: DevLists, data: Path | None) -> DevLists:
    """The lists without the queries of a check or of the task's own test. Raises BadInput where none is left."""
    held = lists.queries
    tested = [from_recipe(plan.dev.task, plan.recipe.file)]
    for check in plan.checks:
        tested.append(from_recipe(check.task, plan.recipe.file))
    for name in tested:
        task = single_task(name, data=data)
        try:
            collection = open_collection(task, data, needs="judgements")
            queries = judged_queries(collection, collection.qrels(task.split))
        except ExabenchError:  # what cannot be read here is not measured either
            continue
        held = held.apart_from(queries)
    return replace(lists, queries=held, run=select_queries(lists.run, set(held.qrels)))


def run_checks(
    plan: Plan,
    folder: Path,
    lock: Path,
    data: Path | None,
    progress: Progress,
    interpolation: Interpolation | None = None,
) -> list[CheckResult]:
    """Every check of the plan on the model in `folder`, read as others will read it; p-values corrected over all.

    With an `interpolation` the scores of the model and of its start are mixed with the first stage's. Checks that
    differ only in their metric share one ranking. One whose collection is not available is left out, which `progress`
    says: a finished training is not lost for it.
    """
    models: list[Any] = []
    weights: list[float | None] = [None, None]
    if interpolation is not None:
        weights = [interpolation.weight, interpolation.start]
    rankings: dict[tuple[str, str, int], Any] = {}
    results = []
    for done, check in enumerate(plan.checks, 1):
        over = (check.task, check.candidates, check.depth)
        if over not in rankings:
            try:
                evaluator = evaluator_of(check, plan.recipe.file, data, lock)
            except ExabenchError as error:
                progress(done, len(plan.checks), f"check on {check.task} left out: {error}")
                continue
            if not models:  # only now: where every check is left out, nothing is loaded
                models = _models(plan, folder, lock)
            runs = []
            for model, weight in zip(models, weights, strict=True):
                runs.append(evaluator.rerank(model, plan.recipe.name, interpolate=weight)[0])
            rankings[over] = (evaluator, *runs)
        evaluator, run, run_of_start = rankings[over]
        measured = evaluator.by(check.metric)
        result = measured.result(plan.recipe.name, "model", run)
        start = measured.result(plan.recipe.name, "model", run_of_start)
        published = None
        if check.value is not None:
            published = {"value": check.value, "source": check.source}
        results.append(check_result_of(result, start, published))
        progress(done, len(plan.checks), f"checked on {check.task}")
    correct_p_values(results)
    return results


def evaluator_of(check: Check, file: Path, data: Path | None, lock: Path) -> RerankEvaluator:
    """What ranks the candidates of a check: a published run that is next to the collection, else of a first stage.

    `file` is the recipe's.
    """
    task = single_task(from_recipe(check.task, file), data=data)
    published = Path(data or ".") / task.name / "runs" / f"{check.candidates}.trec"
    first_stage = check.candidates
    options = {}
    if data and published.is_file():
        first_stage = "run_file"
        options["file"] = str(published)
    elif first_stage not in RETRIEVERS:
        raise BadInput(
            f"{printable(first_stage)!r} is not a first stage, and there is no run {published.name} next to the "
            "collection"
        )
    candidates, run = make_candidates(task, first_stage, check.depth, data=data, lock=lock, options=options)
    return RerankEvaluator(task, candidates, run, data, lock)


def _models(plan: Plan, folder: Path, lock: Path) -> list[Any]:
    """The trained reranker, and the one that the training began with."""
    return [reranker(plan.reranker, model=str(folder), **plan.options), start_model(plan, lock)]


def start_model(plan: Plan, lock: Path) -> Any:
    """The reranker that the training began with."""
    given: dict[str, Any] = {"model": plan.model, "revision": plan.revision, "lock": lock}
    try:
        return reranker(plan.reranker, **given, **plan.options)
    except BadInput:
        if has_many_labels(read_json(model_folder(plan.model, plan.revision, lock).path / "config.json")):
            return reranker(plan.reranker, model=str(lock.parent / "start"), **plan.options)  # one label's row
        # Its head is new: it began as the bi-encoder that its weights were.
        return reranker("bi_encoder", **given)


def correct_p_values(checks: Sequence[CheckResult]) -> None:
    """Set `p_holm` by Holm's correction over the checks of one training: over all first stages, and over all starts."""
    first_stages = [check.first_stage for check in checks]
    starts = [check.start for check in checks if check.start]
    for comparisons in (first_stages, starts):
        p_values = holm([comparison.p for comparison in comparisons])
        for comparison, p in zip(comparisons, p_values, strict=True):
            comparison.p_holm = p
