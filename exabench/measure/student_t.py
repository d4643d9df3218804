"""Student's t distribution, for any degrees of freedom: the p-value of a t, and the t of a p-value.

The two-sided p-value is the regularised incomplete beta function I_x(freedom / 2, 1 / 2) at x = freedom / (freedom +
t^2). NIST's Digital Library of Mathematical Functions has the formulas (https://dlmf.nist.gov): the continued fraction
is 8.17.22, the symmetry 8.17.4, Stirling's series 5.11.1. All is computed in logarithms: tails of 1e-300 are exact to
ten digits and more.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)
_SHIFT = 20  # from here on Stirling's series is exact in double precision
_TERMS = 128  # of the continued fraction; any degrees of freedom need about a hundred, where t is 1.8
_NEWTON_STEPS = 100  # some ten are needed


class _Tail(NamedTuple):
    """Logarithms of the two-sided p-value, and of what it loses where ln t rises by a small step, by that step."""

    log_p: np.ndarray
    log_slope: np.ndarray


def two_sided_p(t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """The two-sided p-values of Student's t, (tests,) each; `freedom` > 0. An infinite t has p-value 0."""
    with np.errstate(divide="ignore"):
        log_t = np.log(np.abs(t))
    return np.exp(_tail(log_t, np.asarray(freedom, np.float64)).log_p)


@functools.lru_cache(maxsize=4096)  # many tests are over the same queries
def critical_t(p: float, freedom: float) -> float:
    """The t whose two-sided p-value is `p`, 0 < p < 1; inf where it is beyond float64.

    Newton's method in ln t: there ln p is concave and falls, so that every step but the first comes from the right.
    """
    # That of the normal distribution, which is never too large.
    log_t = np.log([-NormalDist().inv_cdf(p / 2)])
    for _ in range(_NEWTON_STEPS):
        tail = _tail(log_t, np.array([freedom]))
        step = (tail.log_p - math.log(p)) / np.exp(tail.log_slope - tail.log_p)
        log_t = log_t + step
        # The error of the next step is about the square of this one.
        if np.all(np.abs(step) <= 1e-9 * np.maximum(1.0, np.abs(log_t))):
            break
    with np.errstate(over="ignore"):
        return float(np.exp(log_t[0]))


def _tail(log_t: np.ndarray, freedom: np.ndarray) -> _Tail:
    half = freedom / 2
    # x / (1 - x) is freedom / t^2; the logarithms of x and of 1 - x stay exact where one of them rounds to 1.
    log_odds = 2 * log_t - np.log(freedom)
    log_x = -np.logaddexp(0.0, log_odds)
    log_rest = -np.logaddexp(0.0, -log_odds)
    log_front = half * log_x + 0.5 * log_rest + _log_gamma_step(half) - 0.5 * math.log(math.pi)
    # On the other side of this the fraction would need far more terms: there 1 - I_(1-x)(1/2, freedom/2) is computed.
    mirrored = log_x > np.log((half + 1) / (half + 2.5))
    a = np.where(mirrored, 0.5, half)
    b = np.where(mirrored, half, 0.5)
    x = np.exp(np.where(mirrored, log_rest, log_x))
    log_share = log_front - np.log(a) + np.log(_continued_fraction(x, a, b))
    log_p = log_share
    log_p[mirrored] = np.log1p(-np.exp(log_share[mirrored]))
    return _Tail(log_p, math.log(2.0) + log_front)


def _log_gamma_step(a: np.ndarray) -> np.ndarray:
    """ln (gamma(a + 1/2) / gamma(a)), without the difference of two large numbers."""
    ratio = np.ones(a.shape)
    for _ in range(_SHIFT):
        ratio *= a / (a + 0.5)
        a = a + 1.0
    series = a * np.log1p(0.5 / a) + 0.5 * np.log(a) - 0.5
    for place, coefficient in enumerate(_STIRLING):
        power = -2 * place - 1
        series += coefficient * ((a + 0.5) ** power - a**power)
    return series + np.log(ratio)


def _continued_fraction(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """1 / (1 + d1 / (1 + d2 / (1 + ...))), the last factor of the incomplete beta function, from its end."""
    terms = np.arange(1, _TERMS + 1)[:, None]
    halves = terms // 2
    tops = np.where(terms % 2 == 1, -(a + halves) * (a + b + halves), halves * (b - halves))
    value = np.ones(x.shape)
    for step in (tops * x / ((a + terms - 1) * (a + terms)))[::-1]:
        value = 1 + step / value
    return 1 / value
