"""Work in forked processes: what this one holds is there at once, and nothing is copied."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from exabench.errors import CannotWrite

_Given = TypeVar("_Given")
_Got = TypeVar("_Got")

_MOST_PROCESSES = 8  # beyond it, memory and the disk are the limit and not the cores

_inherited: tuple[Callable[[Any], Any], Sequence[Any]] | None = None
"""The function and its items, for the processes that are forked while a call of map_unordered runs."""


def worker_count(items: int, at_least: int = 2) -> int:
    """Processes for so many items: one for each core where there are `at_least` items and the system forks, else 1."""
    if items < at_least or sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)


def map_unordered(
    function: Callable[[_Given], _Got], items: Sequence[_Given], processes: int, *, chunk: int = 1
) -> Iterator[_Got]:
    """Map `function` over `items` in forked processes, `chunk` items at a time; results come as they are ready.

    The function and the items may be of any kind, for they are inherited; results are pickled. With one process it
    all happens here. Raises what the function raises, and CannotWrite where a process was ended from outside.
    """
    if processes <= 1:
        yield from map(function, items)
        return
    global _inherited
    starts = range(0, len(items), chunk)
    outer = _inherited
    _inherited = (function, items)
    gc.freeze()  # a collection in a forked process would touch, and so copy, every page that it inherited
    pool = ProcessPoolExecutor(min(processes, len(starts) or 1), multiprocessing.get_context("fork"))
    try:
        running: list[Future[list[Any]]] = [pool.submit(_map_chunk, start, chunk) for start in starts]
        for done in as_completed(running):
            yield from done.result()
    except BrokenProcessPool:
        raise CannotWrite("a process was ended; nothing was changed, run again") from None
    finally:
        pool.shutdown(cancel_futures=True)
        gc.unfreeze()
        _inherited = outer


def _map_chunk(start: int, chunk: int) -> list[Any]:
    assert _inherited is not None, "runs in a process that map_unordered forked"
    function, items = _inherited
    return [function(item) for item in items[start : start + chunk]]
