"""Checks: what the finished model is worth on test candidates, against the first stage and against what it began as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exabench.bench.candidates import RerankEvaluator, make_candidates
from exabench.core.errors import BadInput, ExabenchError
from exabench.core.nouns import Progress, Result
from exabench.measure.statistics import holm, paired_test
from exabench.parts.assembly import reranker
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.catalogue import single_task
from exabench.training.recipe import Check, Plan


@dataclass(frozen=True)
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

    `published` is the number that the recipe is to reproduce: `value` and `source`.
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


def check_result(result: Result, start: Result, published: Mapping[str, Any] | None = None) -> CheckResult:
    """The headline metric of a Result, beside that of the starting point on the same candidates and queries."""
    metric = result.measurement.headline
    gain = result.gain
    ours = result.measurement.per_query[metric]
    theirs = start.measurement.per_query[metric]
    test = paired_test([np.array([*ours.values()])], [np.array([theirs[query] for query in ours])])
    return CheckResult(
        task=result.task,
        candidates=result.candidates.name,
        depth=result.candidates.depth,
        metric=metric,
        queries=result.measurement.queries,
        value=result[metric],
        interval=result.interval,
        first_stage=BaselineComparison(
            result.first_stage[metric], gain["difference"], tuple(gain["interval"]), gain["p"]
        ),
        start=BaselineComparison(start[metric], test.difference, test.interval, test.p),
        published=published,
    )


def run_checks(plan: Plan, model: Path, lock: Path, data: Path | None, progress: Progress) -> list[CheckResult]:
    """Every check of the plan, the model read from its folder as others will read it; p-values corrected over all.

    Checks that differ by their metric alone share one ranking. One whose collection is not at hand is left out, which
    `progress` says: a finished training is not lost for it.
    """
    models: list[Any] = []
    rankings: dict[tuple[str, str, int], Any] = {}
    results = []
    for done, check in enumerate(plan.checks, 1):
        over = (check.task, check.candidates, check.depth)
        if over not in rankings:
            try:
                evaluator = _evaluator(check, lock, data)
            except ExabenchError as error:
                progress(done, len(plan.checks), f"check on {check.task} left out: {error}")
                continue
            if not models:
                given: dict[str, Any] = {"model": plan.model, "revision": plan.revision, "lock": lock}
                try:
                    start_model = reranker(plan.reranker, **given, **plan.options)
                except BadInput:  # its head is new: it began as the bi-encoder that its weights were
                    start_model = reranker("bi_encoder", **given)
                models = [reranker(plan.reranker, model=str(model), **plan.options), start_model]
            rankings[over] = evaluator, [evaluator.rerank(one, plan.recipe.name)[0] for one in models]
        evaluator, runs = rankings[over]
        measured = evaluator.by(check.metric)
        result, start = (measured.result(plan.recipe.name, "model", run) for run in runs)
        published = None if check.value is None else {"value": check.value, "source": check.source}
        results.append(check_result(result, start, published))
        progress(done, len(plan.checks), f"checked on {check.task}")
    return correct(results)


def correct(checks: Sequence[CheckResult]) -> list[CheckResult]:
    """Holm's correction over the checks of one training: once for all first stages, once for all starts."""
    first_stages = iter(holm([check.first_stage.p for check in checks]))
    starts = iter(holm([check.start.p for check in checks if check.start]))
    results = []
    for check in checks:
        first_stage = replace(check.first_stage, p_holm=next(first_stages))
        start = check.start and replace(check.start, p_holm=next(starts))
        results.append(replace(check, first_stage=first_stage, start=start))
    return results


def _evaluator(check: Check, lock: Path, data: Path | None) -> RerankEvaluator:
    """The task with its candidates: a published run beside the collection, else what a first stage finds in it."""
    task = single_task(check.task)
    file = Path(data or ".") / task.name / "runs" / f"{check.candidates}.trec"
    if data and file.is_file():
        frozen = make_candidates(task, "run_file", check.depth, data=data, lock=lock, options={"file": str(file)})
    elif check.candidates in RETRIEVERS:
        frozen = make_candidates(task, check.candidates, check.depth, data=data, lock=lock)
    else:
        raise BadInput(f"{check.candidates!r} is no first stage, and no run {file.name} lies beside the collection")
    return RerankEvaluator(task, *frozen, data, lock)
