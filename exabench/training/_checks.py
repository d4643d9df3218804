"""Checks: what the finished model is worth on test candidates, against the first stage and against what it began as."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exabench.catalogue import single_task
from exabench.errors import BadInput, ExabenchError
from exabench.nouns import Progress
from exabench.reranking import Reranking, make_candidates
from exabench.retrievers import RETRIEVERS
from exabench.systems import reranker
from exabench.training._folder import Check

if TYPE_CHECKING:
    from exabench.training import _plan
    from exabench.training._plan import Plan


def checked(plan: Plan, model: Path, lock: Path, data: Path | None, progress: Progress) -> Iterator[Check]:
    """Every check of the plan as measured, the model read from its folder as others will read it.

    One whose collection is not at hand is left out, which `progress` says: a finished training is not lost for it.
    """
    fitted: Any = None
    began: Any = None
    for done, check in enumerate(plan.checks, 1):
        try:
            stage = _stage(check, lock, data)
        except ExabenchError as error:
            progress(done, len(plan.checks), f"check on {check.task} left out: {error}")
            continue
        fitted = fitted or reranker(plan.reranker, model=str(model), **plan.options)
        began = began or _start(plan, lock)
        result, before = (stage.measured(one, plan.recipe.name, "model")[0] for one in (fitted, began))
        published = None if check.value is None else {"value": check.value, "source": check.source}
        yield Check.of(result, before, published)
        progress(done, len(plan.checks), f"checked on {check.task}")


def _stage(check: _plan.Check, lock: Path, data: Path | None) -> Reranking:
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
