"""Strengths from comparisons of pairs: Thurstone's model, fitted by maximum likelihood."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MOST_CERTAIN = 0.95
"""No comparison counts as more certain: what wins all of its comparisons would be infinitely strong."""
_STEPS = 100
_DIGITS = 6  # processors differ in the last bits of a fit, and the rows of a build must not


def thurstone(count: int, comparisons: Sequence[tuple[int, int, float]]) -> list[float]:
    """The strengths of things 0 to `count` - 1, of mean 0, by comparisons (one, other, probability that one is better).

    One is better with probability (1 + erf(s_one - s_other)) / 2: Thurstone 1927, case V, in the units of zELO
    (arXiv 2509.12541). The likelihood is log-concave and has one maximum where every two things are linked by
    comparisons; it is found by Newton's method. Strengths are rounded to six digits.
    """
    ones = np.array([one for one, _, _ in comparisons], dtype=np.int64)
    others = np.array([other for _, other, _ in comparisons], dtype=np.int64)
    chances = np.array([chance for _, _, chance in comparisons], dtype=np.float64)
    chances = np.clip(chances, 1 - MOST_CERTAIN, MOST_CERTAIN)
    strengths = np.zeros(count)
    for _ in range(_STEPS):
        gaps = strengths[ones] - strengths[others]
        up = _slopes(gaps)
        down = _slopes(-gaps)
        slopes = chances * up - (1 - chances) * down
        bends = chances * up * (up + 2 * gaps) + (1 - chances) * down * (down - 2 * gaps)
        gradient = np.bincount(ones, slopes, count) - np.bincount(others, slopes, count)
        curvature = np.zeros((count, count))
        np.add.at(curvature, (ones, ones), bends)
        np.add.at(curvature, (others, others), bends)
        np.add.at(curvature, (ones, others), -bends)
        np.add.at(curvature, (others, ones), -bends)
        # The shortest of the steps that do the same: all strengths may rise together.
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        longest = float(np.abs(step).max(initial=0.0))
        strengths += step / max(1.0, longest)
        if longest < 1e-12:
            break
    rounded = np.round(strengths, _DIGITS) + 0.0  # no negative zero
    return [float(strength) for strength in rounded]


def _slopes(gaps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The slope of log((1 + erf(gap)) / 2) at each gap."""
    from scipy.special import erfcx  # loading scipy takes a third of a second

    slopes: npt.NDArray[np.float64] = 2 / np.sqrt(np.pi) / erfcx(-gaps)
    return slopes
