"""Strengths from comparisons: the maximum is scipy's, known strengths come back, and nothing is infinitely strong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings, strategies as st

from exabench.parts.comparisons import MOST_CERTAIN, thurstone

Comparisons = Sequence[tuple[int, int, float]]


def chance(gap: float) -> float:
    return (1 + math.erf(gap)) / 2


def cycles(count: int, seed: int, number: int = 2) -> list[tuple[int, int]]:
    """Next neighbours in random cycles through all things."""
    drawn = np.random.default_rng(seed)
    pairs = []
    for _ in range(number):
        order = drawn.permutation(count).tolist()
        pairs += list(zip(order, order[1:] + order[:1], strict=True))
    return pairs


def loss(strengths: np.ndarray, comparisons: Comparisons) -> float:
    """The negative log-likelihood, comparison by comparison; its least value is at strengths of mean 0."""
    total = float(strengths.mean()) ** 2
    for one, other, seen in comparisons:
        seen = min(max(seen, 1 - MOST_CERTAIN), MOST_CERTAIN)
        wins = chance(strengths[one] - strengths[other])
        total -= seen * math.log(wins) + (1 - seen) * math.log1p(-wins)
    return total


@pytest.mark.parametrize("seen", [0.05, 0.3, 0.5, 0.77, 0.95])
def test_two_things_are_apart_by_the_inverse_of_the_model(seen: float) -> None:
    one, other = thurstone(2, [(0, 1, seen)])
    assert one - other == pytest.approx(scipy.special.erfinv(2 * seen - 1), abs=2e-6) and one == -other


@settings(max_examples=10, deadline=None)
@given(st.integers(3, 7), st.integers(0, 99))
def test_the_fit_is_the_maximum_that_scipy_finds(count: int, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    comparisons = [(one, other, float(drawn.choice([0, 0.5, 1, drawn.random()]))) for one, other in cycles(count, seed)]
    found = thurstone(count, comparisons)
    best = scipy.optimize.minimize(loss, np.zeros(count), (comparisons,), method="BFGS", options={"gtol": 1e-8})
    assert found == pytest.approx(best.x.tolist(), abs=1e-4) and abs(sum(found)) < 1e-5


def test_known_strengths_come_back_from_their_own_probabilities() -> None:
    known = np.random.default_rng(1).normal(0, 0.2, 40)
    known -= known.mean()
    comparisons = [(one, other, chance(known[one] - known[other])) for one, other in cycles(40, 2)]
    assert all(1 - MOST_CERTAIN < seen < MOST_CERTAIN for _, _, seen in comparisons)
    assert thurstone(40, comparisons) == pytest.approx(known.tolist(), abs=2e-6)


def test_noisy_votes_bring_the_order_back_the_better_the_more_cycles_there_are() -> None:
    known = np.linspace(-1, 1, 50)
    drawn = np.random.default_rng(3)
    agreed = []
    for number in (2, 20):
        pairs = cycles(50, 4, number)
        votes = [(one, other, float(drawn.random() < chance(known[one] - known[other]))) for one, other in pairs]
        agreed.append(scipy.stats.kendalltau(known, thurstone(50, votes)).statistic)
    assert 0.4 < agreed[0] < agreed[1] and agreed[1] > 0.8


def test_what_wins_or_loses_everything_has_a_finite_strength_and_what_is_not_compared_is_in_the_middle() -> None:
    chain = [(place, place + 1, 1.0) for place in range(99)]
    found = thurstone(100, chain)
    assert found == sorted(found, reverse=True) and max(map(abs, found)) < 100
    assert thurstone(3, [(0, 1, 1.0)])[2] == 0.0
    assert thurstone(1, []) == [0.0] and thurstone(0, []) == []
