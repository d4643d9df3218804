"""A worker's part of a board: load a submission's model, rerank, measure, and put the result where it is collected."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from exabench.bench.candidates import RerankEvaluator
from exabench.bench.ledger import Ledger, read_result
from exabench.bench.submissions import EXTERNAL_RUN_KINDS
from exabench.core.errors import BadInput
from exabench.core.nouns import Result, Run, Submission
from exabench.core.options import accepts
from exabench.measure.runs import read_run
from exabench.parts.assembly import reranker as reranker_of
from exabench.parts.rerankers import RERANKERS, Reranker
from exabench.tasks.catalogue import single_task

Computed: TypeAlias = tuple[Result, Run | None] | None
"""A new result with the run that exabench made for it; None where the filed result still holds."""

_DECLARED = ("strategy", "template", "precision")
_EVALUATORS = 64  # candidate lists with their judgements and texts that a worker holds


@dataclass(frozen=True)
class WorkItem:
    """One submission on all candidate lists of one task, in their order.

    In its last bit a score depends on the batch that it was part of, and the lists of one task share texts. A model
    goes through them one after the other, so that every engine gives the same bytes.
    """

    slug: str
    task: str
    candidates: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.slug} on {self.task} ({', '.join(self.candidates)})"


class BoardWorker:
    """One worker: the model of its last submission stays loaded, and so do the lists that it read.

    A model that is not `trusted` runs in the sandbox, never in this process.
    """

    def __init__(self, board: Path, data: Path | None, trusted: bool) -> None:
        self._ledger = Ledger(board)
        self._data = data
        self._trusted = trusted
        self._evaluator = functools.lru_cache(maxsize=_EVALUATORS)(self._read_evaluator)
        self._loaded: tuple[Submission, Reranker] | None = None

    def __call__(self, item: WorkItem) -> list[Computed]:
        """Compute an item on each of its lists."""
        submission = self._ledger.submission(self._ledger.submission_file(item.slug))
        return [self._compute(submission, self._evaluator(item.task, name)) for name in item.candidates]

    def _read_evaluator(self, task: str, name: str) -> RerankEvaluator:
        candidates = self._ledger.one_candidates(task, name)
        run = self._ledger.candidates_run(candidates)
        return RerankEvaluator(single_task(task), candidates, run, self._data, self._ledger.lock)

    def _compute(self, submission: Submission, evaluator: RerankEvaluator) -> Computed:
        names = (submission.slug, evaluator.task.name, evaluator.candidates.name)
        file = self._ledger.result_file(*names)
        run_file = self._ledger.run_file(*names)
        if submission.kind in EXTERNAL_RUN_KINDS:
            result = evaluator.result(submission.slug, "run", read_run(run_file, submission.slug))
            return None if _is_current(file, result) else (result, None)
        if submission.kind == "baseline":
            reranker = reranker_of(submission.reranker, qrels=evaluator.qrels)
            command = evaluator.command(submission.slug)  # it runs anywhere without --trusted
        else:
            reranker = self._load(submission)
            command = evaluator.command(submission.slug, trusted=self._trusted)
        result, run = evaluator.evaluate(reranker, submission.slug, submission.kind, command)
        if run_file.is_file() and _is_current(file, result):
            return None
        return evaluator.time_latency(result, reranker), run

    def _load(self, submission: Submission) -> Reranker:
        """The submission's reranker; the one before it is let go first, so that one model is in memory at a time."""
        if self._loaded is not None and self._loaded[0] == submission:
            return self._loaded[1]
        if self._loaded is not None and hasattr(self._loaded[1], "close"):
            self._loaded[1].close()
        self._loaded = None
        options = reranker_options(submission)
        lock = self._ledger.lock
        reranker: Reranker
        if self._trusted:
            reranker = reranker_of(submission.reranker, lock=lock, **options)
        else:
            from exabench.bench.sandbox import Sandboxed

            reranker = Sandboxed(submission.reranker, options.pop("model"), options, lock=lock)
        self._loaded = (submission, reranker)
        return reranker


def reranker_options(submission: Submission) -> dict[str, Any]:
    """The options of the reranker of a submission of kind model, its model and revision among them.

    `strategy`, `template` and `precision` are descriptions where the part has no such option.
    """
    options: dict[str, Any] = {}
    known = accepts(RERANKERS[submission.reranker])
    for name in _DECLARED:
        if name in known and getattr(submission, name):
            options[name] = getattr(submission, name)
    options.update(submission.options)
    options["model"] = submission.model
    if submission.revision:
        options["revision"] = submission.revision
    return options


def _is_current(file: Path, result: Result) -> bool:
    """Is the filed result the same but for its date and its timing? An edited one never is."""
    try:
        return file.is_file() and _undated(read_result(file)) == _undated(result)
    except BadInput:
        return False


def _undated(result: Result) -> Result:
    cost = result.cost
    if cost is not None:
        cost = replace(cost, timing=None)
    return replace(result, created="", cost=cost)
