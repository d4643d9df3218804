"""Engines: who computes a board's results: this process, one for each of its GPUs, or the actors of a Ray cluster.

What is handed out is a Chain: one submission on the lists of one task, in their order. In its last bit a score depends
on the batch that it was part of, and lists of one task share texts, so a model goes through them one after the other,
wherever that is: every engine gives the same bytes. Board, data, models and the cache folder must lie where every
worker sees them under the same path (one machine, or a shared file system).
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from exabench.errors import (
    BadInput,
    CannotWrite,
    CheckFailed,
    ExabenchError,
    MissingExtra,
    OutsideFailed,
    UnknownName,
    printable,
)
from exabench.nouns import Progress, silent

ENGINES = ("local", "ray")
TRIES = 3
"""How often a chain is begun before it is held to be what kills its workers."""

_ERRORS = (BadInput, CannotWrite, CheckFailed, MissingExtra, OutsideFailed, ExabenchError)
_CARRIED = ("SOURCE_DATE_EPOCH", "OMP_NUM_THREADS")  # what a result depends on, besides EXABENCH_...


@dataclass(frozen=True)
class Chain:
    """A submission, a task, and the names of its lists of candidates, in the order in which they are reranked."""

    slug: str
    task: str
    candidates: tuple[str, ...]


Share: TypeAlias = Callable[[Chain], list[Path]]
"""Computes a chain and writes its results; returns their files in the order of the lists."""


class Begin(Hashable, Protocol):
    """Makes the Share of one worker: a value that can be pickled and hashed, as a frozen dataclass can."""

    def __call__(self) -> Share:
        """Called once in each worker."""


Outcome: TypeAlias = tuple[list[Path], tuple[str, str] | None]


class _Worker(Protocol):
    """Somebody who computes one chain at a time; `holds` is the submission of its last one, whose model it has."""

    holds: str

    def start(self, chain: Chain) -> Future[Outcome]: ...

    def was_killed(self, error: BaseException) -> bool: ...

    def renew(self) -> None: ...

    def stop(self) -> None: ...


def chains(pairs: Iterable[tuple[str, str, str]]) -> list[Chain]:
    """(submission, task, candidates) as chains, in the order of the first of each."""
    lists: dict[tuple[str, str], list[str]] = {}
    for slug, task, candidates in pairs:
        lists.setdefault((slug, task), []).append(candidates)
    return [Chain(slug, task, tuple(names)) for (slug, task), names in lists.items()]


def spread(
    work: Sequence[Chain], begin: Begin, *, engine: str = "local", workers: int = 0, progress: Progress = silent
) -> list[Path]:
    """Compute every chain; the files in the order of `work`, whoever made them.

    `local` takes `workers` processes (0: one for each GPU that CUDA_VISIBLE_DEVICES shows, or that there is), each with
    a GPU of its own; where that is one, all is done here. `ray` takes `workers` actors (0: one for each GPU of the
    cluster at RAY_ADDRESS, else one for each node). A chain whose worker is killed is begun again; the third time it is
    named. Raises UnknownName, MissingExtra, OutsideFailed, and what a chain raises: what is finished stays.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    if not work:
        return []
    if engine == "ray":
        hands = _actors(begin, workers, len(work))
    else:
        gpus = _gpus()
        count = min(workers or len(gpus), len(work))
        hands = [_Process(begin, gpus[i % len(gpus)] if gpus else None) for i in range(count)] if count > 1 else []
    found = _driven(work, hands, progress) if hands else _here(work, begin(), progress)
    return [file for files in found for file in files]


def _here(work: Sequence[Chain], share: Share, progress: Progress) -> list[list[Path]]:
    found = []
    for done, chain in enumerate(work, 1):
        found.append(share(chain))
        progress(done, len(work), f"{chain.slug} on {chain.task}")
    return found


def _driven(work: Sequence[Chain], hands: Sequence[_Worker], progress: Progress) -> list[list[Path]]:
    """Hand out the chains: to each worker those of the submission that it holds, then of one that nobody holds."""
    waiting, free = list(range(len(work))), list(hands)
    running: dict[Future[Outcome], tuple[_Worker, int]] = {}
    found: dict[int, list[Path]] = {}
    killed: Counter[int] = Counter()
    try:
        while waiting or running:
            while waiting and free:
                worker = free.pop(0)
                held = {other.holds for other in hands if other is not worker}
                chosen = min(waiting, key=lambda i: (work[i].slug != worker.holds, work[i].slug in held, i))  # noqa: B023
                waiting.remove(chosen)
                worker.holds = work[chosen].slug
                running[worker.start(work[chosen])] = (worker, chosen)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, number = running.pop(future)
                free.append(worker)
                if (error := future.exception()) is None:
                    found[number] = _files(future.result())
                    progress(len(found), len(work), f"{work[number].slug} on {work[number].task}")
                    continue
                if not worker.was_killed(error):
                    raise error
                killed[number] += 1
                if killed[number] == TRIES:
                    raise OutsideFailed(f"{_named(work[number])}: {TRIES} workers died of it ({_reason(error)})")
                worker.renew()
                waiting.append(number)
    finally:
        for worker in hands:
            worker.stop()
    return [found[number] for number in range(len(work))]


def _named(chain: Chain) -> str:
    return f"{chain.slug} on {chain.task} ({', '.join(chain.candidates)})"


def _reason(error: BaseException) -> str:
    return printable((str(error).strip() or type(error).__name__).splitlines()[-1].strip(), 300)


def _files(outcome: Outcome) -> list[Path]:
    """What a chain made. Raises what it raised."""
    files, trouble = outcome
    if trouble is None:
        return files
    raise next(kind for kind in _ERRORS if kind.__name__ == trouble[0])(trouble[1])


def _share(begin: Begin, chain: Chain) -> Outcome:
    """In a worker: one chain. An error goes back as two texts, since not every one can be pickled."""
    try:
        return _begun(begin)(chain), None
    except ExabenchError as error:
        return [], (next(kind.__name__ for kind in _ERRORS if isinstance(error, kind)), str(error))


@functools.cache
def _begun(begin: Begin) -> Share:
    return begin()


# -- processes of this machine -----------------------------------------------------------------------------------------


def _gpus() -> list[str]:
    """The GPUs of this machine as CUDA_VISIBLE_DEVICES names them, without loading anything that would ask them."""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is not None:
        return [name.strip() for name in shown.split(",") if name.strip()]
    return [str(i) for i, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


class _Process:
    """A process that sees one GPU."""

    def __init__(self, begin: Begin, gpu: str | None) -> None:
        self.holds = ""
        self._begin, self._gpu = begin, gpu
        self.renew()

    def start(self, chain: Chain) -> Future[Outcome]:
        return self._pool.submit(_share, self._begin, chain)

    def was_killed(self, error: BaseException) -> bool:
        return isinstance(error, BrokenExecutor)

    def renew(self) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_sees, initargs=(self._gpu,))

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _sees(gpu: str | None) -> None:
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu


# -- actors of a Ray cluster -------------------------------------------------------------------------------------------


class Sharing:
    """An actor: works in the folder where the command was given, which paths may start from."""

    def __init__(self, begin: Begin, folder: str) -> None:
        os.chdir(folder)
        self._begin = begin

    def share(self, chain: Chain) -> Outcome:
        """One chain."""
        return _share(self._begin, chain)


class _Actor:
    """An actor of the cluster, and how to make another in its place."""

    def __init__(self, ray: Any, make: Callable[[], Any]) -> None:
        self.holds = ""
        self._ray, self._make = ray, make
        self.renew()

    def start(self, chain: Chain) -> Future[Outcome]:
        return self._actor.share.remote(chain).future()

    def was_killed(self, error: BaseException) -> bool:
        gone = self._ray.exceptions
        return isinstance(error, gone.RayActorError | gone.WorkerCrashedError | gone.NodeDiedError)

    def renew(self) -> None:
        self._actor = self._make()

    def stop(self) -> None:
        self._ray.kill(self._actor)


def _actors(begin: Begin, workers: int, chains: int) -> Sequence[_Worker]:
    """Actors spread over the nodes, no more than there are processors and chains. Raises MissingExtra, OutsideFailed"""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra("engine ray needs a package: pip install 'exabench[ray]'") from error
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="error")
        there = ray.cluster_resources()
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
    except Exception as error:
        raise OutsideFailed(f"no Ray cluster can be reached ({_reason(error)}); check RAY_ADDRESS") from error
    gpus = int(there.get("GPU", 0))
    count = min(workers or gpus or nodes, chains, int(there.get("CPU", 1)))
    how = {"num_cpus": 1, "num_gpus": int(gpus >= count), "scheduling_strategy": "SPREAD"}
    actor = ray.remote(Sharing).options(**how, runtime_env={"env_vars": _environment()})
    return [_Actor(ray, lambda: actor.remote(begin, os.getcwd())) for _ in range(count)]


def _environment() -> Mapping[str, str]:
    return {name: text for name, text in os.environ.items() if name.startswith("EXABENCH_") or name in _CARRIED}
