"""Kills and full disks at each call that changes a folder, for the tests of everything that writes."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from exabench.core.errors import CannotWrite

CALLS = ("mkdir", "fsync", "rename", "replace", "link", "rmdir")
KILLED = 99


def at_call(
    number: int,
    fault: Callable[[], object],
    patch: pytest.MonkeyPatch,
    calls: Iterable[str] = CALLS,
    *,
    needs_space: bool = False,
) -> None:
    """From now on `fault` is called before the `number`-th (from 1) of these calls of `os`.

    With `needs_space` a call that would make a folder that is there does not count: it fails on no disk for its size,
    and whoever makes a folder that may be there takes any error of it for that.
    """
    count = itertools.count(1)

    def counting(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: Any, **options: Any) -> object:
            spared = needs_space and original.__name__ == "mkdir" and os.path.isdir(arguments[0])
            if not spared and next(count) == number:
                fault()
            return original(*arguments, **options)

        return call

    for name in calls:
        patch.setattr(os, name, counting(getattr(os, name)))


def exit_at_call(number: int, calls: Iterable[str] = CALLS) -> None:
    """This process ends before the `number`-th of these calls, with nothing cleaned up, as if the machine went down."""
    at_call(number, lambda: os._exit(KILLED), pytest.MonkeyPatch(), calls)


def killed_at_each_call(
    act: Callable[[], object], *, numbers: Iterable[int] | None = None, calls: Iterable[str] = CALLS
) -> Iterator[int]:
    """Fork, `act`, and be killed before call 1, 2, 3 ...; yields the number after each kill, until `act` comes through.

    Nothing is imported again: a child has what this process has. The last `act` is not killed and has done its work.
    """
    for number in numbers or itertools.count(1):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                exit_at_call(number, calls)
                act()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, KILLED), f"the child that was to be killed at call {number} failed by itself"
        if code == 0:
            return
        yield number


def full_disk_at_each_call(
    act: Callable[[], object],
    *,
    numbers: Iterable[int] | None = None,
    calls: Iterable[str] = ("mkdir", "fsync", "rename", "replace"),
) -> Iterator[int]:
    """`act` on a disk that is full at call 1, 2, 3 ...: yields the number after each clear line, until none is struck.

    A full disk that `act` does not notice is a failure.
    """
    struck = False

    def full() -> None:
        nonlocal struck
        struck = True
        raise OSError(errno.ENOSPC, "No space left on device")

    for number in numbers or itertools.count(1):
        struck = False
        with pytest.MonkeyPatch.context() as patch:
            at_call(number, full, patch, calls, needs_space=True)
            try:
                act()
            except CannotWrite as error:
                assert "the disk is full: free some space and run again" in str(error) and "\n" not in str(error)
            else:
                assert not struck, f"the disk was full at call {number}, and nobody said so"
                return
        yield number


@contextmanager
def no_file_over(size: int) -> Iterator[None]:
    """As on a full disk, no file can grow over this many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
