"""Speed of one model on this machine, for each back-end and precision: latency, pairs per second, memory, agreement.

Each combination is timed in a new process, so that neither what another one loaded nor its memory counts.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from exabench.bench.chosen_reranker import ChosenReranker
from exabench.core.errors import BadInput, ExabenchError, UnknownName
from exabench.core.nouns import Passage, Progress, Query, Task, Timing, silent
from exabench.core.options import accepts
from exabench.core.parallel import run_alone
from exabench.measure.metric_values import mean
from exabench.measure.rank_agreement import kendall_tau
from exabench.models.costs import hardware
from exabench.models.values import INT8, MODEL_BACKENDS, PRECISIONS, TORCH
from exabench.parts.assembly import check_part, reranker as reranker_of
from exabench.parts.rerankers import RERANKERS, Job, score_jobs
from exabench.tasks.catalogue import single_task
from exabench.tasks.collections import open_collection

REFERENCE = (TORCH, "float32")
"""The backend and the precision whose orders others are compared with."""


@dataclass(frozen=True)
class ModelSpeed:
    """How fast one backend is in one precision.

    `timing`: seconds of one query at a time, and pairs a second where queries are batched together; `loading`: seconds
    until the model was ready; `memory`: the most bytes that its process held, None where the system does not tell;
    `tau`: Kendall's tau-b of its order with that of torch in float32, the mean over queries, None where that is not
    among what was timed.
    """

    backend: str
    precision: str
    timing: Timing
    loading: float
    memory: int | None
    tau: float | None = None


@dataclass(frozen=True)
class SpeedTable:
    """The speeds of a model in the order in which they were asked for.

    `passages` is how many each query has; `refused` says, in a line each, which combinations cannot be timed and why.
    """

    model: str
    reranker: str
    task: str
    passages: int
    rows: tuple[ModelSpeed, ...]
    refused: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it."""
        return asdict(self)


def speed(
    model: str,
    *,
    backends: Sequence[str] = (),
    precisions: Sequence[str] = ("float32",),
    passages: int = 100,
    repeat: int = 10,
    task: str | Task = "mini",
    part: str = "",
    data: str | Path | None = None,
    board: str | Path | None = None,
    progress: Progress = silent,
    **options: Any,
) -> SpeedTable:
    """Time a model by each of `backends` (default: all installed that its part knows) in each of `precisions`.

    `repeat` queries of a task, each with `passages` passages of its collection, are scored one by one and then all
    together. `part` and `options` are as in `evaluate`. A script that calls this needs `if __name__ == "__main__":`,
    as for every new process. Raises UnknownName, BadInput where nothing can be timed or the collection is too small.
    """
    if passages < 1 or repeat < 1:
        raise BadInput("passages and repeat are whole numbers from 1 on")
    for name in backends:
        if name not in MODEL_BACKENDS:
            raise UnknownName("backend", name, MODEL_BACKENDS)
    known = (*PRECISIONS, INT8)
    for name in precisions:
        if name not in known:
            raise UnknownName("precision", name, known)
    chosen = ChosenReranker(model, options, part)
    chosen.find()
    assert chosen.found is not None, "a model is given by name"
    name = chosen.found.reranker
    if "precision" not in accepts(RERANKERS[name]):
        raise BadInput(f"reranker {name} loads no model, so there is nothing to time; give a model's folder or Hub id")
    found = single_task(task, data=data, board=board)
    jobs = _jobs(found, data, passages, repeat)
    # They load torch, for which nobody should wait who asked for what there is not.
    from exabench.models.backends import check_backend, installed_backends

    if not backends:
        backends = [TORCH]
        if "backend" in accepts(RERANKERS[name]):
            backends = installed_backends()
    rows = []
    scores: dict[tuple[str, str], list[list[float]]] = {}
    refused = []
    failures = []
    combinations = list(dict.fromkeys(itertools.product(backends, precisions)))
    for done, (backend, precision) in enumerate(combinations):
        progress(done, len(combinations), f"timed; now {backend} in {precision}")
        own = {**chosen.found.options, "precision": precision}
        if backend != TORCH:  # some parts know torch alone, and have no such option
            own["backend"] = backend
        try:
            check_backend(backend, precision, own.get("devices", ()))  # before a process is begun for it
            check_part(RERANKERS, name, own)
            timed = run_alone(_time, _Asked(name, own, jobs)).get()
        except ExabenchError as error:
            failures.append(error)
            refused.append(f"{backend} in {precision}: {error}")
            continue
        rows.append(ModelSpeed(backend, precision, timed.timing, timed.loading, timed.memory))
        scores[backend, precision] = timed.scores
    progress(len(combinations), len(combinations), "timed")
    if not rows:
        raise failures[0]
    compared = []
    for row in rows:
        compared.append(replace(row, tau=_agreement(scores.get(REFERENCE), scores[row.backend, row.precision])))
    return SpeedTable(chosen.label, name, found.name, passages, tuple(compared), tuple(refused))


def _jobs(task: Task, data: str | Path | None, passages: int, repeat: int) -> list[Job]:
    """Queries of a task with passages of its collection, other ones for every query as long as there are.

    Which passages they are makes no difference to the time. Raises BadInput for a collection that is too small.
    """
    collection = open_collection(task, data)
    queries = list(itertools.islice(collection.queries(), repeat))
    texts = list(itertools.islice(collection.passages(), passages * repeat))
    if len(texts) < passages or not queries:
        raise BadInput(f"the collection of {task.name} has only {len(texts)} passages; ask for no more than it has")
    texts += texts[:passages]  # the last query may need the first ones again
    jobs: list[Job] = []
    for place in range(repeat):
        start = place * passages % (len(texts) - passages)
        jobs.append((queries[place % len(queries)], texts[start : start + passages]))
    return jobs


class _Asked(NamedTuple):
    """What one process is to time."""

    part: str
    options: Mapping[str, Any]
    jobs: Sequence[tuple[Query, Sequence[Passage]]]

    def __str__(self) -> str:
        return f"{self.part} {self.options['model']}"


class _Timed(NamedTuple):
    """What it says: also the scores of each job."""

    timing: Timing
    loading: float
    memory: int | None
    scores: list[list[float]]


def _time(asked: _Asked) -> _Timed:
    """Time one reranker, in the process that it has for itself, with a store of scores that is empty.

    In the user's own one the scores of an earlier call would wait, and looking them up is no speed of a model.
    """
    with tempfile.TemporaryDirectory(prefix="exabench-") as scores:
        return _time_afresh(asked, scores)


def _time_afresh(asked: _Asked, store: str) -> _Timed:
    started = time.perf_counter()
    part: Any = reranker_of(asked.part, scores=store, **asked.options)
    part.score(*asked.jobs[0])  # the first call also fills caches and allocates
    loading = time.perf_counter() - started
    seconds = []
    for job in asked.jobs:
        started = time.perf_counter()
        part.score(*job)
        seconds.append(time.perf_counter() - started)
    p50, p95 = np.percentile(seconds, [50, 95]).tolist()
    started = time.perf_counter()
    scores = [list(found) for found, _ in score_jobs(part, iter(asked.jobs))]
    rate = sum(map(len, scores)) / (time.perf_counter() - started)
    timing = Timing(p50=p50, p95=p95, sample=len(seconds), pairs_per_second=rate, hardware=hardware())
    return _Timed(timing, loading, _peak_memory(), scores)


def _peak_memory() -> int | None:
    """The most bytes that this process has held.

    Not getrusage's figure, which a new process takes over from the one that began it.
    """
    if sys.platform != "linux":
        return None
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            kibibytes, _ = value.split()
            return int(kibibytes) * 1024
    return None


def _agreement(reference: list[list[float]] | None, scores: list[list[float]]) -> float | None:
    """The mean over queries of Kendall's tau-b; None without a reference."""
    if reference is None:
        return None
    taus = []
    for one, other in zip(reference, scores, strict=True):
        taus.append(kendall_tau(np.asarray(one), np.asarray(other)))
    return mean(taus)
