"""Making pages, in this process or in several: the bytes are the same."""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from exabench.errors import BadInput, CannotWrite, ExabenchError

ALONE = 400  # items for which no second process is worth its start
TOGETHER = 50  # items that a process takes at a time: pages of one result lie next to each other

_Given = TypeVar("_Given")
_Got = TypeVar("_Got")


def processes_for(items: int) -> int:
    """How many processes make so many pages: one for each core, where they can be forked."""
    if items < ALONE or sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), 8)


def made(work: Callable[[_Given], _Got], items: Sequence[_Given], processes: int) -> Iterator[_Got]:
    """`work` of every item, in any order. Raises what `work` raises, and CannotWrite where a process was ended."""
    if processes <= 1:
        yield from map(work, items)
        return
    parts = [items[start : start + TOGETHER] for start in range(0, len(items), TOGETHER)]
    context = multiprocessing.get_context("fork")  # the board is there at once, and nothing of it need be copied
    running: dict[Connection, Any] = {}
    try:
        for number in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            running[ours] = context.Process(target=_work, args=(work, parts[number::processes], theirs), daemon=True)
            running[ours].start()
            theirs.close()
        yield from _received(running)
    finally:
        for connection, process in running.items():
            process.terminate()
            process.join()
            connection.close()


def _received(running: dict[Connection, Any]) -> Iterator[Any]:
    open_ones = list(running)
    while open_ones:
        for connection in wait(open_ones):
            assert isinstance(connection, Connection)
            try:
                kind, value = connection.recv()
            except EOFError:
                raise CannotWrite("a process that made pages was ended; nothing was changed, build again") from None
            if kind == "made":
                yield from value
            elif kind == "done":
                open_ones.remove(connection)
            else:
                raise _ERRORS.get(kind, RuntimeError)(value)


def _work(work: Callable[[Any], Any], parts: Sequence[Sequence[Any]], to: Connection) -> None:
    """What a forked process does: a part after the other, and what went wrong as words."""
    try:
        for part in parts:
            to.send(("made", [work(item) for item in part]))
        to.send(("done", None))
    except ExabenchError as error:
        to.send(("CannotWrite" if isinstance(error, CannotWrite) else "BadInput", str(error)))
    except BaseException:
        to.send(("error", traceback.format_exc()))


_ERRORS: dict[str, type[Exception]] = {"BadInput": BadInput, "CannotWrite": CannotWrite}
