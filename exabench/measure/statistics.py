"""Statistics over per-query values: intervals, the paired test, Holm's correction, effect size, rank groups, power.

One question, one test: whether A is better than B is answered by Student's paired t-test and its interval, everywhere.
With the permutation test it kept its error rates best on simulated topics (Urbano, Lima and Hanjalic, "Statistical
Significance Testing in Information Retrieval: An Empirical Analysis of Type I, Type II and Type III Errors", SIGIR
2019), and it has a closed form, so that a browser gives the same numbers. The permutation test is there on request.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from exabench.core.errors import BadInput
from exabench.measure.student_t import critical_t, two_sided_p

RESAMPLES = 10_000
SEED = 20240601  # any number does, as long as everybody uses the same one
ALPHA = 0.05
LEVEL = 0.95  # of every interval
_BOUNDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
TESTS = ("t", "permutation")
POWER = 0.8  # with which a test should find a difference; 0.8 is the convention (Cohen 1988)
TESTED = 1000  # best systems of a contest that are tested against all below them: of more that would take minutes
_BLOCK = 4_000_000  # random draws held at a time
_CACHED = 1 << 16  # of them counted together: they stay in a cache of the processor
_AT_ONCE = 64  # systems whose intervals are computed together
ROUNDING = 1e-12
"""A difference of two values up to this is rounding: a metric sums some thousand terms of at most 1, each off by 1e-16
or so, while rankings that differ do so by far more (in nDCG by 1e-7 where passages 1,000 and 1,001 change places)."""
_STEPS = 2.0**36  # of a value in mean_intervals; times 100,000 queries this is a whole number that float64 still holds


@dataclass(frozen=True)
class PairedTest:
    """System A against system B on the same queries; differences are A - B.

    `test` says where `p` (two-sided) and `interval` (95% of the difference) come from: "t" is Student's paired test,
    "permutation" the sign flips and the bootstrap. `effect_size` is None where the differences do not vary.
    """

    queries: int
    difference: float
    interval: tuple[float, float]
    p: float
    effect_size: float | None
    wins: int
    losses: int
    ties: int
    test: str = "t"

    def as_text(self) -> str:
        """The difference and its interval, as in "+0.0120 [-0.0030, +0.0270]"; one query has no interval."""
        if self.queries == 1:
            return f"{self.difference:+.4f} [no interval: one query]"
        low, high = self.interval
        return f"{self.difference:+.4f} [{low:+.4f}, {high:+.4f}]"

    def as_json(self) -> dict[str, Any]:
        """Every field, as JSON holds it."""
        return asdict(self) | {"interval": list(self.interval)}

    def __getattr__(self, name: str) -> Any:
        if name in ("t_test", "randomisation"):  # both were computed for every pair in version 0.1
            raise AttributeError(f"{name} is now .p of the chosen test: test='t' or test='permutation'")
        raise AttributeError(name)


def paired_test(
    a: Sequence[np.ndarray], b: Sequence[np.ndarray], test: str = "t", *, rounding: float = ROUNDING
) -> PairedTest:
    """Compare two systems on the same queries, given as one array of values for each task.

    The difference is the mean over tasks of the mean over queries. The t-test is Student's paired test; over several
    tasks it takes the variance of the mean of means, and Welch and Satterthwaite's degrees of freedom. With one query
    it has no power: p is 1. The permutation test flips the sign of each query's difference 10,000 times (Smucker,
    Allan and Carterette, CIKM 2007), seeded; its p counts the observed labelling, so it is never 0. The effect size is
    the mean difference over the standard deviation of the differences (Cohen's d for pairs), None where that is 0.

    Differences up to `rounding` are ties, and a spread up to it is none: results of older formats were made with 0.
    Raises BadInput for a test of another name, for no queries, and for a value that is not a number.
    """
    if test not in TESTS:
        raise BadInput(f"unknown paired test {test!r}; choose from: {', '.join(TESTS)}")
    differences = []
    lengths = []
    for ours, theirs in zip(a, b, strict=True):
        difference = differences_of(np.asarray(ours, np.float64), theirs, rounding)
        differences.append(difference)
        lengths.append(len(difference))
    if not lengths or min(lengths) == 0:
        raise BadInput("there is no query to compare the systems on")
    every = np.concatenate(differences)
    # Each task weighs the same, and within it each query.
    weights = 1 / (np.array(lengths) * len(lengths))
    terms = every * np.repeat(weights, lengths)
    observed = math.fsum(terms)
    effect_size = None
    if len(every) > 1:
        spread = every.std(ddof=1)
        if spread > rounding:
            effect_size = float(every.mean() / spread)
    if test == "t":
        found = _student(every[None], lengths, rounding)
        p = float(found.p[0])
        reach = 0.0
        if found.error[0] > 0:
            reach = float(found.error[0]) * critical_t(1 - LEVEL, float(found.freedom[0]))
        interval = (observed - reach, observed + reach)
    else:
        # In blocks: all sign flips at once would not fit into memory.
        rng = np.random.default_rng(SEED)
        extreme = 1  # the observed labelling is one of them
        for count in _blocks(len(terms)):
            signs = rng.integers(0, 2, (count, len(terms)), dtype=np.int8)
            sums = (2.0 * signs - 1.0) @ terms
            extreme += int((np.abs(sums) >= abs(observed) - ROUNDING).sum())
        p = extreme / (RESAMPLES + 1)
        interval = mean_intervals([differences])[0]
    return PairedTest(
        queries=len(every),
        difference=observed,
        interval=interval,
        p=p,
        effect_size=effect_size,
        wins=int((every > 0).sum()),
        losses=int((every < 0).sum()),
        ties=int((every == 0).sum()),
        test=test,
    )


def paired_test_of_format(number: int, a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> dict[str, Any]:
    """The paired test as a result of format 2, 3 or 4 holds it, so that an older one can still be verified."""
    if number >= 4:
        return paired_test(a, b).as_json()
    # Until then rounding could win, and an effect size that there was none of was 0.
    held = paired_test(a, b, rounding=0).as_json()
    if number == 2:  # version 0.1 held both tests
        permuted = paired_test(a, b, "permutation", rounding=0).as_json()
        held["interval"] = permuted["interval"]
        held["t_test"] = held.pop("p")
        held["randomisation"] = permuted["p"]
        del held["test"]
    if held["effect_size"] is None:
        held["effect_size"] = 0.0
    return held


def holm(p_values: Sequence[float], families: Sequence[Hashable] | None = None) -> list[float]:
    """Holm's step-down correction (1979) of p-values, in the order given.

    `families` names the family of each; only p-values of one family are corrected together. Raises BadInput for a
    p-value that is not a number: it would be neither above a limit nor below.
    """
    for p in p_values:
        if math.isnan(p):
            raise BadInput("a p-value is not a number: its test had no data")
    by_family: dict[Hashable, list[int]] = {}
    for place in range(len(p_values)):
        by_family.setdefault(families[place] if families else "", []).append(place)
    adjusted = np.zeros(len(p_values))
    values = np.asarray(p_values, np.float64)
    for places in by_family.values():
        adjusted[places] = _step_down(values[places])
    return adjusted.tolist()


def _step_down(p_values: np.ndarray) -> np.ndarray:
    """Holm's correction of one family."""
    # Smallest p first, times the number of hypotheses that are left; never below the one before.
    order = np.argsort(p_values, kind="stable")
    left = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * left))
    return adjusted


def family_p(system: Sequence[np.ndarray], below: Sequence[Sequence[np.ndarray]], test: str = "t") -> list[float]:
    """The corrected p of a system against each of those below it in its contest: one family, as in `standings`."""
    return holm([paired_test(system, other, test).p for other in below])


class Standing(NamedTuple):
    """What the tests say of one system in a contest.

    `limit` is the p under which its difference to a system below it is significant; None from place TESTED on. `p` is
    that of its test against the contest's reference, corrected, and `more_queries` those that would separate it from
    the next system of its group (see `more_queries`).
    """

    group: int
    limit: float | None
    p: float | None
    more_queries: float | None


def standings(systems: Sequence[Sequence[np.ndarray]], reference: int | None = None) -> list[Standing]:
    """The standing of each system of a contest, best first; an array of values for each task.

    Every system is tested against all below it, with Holm's correction over these: they are the family of each test,
    whichever pair is asked for. Groups follow from the same tests: the best system leads group 1, and the first that is
    significantly worse than the leader of a group leads the next one. `reference` is the place of the system (the first
    stage) that `p` is against. Raises BadInput for a value that is not a number.
    """
    if not systems:
        return []
    lengths = [len(values) for values in systems[0]]
    rows = np.stack([np.concatenate(system) for system in systems])
    found = []
    of_reference: list[float] = []  # the corrected p of the reference against those below it
    number = 0
    next_leader = 0
    for place in range(len(rows)):
        leads = place == next_leader
        limit = None
        p = None
        if place < TESTED or leads:
            differences = differences_of(rows[place], rows[place + 1 :], ROUNDING)
            corrected = _step_down(_student(differences, lengths, ROUNDING).p)
            worse = np.flatnonzero(corrected < ALPHA)
            # The p that Holm refuses to reject first would have to be below this.
            limit = ALPHA / max(1, len(corrected) - len(worse))
            if leads:
                number += 1
                next_leader = len(rows)
                if len(worse):
                    next_leader = place + 1 + int(worse[0])
            if reference is not None and place < reference:
                p = float(corrected[reference - place - 1])
            if place == reference:
                of_reference = corrected.tolist()
        if reference is not None and place > reference and of_reference:
            p = of_reference[place - reference - 1]
        more = None
        if place + 1 < min(next_leader, len(rows)):
            more = more_queries(systems[place], systems[place + 1])
        found.append(Standing(number, limit, p, more))
    return found


def more_queries(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> int | None:
    """How many queries `needed_queries` asks for beyond those that there are; None where these are enough."""
    needed = needed_queries(a, b)
    queries = sum(map(len, a))
    if needed is None or needed <= queries:
        return None
    return needed - queries


def needed_queries(a: Sequence[np.ndarray], b: Sequence[np.ndarray], alpha: float = ALPHA) -> int | None:
    """How many queries of the same kind a two-sided paired t-test at `alpha` needs to find, with power 0.8, what these
    show: an array for each task, whose shares stay as they are.

    (z(1 - alpha / 2) + z(0.8))^2 variances of a query's difference over its squared mean (Webber, Moffat and Zobel,
    "Statistical Power in Retrieval Experimentation", CIKM 2008), and z(1 - alpha / 2)^2 / 2 more, because the t-test
    must estimate the variance (Guenther, "Sample Size Formulas for Normal Theory T Tests", The American Statistician
    35(4), 1981). None where there is no difference, or no variance.
    """
    lengths = [len(values) for values in a]
    differences = differences_of(np.concatenate(a), np.concatenate(b), ROUNDING)
    means, variances, _ = _mean_difference(differences[None], lengths, ROUNDING)
    mean = float(means[0])
    of_a_query = float(variances[0]) * sum(lengths)
    if abs(mean) <= ROUNDING or of_a_query == 0:
        return None
    reach = NormalDist().inv_cdf(1 - alpha / 2)
    return math.ceil((reach + NormalDist().inv_cdf(POWER)) ** 2 * of_a_query / mean**2 + reach**2 / 2)


def bootstrap_intervals(table: np.ndarray) -> np.ndarray:
    """Percentile bootstrap intervals of row means, (metrics, queries) in, (metrics, 2) out.

    10,000 resamples of the queries, the same ones for every metric, from a fixed seed (Sakai, SIGIR 2006).
    """
    size = table.shape[1]
    if not size:
        return np.zeros((len(table), 2))
    columns = np.asarray(table, np.float64).T
    means = np.concatenate([counts / size @ columns for counts in _resample_counts(size)])
    return np.quantile(means, _BOUNDS, axis=0).T


def mean_intervals(systems: Sequence[Sequence[np.ndarray]]) -> list[tuple[float, float]]:
    """Bootstrap intervals of each system's mean over tasks of its mean over queries, an array for each task.

    All have values for the same queries; those of each task are resampled on their own. Values count in steps of 2**-36
    (1.5e-11): so every sum is exact, and an interval is the same to the last bit on any machine and in any company.
    """
    intervals: list[tuple[float, float]] = []
    for start in range(0, len(systems), _AT_ONCE):
        block = systems[start : start + _AT_ONCE]
        tasks = len(block[0])
        means = np.zeros((len(block), RESAMPLES))
        for task in range(tasks):
            values = np.stack([system[task] for system in block], axis=1)
            # Whole numbers: their sums are exact in any order.
            steps = np.rint(values * _STEPS)
            size = len(steps)
            if size:
                sums = np.concatenate([counts @ steps for counts in _resample_counts(size)])
                means += sums.T / (_STEPS * size)
        low, high = np.quantile(means / tasks, _BOUNDS, axis=1, overwrite_input=True)
        intervals += zip(low.tolist(), high.tolist(), strict=True)
    return intervals


def as_one_task(tasks: Sequence[np.ndarray]) -> np.ndarray:
    """The values of several tasks' queries as those of one, weighted so that its mean is the mean of their means."""
    if len(tasks) == 1:
        return tasks[0]
    total = sum(map(len, tasks))
    weighted = []
    for values in tasks:
        weight = total / (len(tasks) * len(values))
        weighted.append(values * weight)
    return np.concatenate(weighted)


def differences_of(a: np.ndarray, b: np.ndarray, rounding: float = ROUNDING) -> np.ndarray:
    """A - B, 0 where they are up to `rounding` apart. Raises BadInput for a value that is not a number."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("a query's value is not a finite number, so it cannot be compared")
    differences = a - b
    return np.where(np.abs(differences) <= rounding, 0.0, differences)


class _Student(NamedTuple):
    """Student's paired test of many systems, (systems,) each: p-values, standard errors and degrees of freedom.

    Where a system's differences do not vary, the error is 0 and the freedom 1.
    """

    p: np.ndarray
    error: np.ndarray
    freedom: np.ndarray


def _student(differences: np.ndarray, lengths: Sequence[int], rounding: float) -> _Student:
    """Student's paired test of each row, (systems, queries of all tasks).

    A standard deviation or a mean up to `rounding` is 0.
    """
    means, variance, below = _mean_difference(differences, lengths, rounding)
    error = np.sqrt(variance)
    # Where a system's differences are all equal, p is 0; it is 1 where they are 0, or each task has but one.
    p_if_constant = float(max(lengths) <= 1)
    p_values = np.where(np.abs(means) <= rounding, 1.0, p_if_constant)
    freedom = np.ones(len(differences))
    varies = variance > 0
    freedom[varies] = variance[varies] ** 2 / below[varies]
    p_values[varies] = two_sided_p(means[varies] / error[varies], freedom[varies])
    return _Student(p_values, error, freedom)


def _mean_difference(
    differences: np.ndarray, lengths: Sequence[int], rounding: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over tasks of many systems' mean differences, the variances of these, and a part of their freedom.

    (systems, queries of all tasks) in, three times (systems,) out; the last is the denominator of Welch and
    Satterthwaite's degrees of freedom.
    """
    # Each task weighs the same, whatever its number of queries.
    tasks = np.split(differences, np.cumsum(lengths)[:-1], axis=1)
    means = np.mean([task.mean(axis=1) for task in tasks], axis=0)
    variance = np.zeros(len(differences))
    below = np.zeros(len(differences))
    for task in tasks:
        size = task.shape[1]
        if size > 1:
            spread = task.var(axis=1, ddof=1)
            spread[spread <= rounding**2] = 0.0
            share = spread / size / len(tasks) ** 2
            variance += share
            below += share**2 / (size - 1)
    return means, variance, below


def _resample_counts(size: int) -> Iterator[np.ndarray]:
    """Blocks of bootstrap resamples, (resamples in the block, size), int64: how often each query was drawn."""
    rng = np.random.default_rng(SEED)
    together = max(1, _CACHED // size)
    for rows in _blocks(size):
        counts = np.empty((rows, size), np.int64)
        for start in range(0, rows, together):
            part = counts[start : start + together]
            # Every resample counts in cells of its own, so that one call counts them all.
            cells = rng.integers(0, size, part.shape)
            cells += np.arange(len(part))[:, None] * size
            part[:] = np.bincount(cells.ravel(), minlength=part.size).reshape(part.shape)
        yield counts


def _blocks(size: int) -> Iterator[int]:
    """RESAMPLES draws over `size` queries in blocks that fit into memory."""
    rows = max(1, _BLOCK // max(1, size))
    for start in range(0, RESAMPLES, rows):
        yield min(rows, RESAMPLES - start)
