"""Parallel work: functions mapped in forked processes, and items run by workers that keep what they loaded.

`map_unordered` is for pure functions over data that this process holds: forked processes inherit it, nothing is copied.
`run_items` is for work that needs something loaded (a model, a teacher): in spawned processes, one for each GPU, or in
the actors of a Ray cluster, behind the same call. `run_alone` is for what must be measured: in a process that does
nothing else.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from exabench.core.errors import REASON, CannotWrite, ExabenchError, MissingExtra, OutsideFailed, UnknownName, printable
from exabench.core.packages import extra_line

_Given = TypeVar("_Given")
_Got = TypeVar("_Got")

_PARENT_EVERY = 1.0  # seconds between two looks at whether a worker's parent is there
_MOST_PROCESSES = 8  # beyond it, memory and the disk are the limit and not the cores

_inherited: tuple[Callable[[Any], Any], Sequence[Any]] | None = None
"""The function and its items, for the processes that are forked while a call of map_unordered runs."""


def map_unordered(
    function: Callable[[_Given], _Got],
    items: Sequence[_Given],
    processes: int = 0,
    *,
    at_least: int = 2,
    chunk: int = 1,
) -> Generator[_Got, None, None]:
    """Map `function` over `items` in forked processes, `chunk` items at a time; results come as they are ready.

    0 `processes`: one for each core, 8 at most; one below `at_least` items, and where processes cannot be forked. The
    function and the items may be of any kind, for they are inherited; results are pickled. With one process it all
    happens here. Raises what the function raises, and CannotWrite where a process was ended from outside.
    """
    if not processes and len(items) >= at_least and sys.platform == "linux":
        processes = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
    if processes <= 1:
        yield from map(function, items)
        return
    global _inherited
    starts = range(0, len(items), chunk)
    outer = _inherited  # of a call around this one, in whose process we may be
    _inherited = (function, items)
    gc.freeze()  # a collection in a forked process would touch, and so copy, every page that it inherited
    # Fork, not spawn: functions are closures over arrays of gigabytes, which cannot be pickled or copied.
    fork = multiprocessing.get_context("fork")
    workers = min(processes, len(starts) or 1)
    pool = ProcessPoolExecutor(workers, fork, initializer=_end_with, initargs=(os.getpid(),))
    try:
        running = [pool.submit(_map_chunk, start, chunk) for start in starts]
        for done in as_completed(running):
            yield from done.result()
    except BrokenProcessPool:
        raise CannotWrite("a worker process was killed; nothing was changed, run again") from None
    finally:
        pool.shutdown(cancel_futures=True)
        gc.unfreeze()
        _inherited = outer


def _end_with(parent: int) -> None:
    """Have this process end once its parent is gone: one that was killed would leave it working, for hours maybe."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_EVERY)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _map_chunk(start: int, chunk: int) -> list[Any]:
    assert _inherited is not None, "runs in a process that map_unordered forked"
    function, items = _inherited
    return [function(item) for item in items[start : start + chunk]]


# -- workers that keep what they loaded --------------------------------------------------------------------------------

ENGINES = ("local", "ray")
DEATHS = 3
"""Workers that may die of one item before it is given up: one death may be a machine's fault, three are the item's."""

_CARRIED = ("SOURCE_DATE_EPOCH", "OMP_NUM_THREADS")  # what a result depends on, apart from EXABENCH_...


@dataclass(frozen=True)
class Outcome:
    """The outcome of one item: its value or its error, and on a Ray cluster the node that ran it."""

    value: Any = None
    error: ExabenchError | None = None
    node: str = ""

    def get(self) -> Any:
        """The value. Raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


def run_items(
    items: Sequence[_Given],
    begin: Callable[[], Callable[[_Given], Any]],
    *,
    engine: str = "local",
    workers: int = 0,
    model_of: Callable[[_Given], str] = lambda item: "",
    begin_here: Callable[[], Callable[[_Given], Any]] | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Run every item in workers that keep what they loaded; yields (place of the item, its outcome) as items end.

    Every worker calls `begin` before its first item (again before the next where it failed), and runs all of its items
    with the function that `begin` returned, so that whatever this function loads stays loaded. `begin` and the items
    must be picklable; `begin_here`, which is called instead where this process does it all, need not be.
    `model_of(item)` names what an item needs loaded: a worker gets an item whose model it has, else one whose model no
    other worker has. An exception is the outcome of its item and stops no other. An item whose worker dies is run
    again by a new one; after DEATHS of them its error is OutsideFailed. `str(item)` names it there.

    "local" takes `workers` processes (0: one for each GPU that CUDA_VISIBLE_DEVICES shows, or that there is), and each
    sees one GPU; where that is one, this process does it all. "ray" takes `workers` actors of the cluster at
    RAY_ADDRESS (0: one for each GPU, else one for each node), which must see all files under the same paths. Anyone who
    stops iterating stops the workers. Raises UnknownName for another engine, MissingExtra and OutsideFailed where Ray
    or its cluster is not there.
    """
    if engine not in ENGINES:
        raise UnknownName("engine", engine, ENGINES)
    pool = []
    if engine == "ray" and items:
        pool = _actors(begin, workers, len(items))
    elif engine == "local":
        # As CUDA_VISIBLE_DEVICES names them, without loading anything that would ask the GPUs themselves.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            gpus = [str(i) for i, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
        else:
            gpus = [name.strip() for name in visible.split(",") if name.strip()]
        count = min(workers or len(gpus), len(items))
        if count > 1:
            pool = [_process(begin, gpus[i % len(gpus)] if gpus else None) for i in range(count)]
    if not pool:
        here = _Runner(begin_here or begin, os.getcwd())
        for place, item in enumerate(items):
            yield place, here.run(item)
        return

    # Every worker is kept busy until each item has its outcome.
    waiting = list(range(len(items)))
    idle = list(pool)
    running: dict[Future[Outcome], tuple[_Worker, int]] = {}
    deaths = Counter[int]()
    try:
        while waiting or running:
            while waiting and idle:
                worker = idle.pop(0)
                models = [model_of(items[place]) for place in waiting]
                elsewhere = {other.model for other in pool if other is not worker}
                # Loading costs more than running: first an item whose model this worker has, then one whose model
                # no other worker has, then the first of all.
                ranks = [0 if model == worker.model else 1 + (model in elsewhere) for model in models]
                first = ranks.index(min(ranks))
                place = waiting.pop(first)
                worker.model = models[first]
                running[worker.run(items[place])] = (worker, place)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, place = running.pop(future)
                idle.append(worker)
                error = future.exception()
                if error is None:
                    yield place, future.result()
                    continue
                if not isinstance(error, worker.died):
                    raise error
                worker.start()
                deaths[place] += 1
                if deaths[place] < DEATHS:
                    waiting.append(place)
                    continue
                reason = f"{items[place]}: {DEATHS} workers died on it ({_last_line(error)})"
                yield place, Outcome(error=OutsideFailed(reason))
    finally:
        for worker in pool:
            worker.stop()


def run_alone(function: Callable[[_Given], _Got], item: _Given) -> Outcome:
    """Run `function` on one item in a new process, which ends with it: its memory and its time are its own.

    Function and item must be picklable; the process sees every GPU. Where it dies, the error is OutsideFailed.
    """
    worker = _process(partial(_same, function), None)
    try:
        return worker.run(item).result()
    except worker.died as error:
        return Outcome(error=OutsideFailed(f"{item}: the process died ({_last_line(error)})"))
    finally:
        worker.stop()


def _same(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return function


class _Runner:
    """A worker's own state: the function that `begin` returned, with all that it loaded."""

    def __init__(self, begin: Callable[[], Any], folder: str, *, on_ray: bool = False) -> None:
        os.chdir(folder)  # relative paths start from the folder where the command was given
        self._begin = begin
        self._function: Callable[[Any], Any] | None = None
        self._node = ""
        if on_ray:
            import ray

            self._node = ray.get_runtime_context().get_node_id()

    def run(self, item: Any) -> Outcome:
        """One item."""
        try:
            if self._function is None:
                self._function = self._begin()
            return Outcome(self._function(item), node=self._node)
        except ExabenchError as error:
            return Outcome(error=error, node=self._node)
        except Exception as error:
            # No one foresaw it: one line that says where it was raised.
            kind = "crashed"
            if isinstance(error, MemoryError):
                kind = "out-of-memory"
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = printable(" ".join(str(error).split()), REASON)
            place = f"{Path(frame.filename).name}:{frame.lineno}"
            crash = ExabenchError(f"{kind}: {type(error).__name__}: {text} ({place})")
            crash.__cause__ = error
            return Outcome(error=crash, node=self._node)


_Started: TypeAlias = tuple[Callable[[Any], Future[Outcome]], Callable[[], None]]
"""Two functions of a worker that was started: one runs an item, one stops the worker."""


class _Worker:
    """A process or an actor that runs one item at a time; `model` is what its last item needed.

    `start` makes it, and another in its place where an item ended with one of the errors `died`.
    """

    def __init__(self, start: Callable[[], _Started], died: tuple[type[BaseException], ...]) -> None:
        self._start = start
        self.died = died
        self.model = ""
        self.start()

    def start(self) -> None:
        self.run, self.stop = self._start()


def _last_line(error: BaseException) -> str:
    return printable((str(error).strip() or type(error).__name__).splitlines()[-1].strip(), REASON)


_runner: _Runner | None = None
"""The state of this process, where it is a worker."""


def _start_runner(begin: Callable[[], Any], folder: str, gpu: str | None, parent: int) -> None:
    global _runner
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    _end_with(parent)
    _runner = _Runner(begin, folder)


def _run_in_process(item: Any) -> Outcome:
    assert _runner is not None, "runs in a process that _start_runner began"
    return _runner.run(item)


def _process(begin: Callable[[], Any], gpu: str | None) -> _Worker:
    """A worker in a spawned process that sees one GPU."""
    given = (begin, os.getcwd(), gpu, os.getpid())

    def start() -> _Started:
        spawn = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        pool = ProcessPoolExecutor(1, spawn, initializer=_start_runner, initargs=given)
        return lambda item: pool.submit(_run_in_process, item), partial(pool.shutdown, cancel_futures=True)

    return _Worker(start, (BrokenProcessPool,))


def _actors(begin: Callable[[], Any], workers: int, items: int) -> list[_Worker]:
    """Actors spread over the nodes, no more than there are processors and items. Raises MissingExtra, OutsideFailed."""
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingExtra(f"engine ray needs a package: {extra_line('ray')}") from error
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, logging_level="error")
        resources = ray.cluster_resources()
        nodes = sum(node["Alive"] for node in ray.nodes())
    except Exception as error:
        raise OutsideFailed(f"no Ray cluster can be reached ({_last_line(error)}); check RAY_ADDRESS") from error
    gpus = int(resources.get("GPU", 0))
    count = min(workers or gpus or nodes, items, int(resources.get("CPU", 1)))
    variables = {}
    for name, value in os.environ.items():
        if name.startswith("EXABENCH_") or name in _CARRIED:
            variables[name] = value
    actor = ray.remote(_Runner).options(
        num_cpus=1,
        num_gpus=int(gpus >= count),  # more workers than GPUs run on CPUs
        scheduling_strategy="SPREAD",
        runtime_env={"env_vars": variables},
    )

    def start() -> _Started:
        worker = actor.remote(begin, os.getcwd(), on_ray=True)
        return lambda item: worker.run.remote(item).future(), lambda: ray.kill(worker)

    gone = ray.exceptions
    died = (gone.RayActorError, gone.WorkerCrashedError, gone.NodeDiedError)
    return [_Worker(start, died) for _ in range(count)]
