"""Work in forked processes: every result comes back once, a free process takes the next item, errors arrive whole."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from exabench.core.errors import BadInput, CannotWrite, OutsideFailed, UnknownName
from exabench.core.parallel import map_unordered, run_alone


@settings(max_examples=6)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 4), st.integers(1, 7))
def test_every_item_comes_back_once(items: list[int], processes: int, chunk: int) -> None:
    frozen = gc.get_freeze_count()
    assert sorted(map_unordered(lambda item: item * 2, items, processes, chunk=chunk)) == sorted(2 * i for i in items)
    assert gc.get_freeze_count() == frozen, "the garbage collector is left as it was"


def test_one_long_item_holds_up_no_other() -> None:
    all_others_began = multiprocessing.get_context("fork").Event()

    def work(item: int) -> int:
        if item == 49:
            all_others_began.set()
        if item == 0:
            assert all_others_began.wait(60)
        return os.getpid()

    pids = list(map_unordered(work, range(50), 2))
    assert len(set(pids)) == 2 and os.getpid() not in pids
    assert 1 in (pids.count(pid) for pid in pids), "the process of the long item took no other"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BadInput("is not what it says", file="one.json"), "^one.json: is not what it says$"),
        (UnknownName("task", "scifcat", ["scifact"]), "^unknown task 'scifcat'; did you mean scifact\\?$"),
        (ZeroDivisionError("division"), "division"),
    ],
    ids=["bad input", "unknown name", "a bug"],
)
def test_an_error_in_a_process_is_raised_here(error: Exception, message: str) -> None:
    def work(item: int) -> None:
        if item == 3:
            raise error

    with pytest.raises(type(error), match=message):
        list(map_unordered(work, range(10), 2))


def test_a_process_that_is_killed_is_one_line() -> None:
    with pytest.raises(CannotWrite, match="a worker process was killed"):
        list(map_unordered(lambda item: os.kill(os.getpid(), signal.SIGKILL), range(10), 2))


def test_no_process_is_left_behind_when_the_rest_is_not_taken() -> None:
    results = map_unordered(lambda item: os.getpid(), range(1000), 3)
    pids = {next(results) for _ in range(200)}
    results.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_few_items_are_not_worth_a_process_and_eight_processes_are_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(map_unordered(lambda item: os.getpid(), range(9), at_least=10)) == {os.getpid()}
    with monkeypatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: range(64))
        assert len({pid for pid in map_unordered(lambda item: os.getpid(), range(500))}) <= 8
    if len(os.sched_getaffinity(0)) > 1:
        assert os.getpid() not in set(map_unordered(lambda item: os.getpid(), range(10), at_least=10))


WORKERS = """
import functools, os, pathlib, time
from exabench.core.parallel import map_unordered, run_items

def work(folder, item):
    (pathlib.Path(folder) / str(os.getpid())).touch()
    time.sleep(300)

def begin(folder):
    return functools.partial(work, folder)

if __name__ == "__main__":
    folder = os.environ["FOLDER"]
    if os.environ["KIND"] == "run_items":
        list(run_items([1, 2], functools.partial(begin, folder), workers=2))
    else:
        list(map_unordered(functools.partial(work, folder), [1, 2], 2))
"""


@pytest.mark.parametrize("kind", ["run_items", "map_unordered"])
def test_workers_end_with_the_process_that_started_them(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(WORKERS)
    folder = tmp_path / "pids"
    folder.mkdir()
    told = {**os.environ, "FOLDER": str(folder), "KIND": kind}
    parent = subprocess.Popen([sys.executable, str(script)], env=told)
    until(lambda: len(os.listdir(folder)) == 2)
    parent.kill()
    parent.wait()
    until(lambda: not any(Path("/proc", pid).exists() for pid in os.listdir(folder)))


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.1)


def process_of(item: str) -> int:
    if item == "refused":
        raise BadInput("no such item")
    if item == "killed":
        os._exit(9)
    return os.getpid()


def test_what_runs_alone_has_a_new_process_each_time_and_its_errors_arrive() -> None:
    numbers = {run_alone(process_of, item).get() for item in ("one", "other")}
    assert len(numbers) == 2 and os.getpid() not in numbers
    assert not any(Path(f"/proc/{number}").exists() for number in numbers), "which have ended"
    with pytest.raises(BadInput, match="no such item"):
        run_alone(process_of, "refused").get()
    with pytest.raises(OutsideFailed, match="killed: the process died"):
        run_alone(process_of, "killed").get()
