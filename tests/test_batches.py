"""Batches: every item once, longest first, never above the budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from exabench.models.batches import batches, pad_rows

LENGTHS = st.lists(st.integers(1, 600), max_size=300)


@given(LENGTHS, st.integers(1, 5000), st.integers(1, 64))
def test_every_item_is_in_one_batch_and_no_batch_is_too_large(lengths: list[int], budget: int, most: int) -> None:
    plan = batches(lengths, budget, most)
    assert sorted(int(i) for batch in plan for i in batch) == list(range(len(lengths)))
    for batch in plan:
        assert len(batch) <= most
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(LENGTHS)
def test_the_longest_come_first_and_equal_ones_in_the_order_given(lengths: list[int]) -> None:
    order = [int(i) for batch in batches(lengths, 1000) for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def test_padding_of_real_lengths_is_a_few_percent() -> None:
    lengths = np.random.default_rng(0).gamma(4, 25, 4000).astype(int) + 10
    computed = sum(len(batch) * lengths[batch].max() for batch in batches(lengths, 4096))
    assert computed / lengths.sum() < 1.02


@given(LENGTHS)
def test_no_batch_is_more_than_a_seventh_padding(lengths: list[int]) -> None:
    for batch in batches(lengths, 1_000_000):
        some = [lengths[i] for i in batch]
        assert sum(some) >= 0.85 * len(some) * max(some)


def test_rows_are_padded_at_their_end() -> None:
    assert pad_rows([np.array([5, 6, 7]), np.array([8])], 0).tolist() == [[5, 6, 7], [8, 0, 0]]
