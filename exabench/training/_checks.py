"""Checks: what the finished model is worth on test candidates, against the first stage and against what it began as."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.catalogue import single_task
from exabench.errors import BadInput, ExabenchError
from exabench.nouns import Progress, Run
from exabench.reranking import Reranking, make_candidates
from exabench.retrievers import RETRIEVERS
from exabench.statistics import holm
from exabench.systems import reranker
from exabench.training._folder import Checked

if TYPE_CHECKING:
    from exabench.training._plan import Check, Plan


def checked(plan: Plan, model: Path, lock: Path, data: Path | None, progress: Progress) -> list[Checked]:
    """Every check of the plan, the model read from its folder as others will read it; p-values corrected over all.

    Checks that differ by their metric alone share one ranking. One whose collection is not at hand is left out, which
    `progress` says: a finished training is not lost for it.
    """
    models: list[Any] = []
    ranked: dict[Hashable, tuple[Reranking, list[Run]]] = {}
    found = []
    for done, check in enumerate(plan.checks, 1):
        over = (check.task, check.candidates, check.depth)
        try:
            stage = ranked[over][0] if over in ranked else _stage(check, lock, data)
        except ExabenchError as error:
            progress(done, len(plan.checks), f"check on {check.task} left out: {error}")
            continue
        models = models or [reranker(plan.reranker, model=str(model), **plan.options), _start(plan, lock)]
        if over not in ranked:
            ranked[over] = stage, [stage.ranked(one, plan.recipe.name)[0] for one in models]
        measured = stage.by(check.metric)
        result, before = (measured.result(plan.recipe.name, "model", run) for run in ranked[over][1])
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


def _stage(check: Check, lock: Path, data: Path | None) -> Reranking:
    """The task with its candidates: a published run beside the collection, else what a first stage finds in it."""
    task, depth = single_task(check.task), check.depth
    file = Path(data or ".") / task.name / "runs" / f"{check.candidates}.trec"
    if data and file.is_file():
        frozen = make_candidates(task, "run_file", depth, data=data, lock=lock, options={"file": str(file)})
    elif check.candidates in RETRIEVERS:
        frozen = make_candidates(task, check.candidates, depth, data=data, lock=lock)
    else:
        raise BadInput(f"{check.candidates!r} is no first stage, and no run {file.name} lies beside the collection")
    return Reranking(task, *frozen, data, lock)


def _start(plan: Plan, lock: Path) -> Any:
    """What the model began as: the same reranker, or where its head is new the bi-encoder that its weights were."""
    given: dict[str, Any] = {"model": plan.model, "revision": plan.revision, "lock": lock}
    try:
        return reranker(plan.reranker, **given, **plan.options)
    except BadInput:
        return reranker("bi_encoder", **given)
