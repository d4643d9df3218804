"""Work in several processes that are forked from this one: what it holds is there at once, and nothing is copied."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from exabench.collecting import frozen
from exabench.errors import BadInput, CannotWrite, ExabenchError

_Given = TypeVar("_Given")
_Got = TypeVar("_Got")


def processes_for(items: int, alone: int) -> int:
    """How many processes for so many items: one for each core, where there are more than `alone` and we can fork."""
    if items <= alone or sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), 8)


def made(
    work: Callable[[_Given], _Got], items: Sequence[_Given], processes: int, *, together: int = 1
) -> Iterator[_Got]:
    """`work` of every item, in any order; a process takes the next items (`together` at a time) when it is free.

    Raises what `work` raises, and CannotWrite where a process was ended.
    """
    if processes <= 1:
        yield from map(work, items)
        return
    parts = [items[start : start + together] for start in range(0, len(items), together)]
    context = multiprocessing.get_context("fork")
    running: dict[Connection, Any] = {}
    with frozen():  # what the processes inherit
        try:
            for _ in range(min(processes, len(parts))):
                ours, theirs = context.Pipe()
                inherited = (*running, ours)
                running[ours] = context.Process(target=_work, args=(work, parts, theirs, inherited), daemon=True)
                running[ours].start()
                theirs.close()
            yield from _received(running, len(parts))
        finally:
            for connection, process in running.items():
                process.terminate()
                process.join()
                connection.close()


def _received(running: dict[Connection, Any], parts: int) -> Iterator[Any]:
    """Hand out the parts by their numbers, and pass on what comes back."""
    waiting, busy = iter(range(parts)), set(running)
    for connection in running:
        connection.send(next(waiting))
    while busy:
        for ready in wait([*busy]):
            connection = next(one for one in busy if one is ready)
            try:
                kind, value = connection.recv()
            except (EOFError, ConnectionError):
                raise CannotWrite("a process was ended; nothing was changed, run again") from None
            if kind != "made":
                raise _ERRORS.get(kind, RuntimeError)(value)
            number = next(waiting, None)
            if number is None:
                busy.remove(connection)
            else:
                connection.send(number)
            yield from value


def _work(
    work: Callable[[Any], Any], parts: Sequence[Sequence[Any]], to: Connection, inherited: Sequence[Connection]
) -> None:
    """What a forked process does: the parts that it is told, and what went wrong as words."""
    for connection in inherited:  # the other ends: a process that holds them would not see its parent go
        connection.close()
    try:
        while True:
            to.send(("made", [work(item) for item in parts[to.recv()]]))
    except (EOFError, ConnectionError):
        return
    except ExabenchError as error:
        to.send(("CannotWrite" if isinstance(error, CannotWrite) else "BadInput", str(error)))
    except BaseException:
        to.send(("error", traceback.format_exc()))


_ERRORS: dict[str, type[Exception]] = {"BadInput": BadInput, "CannotWrite": CannotWrite}
