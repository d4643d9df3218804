"""Batches: every item once, longest first, never above the budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from exabench.models.batches import batches, pad_rows

LENGTHS = st.lists(st.integers(1, 600), max_size=300)


@given(LENGTHS, st.integers(1, 5000), st.integers(1, 64))
def test_the_longest_come_first_each_once_in_batches_within_the_budget(
    lengths: list[int], budget: int, most: int
) -> None:
    plan = batches(lengths, budget, most)
    order = [int(i) for batch in plan for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)), "equal ones in the order given"
    for batch in plan:
        some = [lengths[i] for i in batch]
        assert len(some) == 1 or len(some) * max(some) <= budget
        assert len(some) <= most and sum(some) >= 0.85 * len(some) * max(some), "at most a seventh is padding"


def test_rows_are_padded_at_their_end() -> None:
    assert pad_rows([np.array([5, 6, 7]), np.array([8])], 0).tolist() == [[5, 6, 7], [8, 0, 0]]
