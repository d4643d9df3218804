"""Statistics over per-query values: intervals, paired tests, correction, effect size, rank groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

RESAMPLES = 10_000
SEED = 20240601  # any number does, as long as everybody uses the same one
ALPHA = 0.05
_BLOCK = 4_000_000  # random draws held at a time


@dataclass(frozen=True)
class PairedTest:
    """System A against system B on the same queries; differences are A - B."""

    queries: int
    difference: float
    interval: tuple[float, float]
    t_test: float
    randomisation: float
    effect_size: float
    wins: int
    losses: int
    ties: int

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it."""
        return asdict(self) | {"interval": list(self.interval)}


def bootstrap_intervals(table: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Percentile bootstrap intervals of row means, (metrics, queries) in, (metrics, 2) out.

    10,000 resamples of the queries, the same ones for every metric, from a fixed seed (Sakai, SIGIR 2006).
    """
    if not table.shape[1]:
        return np.zeros((len(table), 2))
    return _interval(_resampled_means(np.asarray(table, np.float64).T), level).T


def mean_interval(groups: Sequence[np.ndarray], level: float = 0.95) -> tuple[float, float]:
    """The same for a mean of means: each group holds the values of one task and is resampled on its own."""
    means = sum(_resampled_means(np.asarray(group, np.float64)) for group in groups) / len(groups)
    low, high = _interval(np.asarray(means), level)
    return float(low), float(high)


def paired_test(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> PairedTest:
    """Compare two systems on the same queries, given as one array of values for each task.

    The difference is the mean over tasks of the mean over queries. The t-test is Student's paired test, two
    sided; over several tasks it takes the variance of the mean of means. The randomisation test flips the sign
    of each query's difference 10,000 times (Smucker, Allan and Carterette, CIKM 2007), seeded; its p-value
    counts the observed labelling, so it is never 0. The effect size is the mean difference over the standard
    deviation of the differences (Cohen's d for pairs).
    """
    differences = [np.asarray(x, np.float64) - np.asarray(y, np.float64) for x, y in zip(a, b, strict=True)]
    every = np.concatenate(differences)
    weights = np.concatenate([np.full(len(d), 1 / (len(d) * len(differences))) for d in differences])
    observed = math.fsum(every * weights)
    spread = float(every.std(ddof=1)) if len(every) > 1 else 0.0
    return PairedTest(
        queries=len(every),
        difference=observed,
        interval=mean_interval(differences),
        t_test=_t_test(differences, observed),
        randomisation=_randomisation_test(every * weights, observed),
        effect_size=float(every.mean()) / spread if spread else 0.0,
        wins=int((every > 0).sum()),
        losses=int((every < 0).sum()),
        ties=int((every == 0).sum()),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of a family of p-values, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def rank_groups(systems: Sequence[Sequence[np.ndarray]], alpha: float = ALPHA) -> list[int]:
    """Groups of systems, best first in and 1, 2, ... out, that the data cannot tell from their group's best.

    Walking down from a group's best system, every next one is tested against it (paired randomisation test,
    Holm over the systems below that leader); the first that is significantly worse opens the next group.
    """
    groups: list[int] = []
    leader = 0
    while leader < len(systems):
        below = systems[leader + 1 :]
        corrected = holm([paired_test(systems[leader], other).randomisation for other in below])
        size = 1 + next((i for i, p in enumerate(corrected) if p < alpha), len(below))
        groups += [groups[-1] + 1 if groups else 1] * size
        leader += size
    return groups


def _t_test(differences: Sequence[np.ndarray], observed: float) -> float:
    """Two-sided p-value; for several tasks the variance of the mean of means, Welch-Satterthwaite freedom."""
    parts = [(float(d.var(ddof=1)) / len(d) / len(differences) ** 2, len(d) - 1) for d in differences if len(d) > 1]
    variance = sum(v for v, _ in parts)
    if variance <= 0:
        return 1.0 if observed == 0 or not parts else 0.0
    freedom = variance**2 / sum(v**2 / n for v, n in parts)
    return float(2 * stdtr(freedom, -abs(observed) / math.sqrt(variance)))


def _randomisation_test(terms: np.ndarray, observed: float) -> float:
    """Share of sign assignments at least as extreme as the observed one."""
    rng = np.random.default_rng(SEED)
    rows, extreme = max(1, _BLOCK // max(1, len(terms))), 0
    limit = abs(observed) - 1e-12
    for start in range(0, RESAMPLES, rows):
        signs = rng.integers(0, 2, (min(rows, RESAMPLES - start), len(terms)), dtype=np.int8)
        extreme += int((np.abs((2.0 * signs - 1.0) @ terms) >= limit).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def _resampled_means(columns: np.ndarray) -> np.ndarray:
    """Means of bootstrap resamples of the rows: (queries, ...) in, (resamples, ...) out."""
    if not len(columns):
        return np.zeros((RESAMPLES, *columns.shape[1:]))
    return np.concatenate([weights @ columns for weights in _resample_weights(len(columns))])


def _resample_weights(size: int) -> Iterator[np.ndarray]:
    """Blocks of bootstrap weights, (resamples in the block, size); each row sums to 1."""
    rng = np.random.default_rng(SEED)
    rows = max(1, _BLOCK // size)
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        drawn = rng.integers(0, size, (count, size)) + np.arange(count)[:, None] * size
        yield np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size) / size


def _interval(means: np.ndarray, level: float) -> np.ndarray:
    return np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
