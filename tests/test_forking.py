"""Work in forked processes: everything comes back once, whoever is free takes the next, and what fails is said."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exabench.collecting import frozen, uncollected
from exabench.errors import BadInput, CannotWrite
from exabench.forking import made, processes_for


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 4), st.integers(1, 7))
def test_every_item_comes_back_once(items: list[int], processes: int, together: int) -> None:
    assert sorted(made(lambda item: item * 2, items, processes, together=together)) == sorted(2 * i for i in items)


def test_one_long_piece_of_work_holds_up_nobody_else() -> None:
    def work(item: int) -> tuple[int, int]:
        time.sleep(1.0 if item == 0 else 0.0)
        return item, os.getpid()

    found = list(made(work, range(50), 2))
    slow = dict(found)[0]
    assert found[-1] == (0, slow) and sum(pid == slow for _, pid in found) == 1
    assert os.getpid() not in {pid for _, pid in found}


def fails(item: int) -> int:
    if item == 3:
        raise BadInput("is not what it says", file="one.json")
    return item


def ends(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def breaks(item: int) -> float:
    return 1 / (item - 3)


@pytest.mark.parametrize(
    ("work", "error", "said"),
    [(fails, BadInput, "one.json"), (ends, CannotWrite, "was ended"), (breaks, RuntimeError, "ZeroDivisionError")],
)
def test_what_goes_wrong_in_a_process_is_said_here(
    work: Callable[[int], object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        list(made(work, range(10), 2))


def test_no_process_is_left_behind_where_nobody_takes_the_rest() -> None:
    found = made(lambda item: os.getpid(), range(1000), 3)
    pids = {next(found) for _ in range(200)}
    found.close()  # type: ignore[attr-defined]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_few_items_are_not_worth_a_process() -> None:
    assert processes_for(10, alone=10) == 1
    assert processes_for(11, alone=10) == min(8, len(os.sched_getaffinity(0)))


def test_the_collector_is_left_as_it_was() -> None:
    import gc

    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with uncollected(), frozen():
        with frozen():
            assert gc.get_freeze_count() > 0 and gc.isenabled()
        assert gc.get_freeze_count() > 0 and gc.isenabled()
    assert gc.get_freeze_count() == 0 and gc.isenabled()
