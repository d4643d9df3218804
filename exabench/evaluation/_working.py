"""Working: what one worker does with its share of a board: load a model, rerank, measure, put the result aside."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exabench.catalogue import single_task
from exabench.errors import BadInput
from exabench.evaluation._engines import Chain
from exabench.ledger import Ledger, read_result
from exabench.nouns import Result, Run, Submission
from exabench.rerankers import RERANKERS, Reranker
from exabench.reranking import Reranking
from exabench.runs import read_run
from exabench.submissions import SENT_IN
from exabench.systems import reranker as reranker_of

_DECLARED = ("strategy", "template", "precision")
_STAGES = 64  # candidate lists with their judgements and texts that a worker holds


def made_in(board: Path) -> Path:
    """Where workers put results until they are filed: beside the board, which only its one writer changes."""
    return board.parent / f".{board.name}.made"


@dataclass(frozen=True)
class Work:
    """How a worker begins on a board; `trusted`: models run in its own process, else in the sandbox."""

    board: Path
    data: Path | None
    trusted: bool = True

    def __call__(self) -> Callable[[Chain], list[Path]]:
        """The worker's share: a chain in, its result files out."""
        return _Worker(self).share


class _Worker:
    """One process's work: the model of its last submission stays loaded, and the lists that it read."""

    def __init__(self, work: Work) -> None:
        self._work, self._ledger = work, Ledger(work.board)
        self._made = Ledger(made_in(work.board))
        self._stage = functools.lru_cache(maxsize=_STAGES)(self._read_stage)
        self._loaded: tuple[Submission, Reranker] | None = None

    def share(self, chain: Chain) -> list[Path]:
        """Compute every cell of a chain and put aside what is new; the files where the results will be."""
        submission = self._ledger.submission(self._ledger.folder / "submissions" / f"{chain.slug}.toml")
        return [self._cell(submission, self._stage(chain.task, name)) for name in chain.candidates]

    def _read_stage(self, task: str, name: str) -> Reranking:
        ledger, frozen = self._ledger, self._ledger.one_candidates(task, name)
        return Reranking(single_task(task), frozen, ledger.candidates_run(frozen), self._work.data, ledger.lock)

    def _cell(self, submission: Submission, stage: Reranking) -> Path:
        names = (submission.slug, stage.task.name, stage.candidates.name)
        file = self._ledger.result_file(*names)
        if submission.kind in SENT_IN:
            run = read_run(self._ledger.run_file(*names), submission.slug)
            self._put_aside(file, stage.result(submission.slug, "run", run))
            return file
        baseline = submission.kind == "baseline"
        reranker = reranker_of(submission.reranker, qrels=stage.qrels) if baseline else self._model(submission)
        command = stage.command(submission.slug, trusted=self._work.trusted and not baseline)
        result, run = stage.measured(reranker, submission.slug, submission.kind, command)
        if not (self._ledger.run_file(*names).is_file() and _still_true(file, result)):
            self._put_aside(file, stage.timed(result, reranker), run)
        return file

    def _put_aside(self, file: Path, result: Result, run: Run | None = None) -> None:
        if run is None and _still_true(file, result):
            return
        if run is not None:
            self._made.add_run(result.submission, result.task, result.candidates.name, run)
        self._made.add_result(result)

    def _model(self, submission: Submission) -> Reranker:
        """The submission's reranker; the one before it is let go first, so that one model is in memory at a time."""
        if self._loaded is None or self._loaded[0] != submission:
            if self._loaded is not None and hasattr(self._loaded[1], "close"):
                self._loaded[1].close()
            self._loaded = None
            self._loaded = (submission, _loaded(submission, self._ledger.lock, self._work.trusted))
        return self._loaded[1]


def _loaded(submission: Submission, lock: Path, trusted: bool) -> Reranker:
    told = {key: getattr(submission, key) for key in _DECLARED if getattr(submission, key)}
    takes = takes_options(RERANKERS[submission.reranker])
    options = {key: value for key, value in told.items() if key in takes} | dict(submission.options)
    pinned = {"revision": submission.revision} if submission.revision else {}
    if not trusted:
        from exabench.sandbox import Sandboxed

        return Sandboxed(submission.reranker, submission.model, {**options, **pinned}, lock=lock)
    return reranker_of(submission.reranker, lock=lock, **{**options, "model": submission.model, **pinned})


def takes_options(part: Any) -> frozenset[str]:
    """The options of a part by name, those of its `Unpack[...]` among them."""
    found = set[str]()
    for parameter in inspect.signature(part).parameters.values():
        unpacked = re.fullmatch(r"(?:typing\.)?Unpack\[(\w+)\]", str(parameter.annotation))
        table = vars(sys.modules[part.__module__]).get(unpacked[1]) if unpacked else None
        found |= {parameter.name} if table is None else set(table.__annotations__)
    return frozenset(found)


def _still_true(file: Path, result: Result) -> bool:
    """Is the filed result the same but for its date and its timing? An edited one never is."""
    try:
        return file.is_file() and _undated(read_result(file)) == _undated(result)
    except BadInput:
        return False


def _undated(result: Result) -> Mapping[str, Any]:
    cost = replace(result.cost, timing=None) if result.cost else None
    return {**vars(result), "created": "", "cost": cost}
