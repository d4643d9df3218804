"""The order of training groups is a function of seed, epoch and index, and of nothing else."""

from __future__ import annotations

import hashlib
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from exabench.core.errors import BadInput
from exabench.training.order import Order


def epoch_of(order: Order, epoch: int) -> list[int]:
    first = epoch * order.steps_per_epoch
    return [group for step in range(first, first + order.steps_per_epoch) for group in order.groups(step)]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(0, 2**40), st.integers(1, 250), st.integers(0, 50))
def test_every_epoch_is_a_permutation(count, seed, batch, epoch):
    assert sorted(epoch_of(Order(count, seed, batch), epoch)) == list(range(count))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 100), st.integers(1, 40), st.sampled_from([1, 2, 3, 4, 7]), st.integers(0, 30))
def test_any_number_of_ranks_makes_the_same_global_batch(count, batch, ranks, step):
    order = Order(count, 5, batch)
    shares = [order.rank_share(step, rank, ranks) for rank in range(ranks)]
    batch_of_all = order.groups(step)
    assert tuple(shares[i % ranks][i // ranks] for i in range(len(batch_of_all))) == batch_of_all
    assert sum(map(len, shares)) == len(batch_of_all)


def test_the_order_is_this_one_on_every_machine_and_version():
    """Worked out by hand from the definition: sort the numbers by their words of the SHAKE-256 stream."""
    stream = hashlib.shake_256(b"exabench order, seed 7, epoch 1").digest(80)
    by_hand = sorted(range(10), key=lambda i: int.from_bytes(stream[8 * i : 8 * i + 8], "little"))
    assert epoch_of(Order(10, 7, 4), 1) == by_hand
    assert Order(10, 7, 4).digest(6) == "sha256:bef132035f1fa87d1cca4e716a2d7959c5f5b3db2a39616455a03e24f735d66c"


def test_any_step_is_asked_alone_and_in_any_order():
    order, steps = Order(50, 1, 8), range(40)
    forwards = [order.groups(step) for step in steps]
    assert [order.groups(step) for step in reversed(steps)] == forwards[::-1]
    assert [Order(50, 1, 8).groups(step) for step in steps] == forwards


def test_seeds_and_epochs_differ_and_the_batch_size_moves_nothing():
    epochs = [tuple(epoch_of(Order(100, seed, 8), epoch)) for seed in range(5) for epoch in range(5)]
    assert len(set(epochs)) == 25
    assert epoch_of(Order(100, 0, 8), 2) == epoch_of(Order(100, 0, 33), 2)


def test_the_last_step_of_an_epoch_is_smaller_and_the_next_epoch_starts_afresh():
    order = Order(10, 0, 4)
    assert [len(order.groups(step)) for step in range(6)] == [4, 4, 2, 4, 4, 2]
    assert [order.rank_share(2, rank, 4) for rank in range(4)][2:] == [(), ()]  # two groups are too few for four ranks


def test_one_group_and_a_batch_larger_than_the_data():
    assert [Order(1, 9, 1).groups(step) for step in range(3)] == [(0,)] * 3
    order = Order(3, 9, 100)
    assert [sorted(order.groups(step)) for step in range(3)] == [[0, 1, 2]] * 3
    assert order.steps(2) == 2


@pytest.mark.parametrize(
    "epochs, steps", [(1, 30), (2, 60), (0.1, 3), (0.7, 21), (0.01, 1), (1.5, 45), (1.01, 31), (1e-9, 1)]
)
def test_epochs_are_counted_in_steps_without_rounding_errors(epochs, steps):
    assert Order(300, 0, 10).steps(epochs) == steps  # 0.1 * 30 is 3.0000000000000004 in floats


@pytest.mark.parametrize("epochs", [0, -1, float("nan"), float("inf")])
def test_no_number_of_epochs_is_refused(epochs):
    with pytest.raises(BadInput, match="give a number above 0"):
        Order(10, 0, 1).steps(epochs)


@pytest.mark.parametrize("count, batch", [(0, 1), (1, 0), (-3, 2)])
def test_nothing_to_order_is_refused(count, batch):
    with pytest.raises(BadInput, match="both must be at least 1"):
        Order(count, 0, batch)


def test_the_digest_tells_orders_apart():
    digests = {Order(40, seed, batch).digest(steps) for seed in (0, 1) for batch in (4, 8) for steps in (3, 9)}
    assert len(digests) == 8


def test_a_million_groups_take_little_time_and_memory():
    order = Order(1_000_000, 0, 32)
    tracemalloc.start()
    started = time.process_time()
    order.groups(0)
    took = time.process_time() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert took < 3 and peak < 64 * 2**20
    started = time.process_time()
    seen = np.concatenate([order.groups(step) for step in range(order.steps_per_epoch)])
    assert time.process_time() - started < 3
    assert np.array_equal(np.sort(seen), np.arange(1_000_000))
