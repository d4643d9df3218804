"""Statistics over per-query values: intervals, paired tests, correction, effect size, rank groups."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

RESAMPLES = 10_000
SEED = 20240601  # any number does, as long as everybody uses the same one
ALPHA = 0.05
_BLOCK = 4_000_000  # random draws held at a time
_AT_ONCE = 64  # systems worked out together
_STEPS = 2.0**36  # of a value in mean_intervals; times 100,000 queries this is a whole number that float64 still holds


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
    given, adjusted = np.asarray(p_values, np.float64), np.empty(len(p_values))
    order = np.argsort(given, kind="stable")
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(given), 0, -1) * given[order]))
    return [float(p) for p in adjusted]


def mean_intervals(systems: Sequence[Sequence[np.ndarray]], level: float = 0.95) -> list[tuple[float, float]]:
    """`mean_interval` of many systems with values for the same queries, an array for each task.

    Values count in steps of 2**-36 (1.5e-11): so every sum is exact, and a system's interval is the same to the last
    bit whatever others it is worked out with.
    """
    found: list[tuple[float, float]] = []
    for start in range(0, len(systems), _AT_ONCE):
        block = systems[start : start + _AT_ONCE]
        means = np.zeros((len(block), RESAMPLES))
        for task in range(len(block[0])):
            columns = np.rint(np.stack([system[task] for system in block], axis=1) * _STEPS)
            means += _resampled_counts(columns).T / (_STEPS * max(1, len(columns)))
        low, high = np.quantile(means / len(block[0]), [(1 - level) / 2, (1 + level) / 2], axis=1, overwrite_input=True)
        found += zip(low.tolist(), high.tolist(), strict=True)
    return found


def rank_groups(systems: Sequence[Sequence[np.ndarray]], alpha: float = ALPHA) -> list[int]:
    """Groups of systems, best first in and 1, 2, ... out, that the data cannot tell from their group's best.

    Walking down from a group's best system, every next one is tested against it (paired randomisation test,
    Holm over the systems below that leader); the first that is significantly worse opens the next group. Where so many
    are below that not even the smallest p-value of RESAMPLES sign flips would survive Holm, the paired t-test is taken.
    """
    if not systems:
        return []
    lengths = [len(values) for values in systems[0]]
    weights = np.concatenate([np.full(n, 1 / (n * len(lengths))) for n in lengths])
    rows = np.stack([system[0] if len(system) == 1 else np.concatenate(system) for system in systems])
    groups: list[int] = []
    leader = 0
    while leader < len(systems):
        below = len(systems) - leader - 1
        size = 1 + below
        if below:
            differences = rows[leader] - rows[leader + 1 :]
            many = below / (RESAMPLES + 1) >= alpha
            tests = _t_tests(differences, lengths) if many else _randomisation_tests(differences * weights)
            size = 1 + next((i for i, p in enumerate(holm(tests)) if p < alpha), below)
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
    return float(_two_sided(freedom, abs(observed) / math.sqrt(variance)))


def _t_tests(differences: np.ndarray, lengths: Sequence[int]) -> list[float]:
    """`_t_test` for many systems at once, (systems, queries of all tasks) in."""
    parts = np.split(differences, np.cumsum(lengths)[:-1], axis=1)
    means = np.sum([part.mean(axis=1) for part in parts], axis=0) / len(parts)
    varied = [part for part in parts if part.shape[1] > 1]
    shares = [part.var(axis=1, ddof=1) / part.shape[1] / len(parts) ** 2 for part in varied]
    variance = np.sum(shares, axis=0) if varied else np.zeros(len(differences))
    freed = [share**2 / (part.shape[1] - 1) for share, part in zip(shares, varied, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _two_sided(variance**2 / np.sum(freed, axis=0), np.abs(means) / np.sqrt(variance))
    exact = np.where(means == 0, 1.0, 0.0 if varied else 1.0)  # no two of a system's differences differ
    return [float(p) for p in np.where(variance > 0, found, exact)]


def _two_sided(freedom: Any, t: Any) -> Any:
    """How likely Student's t is at least so far from 0 on either side; any shapes that numpy brings together."""
    from scipy.special import stdtr  # a third of what a small board takes to build, which has no need of it

    return 2 * stdtr(freedom, -t)


def _randomisation_test(terms: np.ndarray, observed: float) -> float:
    """Share of sign assignments at least as extreme as the observed one."""
    return _p_values(terms[:, None], np.array([observed]))[0]


def _randomisation_tests(terms: np.ndarray) -> list[float]:
    """The same for many systems, (systems, queries) in: all meet the same sign assignments."""
    found: list[float] = []
    for start in range(0, len(terms), _AT_ONCE):
        block = terms[start : start + _AT_ONCE]
        found += _p_values(np.ascontiguousarray(block.T), np.array([math.fsum(row) for row in block]))
    return found


def _p_values(columns: np.ndarray, observed: np.ndarray) -> list[float]:
    rng = np.random.default_rng(SEED)
    rows, extreme = max(1, _BLOCK // max(1, len(columns))), np.zeros(columns.shape[1], np.int64)
    limits = np.abs(observed) - 1e-12
    for start in range(0, RESAMPLES, rows):
        signs = rng.integers(0, 2, (min(rows, RESAMPLES - start), len(columns)), dtype=np.int8)
        extreme += (np.abs((2.0 * signs - 1.0) @ columns) >= limits).sum(axis=0)
    return [(int(count) + 1) / (RESAMPLES + 1) for count in extreme]


def _resampled_counts(columns: np.ndarray) -> np.ndarray:
    """Sums of bootstrap resamples of the rows, (queries, systems) of whole numbers in, (resamples, systems) out."""
    if not len(columns):
        return np.zeros((RESAMPLES, columns.shape[1]))
    return np.concatenate([np.rint(weights * len(columns)) @ columns for weights in _resample_weights(len(columns))])


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
