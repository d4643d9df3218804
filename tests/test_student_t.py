"""Student's t distribution is scipy's: its p-values over every degree of freedom and far into its tails, and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special

from exabench.measure.student_t import critical_t, two_sided_p

FREEDOM = np.concatenate([np.logspace(-3, 6, 91), [1, 2, 3, 4.5, 9, 42, 299, 322, 6979, 999_999]])
SMALLEST = 1e-300  # of the p-values that are compared; below it float64 loses digits


def test_p_values_are_those_of_scipy_for_any_freedom_and_into_the_farthest_tail() -> None:
    t = np.concatenate([[0.0], np.logspace(-4, 3, 351), np.logspace(3, 150, 50)])
    grid = np.meshgrid(FREEDOM, t)
    freedom = grid[0].ravel()
    t = grid[1].ravel()
    wanted = 2 * scipy.special.stdtr(freedom, -t)
    found = two_sided_p(t, freedom)
    told = wanted > SMALLEST
    assert told.sum() > 25_000 and wanted[told].min() < 1e-299
    np.testing.assert_allclose(found[told], wanted[told], rtol=1e-9)
    assert found[~told].max() < 2 * SMALLEST
    assert np.array_equal(found, two_sided_p(-t, freedom)), "the sign of t does not count"


def test_close_to_zero_it_is_the_closed_form_where_scipys_own_loses_digits() -> None:
    t = np.logspace(-12, 6, 200)
    # One degree of freedom is Cauchy's distribution; of two there is a formula, too (Shaw 2006).
    np.testing.assert_allclose(two_sided_p(t, np.ones(200)), 2 / math.pi * np.arctan2(1, t), rtol=1e-12)
    root = np.sqrt(2 + t**2)
    np.testing.assert_allclose(two_sided_p(t, np.full(200, 2.0)), 2 / (root * (root + t)), rtol=1e-12)


def test_an_infinite_t_has_p_value_0_and_no_test_has_none() -> None:
    assert two_sided_p(np.array([np.inf, -np.inf]), np.array([3.0, 1e6])).tolist() == [0, 0]
    assert two_sided_p(np.array([]), np.array([])).tolist() == []


@pytest.mark.parametrize("p", [0.999, 0.5, 0.05, 1e-3, 1e-10, 1e-100, SMALLEST])
def test_the_critical_t_is_scipys_and_has_that_p_value(p: float) -> None:
    found = np.array([critical_t(p, float(freedom)) for freedom in FREEDOM])
    wanted = -scipy.special.stdtrit(FREEDOM, p / 2)
    # scipy gives up beyond this; in float64 there is no larger number than 1.8e308.
    told = np.isfinite(found) & (np.abs(wanted) < 1e90)
    assert told.sum() > 40
    np.testing.assert_allclose(found[told], wanted[told], rtol=1e-9)
    reached = np.isfinite(found)
    back = two_sided_p(found[reached], FREEDOM[reached])
    np.testing.assert_allclose(back, np.full(reached.sum(), p), rtol=1e-9)


def test_with_many_degrees_of_freedom_it_is_the_normal_distribution() -> None:
    assert critical_t(0.05, 1e6) == pytest.approx(1.959963984540054, rel=2e-6)
