"""Checks: what the finished model is worth on test candidates, against the first stage and against what it began as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exabench.bench.candidates import RerankEvaluator, make_candidates
from exabench.core.errors import BadInput, ExabenchError
from exabench.core.nouns import Progress, Result
from exabench.measure.statistics import holm, paired_test
from exabench.parts.assembly import reranker
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.catalogue import single_task

if TYPE_CHECKING:
    from exabench.training.plan import Check, Plan


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
class Checked:
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

    @classmethod
    def of(cls, result: Result, start: Result | None = None, published: Mapping[str, Any] | None = None) -> Checked:
        """The headline metric of a Result. Raises BadInput for a `start` that was measured on something else."""
        measured = result.measurement
        metric = measured.headline
        gain = result.gain
        first_stage = BaselineComparison(
            result.first_stage[metric], gain["difference"], tuple(gain["interval"]), gain["p"]
        )
        return cls(
            task=result.task,
            candidates=result.candidates.name,
            depth=result.candidates.depth,
            metric=metric,
            queries=measured.queries,
            value=measured[metric],
            interval=measured.interval,
            first_stage=first_stage,
            start=_against(result, start) if start else None,
            published=published,
        )


def _against(result: Result, start: Result) -> BaselineComparison:
    metric = result.measurement.headline
    ours = result.measurement.per_query[metric]
    theirs = start.measurement.per_query[metric]
    if result.candidates.digest != start.candidates.digest or ours.keys() != theirs.keys():
        raise BadInput(f"{result.task}: the model and its start were measured on different candidates or queries")
    test = paired_test([np.array([*ours.values()])], [np.array([theirs[query] for query in ours])])
    return BaselineComparison(start[metric], test.difference, test.interval, test.p)


def run_checks(plan: Plan, model: Path, lock: Path, data: Path | None, progress: Progress) -> list[Checked]:
    """Every check of the plan, the model read from its folder as others will read it; p-values corrected over all.

    Checks that differ by their metric alone share one ranking. One whose collection is not at hand is left out, which
    `progress` says: a finished training is not lost for it.
    """
    models: list[Any] = []
    rankings: dict[tuple[str, str, int], Any] = {}
    found = []
    for done, check in enumerate(plan.checks, 1):
        over = (check.task, check.candidates, check.depth)
        if over not in rankings:
            try:
                evaluator = _evaluator(check, lock, data)
            except ExabenchError as error:
                progress(done, len(plan.checks), f"check on {check.task} left out: {error}")
                continue
            if not models:
                models = [reranker(plan.reranker, model=str(model), **plan.options), _start(plan, lock)]
            rankings[over] = evaluator, [evaluator.rerank(one, plan.recipe.name)[0] for one in models]
        evaluator, runs = rankings[over]
        measured = evaluator.by(check.metric)
        result, before = (measured.result(plan.recipe.name, "model", run) for run in runs)
        published = None if check.value is None else {"value": check.value, "source": check.source}
        found.append(Checked.of(result, before, published))
        progress(done, len(plan.checks), f"checked on {check.task}")
    return corrected(found)


def corrected(checks: Sequence[Checked]) -> list[Checked]:
    """Holm's correction over the checks of one training: once for all first stages, once for all starts."""
    first_stages = iter(holm([check.first_stage.p for check in checks]))
    starts = iter(holm([check.start.p for check in checks if check.start]))
    done = []
    for check in checks:
        first_stage = replace(check.first_stage, p_holm=next(first_stages))
        start = replace(check.start, p_holm=next(starts)) if check.start else None
        done.append(replace(check, first_stage=first_stage, start=start))
    return done


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


def _start(plan: Plan, lock: Path) -> Any:
    """What the model began as: the same reranker, or where its head is new the bi-encoder that its weights were."""
    given: dict[str, Any] = {"model": plan.model, "revision": plan.revision, "lock": lock}
    try:
        return reranker(plan.reranker, **given, **plan.options)
    except BadInput:
        return reranker("bi_encoder", **given)
