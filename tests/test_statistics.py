"""Intervals cover, tests agree with scipy and with exact enumeration, groups separate what differs."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from importlib import resources

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, strategies as st

from exabench.core.errors import BadInput
from exabench.measure.statistics import (
    ALPHA,
    RESAMPLES,
    bootstrap_intervals,
    holm,
    mean_intervals,
    more_queries,
    needed_queries,
    paired_test,
    standings,
)

RNG = np.random.default_rng(0)


def rank_groups(systems: list[list[np.ndarray]]) -> list[int]:
    return [standing.group for standing in standings(systems)]


P_VALUES = st.lists(st.floats(0, 1), max_size=8)


def test_holm_gives_the_textbook_answer_and_corrects_each_family_alone():
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(p_values, ["one", "other", "one", "other"]) == pytest.approx([0.02, 0.04, 0.03, 0.01])
    assert (holm([0.5, 0.6]), holm([])) == ([1.0, 1.0], [])


@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values, rng):
    adjusted = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, adjusted, strict=True))
    for (p, a), (q, b) in itertools.combinations(zip(values, adjusted, strict=True), 2):
        assert (p <= q) <= (a <= b)
    order = rng.sample(range(len(values)), len(values))
    assert holm([values[i] for i in order]) == [adjusted[i] for i in order]


@pytest.mark.parametrize("size", [2, 5, 43, 300])
def test_the_t_test_is_scipys(size):
    a, b = RNG.random(size), RNG.random(size)
    test, scipys = paired_test([a], [b]), scipy.stats.ttest_rel(a, b)
    assert test.p == pytest.approx(scipys.pvalue, rel=1e-9)
    assert test.interval == pytest.approx(tuple(scipys.confidence_interval(0.95)), rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 10])
def test_the_permutation_test_is_near_the_exact_one(size):
    for _ in range(4):
        differences = RNG.normal(0.4, 1, size).round(1)
        signs = np.array(list(itertools.product((-1, 1), repeat=size)))
        exact = np.mean(abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
        found = paired_test([differences], [np.zeros(size)], "permutation").p
        assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / RESAMPLES) + 2 / RESAMPLES)


def test_a_p_value_of_the_permutation_test_is_never_0_and_of_one_query_nothing_can_be_said():
    assert paired_test([np.ones(200)], [np.zeros(200)], "permutation").p == 1 / (RESAMPLES + 1)
    test = paired_test([np.array([0.9])], [np.array([0.1])])
    assert (test.p, test.interval) == (1.0, pytest.approx((0.8, 0.8)))
    assert test.as_text() == "+0.8000 [no interval: one query]"


def test_another_test_is_refused_and_the_old_names_say_what_to_write():
    with pytest.raises(BadInput, match="choose from: t, permutation"):
        paired_test([np.ones(2)], [np.ones(2)], "wilcoxon")
    with pytest.raises(AttributeError, match=r"now \.p"):
        _ = paired_test([np.ones(2)], [np.ones(2)]).randomisation


def test_a_paired_test_counts_and_measures():
    test = paired_test([np.array([1.0, 0.5, 0.0, 0.5])], [np.array([0.0, 0.5, 0.5, 0.0])])
    differences = np.array([1.0, 0.0, -0.5, 0.5])
    assert (test.queries, test.wins, test.losses, test.ties) == (4, 2, 1, 1)
    assert test.difference == pytest.approx(0.25)
    assert test.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1))
    assert test.interval[0] <= 0.25 <= test.interval[1]


def test_equal_systems_do_not_differ_and_a_pair_turned_around_turns_the_signs_only():
    a, b = RNG.random(40), RNG.random(40)
    test = paired_test([a], [a])
    assert (test.difference, test.p, test.effect_size, test.interval) == (0.0, 1.0, None, (0.0, 0.0))
    assert paired_test([a], [a], "permutation").p == 1.0
    one, other = paired_test([a], [b]), paired_test([b], [a])
    assert (one.difference, one.wins, one.losses) == (-other.difference, other.losses, other.wins)
    assert one.p == other.p and one.interval == pytest.approx((-other.interval[1], -other.interval[0]))


NOISE = np.random.default_rng(17).normal(0, 3e-16, 30)


@pytest.mark.parametrize("gain", [1.0, 0.1309, -0.5])
@pytest.mark.parametrize("noise", [np.zeros(30), NOISE])
def test_differences_that_do_not_vary_have_no_effect_size(gain, noise):
    test = paired_test([0.5 + gain + noise], [np.full(30, 0.5)])
    assert (test.effect_size, test.p, test.wins + test.losses) == (None, 0.0, 30)
    assert test.interval == pytest.approx((gain, gain))
    assert paired_test([np.array([0.9])], [np.array([0.1])]).effect_size is None


@pytest.mark.parametrize("name", ["t", "permutation"])
def test_rounding_wins_nothing_and_is_never_significant(name):
    a = np.linspace(0, 1, 30)
    for noise in (NOISE, np.abs(NOISE), np.full(30, 1e-13)):
        test = paired_test([a + noise], [a], name)
        assert (test.wins, test.losses, test.ties, test.effect_size, test.p) == (0, 0, 30, None, 1.0)
    # Two tasks that take from each other what they give: a mean of rounding alone.
    test = paired_test([np.full(9, 0.4), np.full(9, 0.3)], [np.full(9, 0.3), np.full(9, 0.4)], name)
    assert test.p > 0.05 and test.difference == pytest.approx(0, abs=1e-15)
    assert rank_groups([[a + np.abs(NOISE)], [a]]) == [1, 1]
    real = paired_test([np.append(a, 0.9) + 1e-16], [np.append(a, 0.1)], name)
    assert (real.wins, real.ties) == (1, 30)


def test_what_is_no_number_wins_no_test():
    a, b = np.linspace(0, 1, 20), np.linspace(1, 0, 20)
    for broken in (np.nan, np.inf):
        b[3] = broken
        for compared in (lambda: paired_test([a], [b]), lambda: paired_test([b], [b]), lambda: rank_groups([[a], [b]])):
            with pytest.raises(BadInput, match="not a finite number"):
                compared()
    with pytest.raises(BadInput, match="a p-value is not a number"):
        holm([0.01, float("nan")])
    with pytest.raises(BadInput, match="there is no query"):
        paired_test([np.zeros(0)], [np.zeros(0)])


IN_A_BROWSER = """
require(process.argv[1]);
const pairs = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(pairs.map(([a, b]) => globalThis.exabench.paired.pairedTest(a, b))));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="the pages' script needs Node")
def test_the_script_of_the_pages_computes_the_same():
    rng = np.random.default_rng(23)
    pairs = []
    for size in (1, 2, 5, 60):
        for sizes in ([size], [size, 7]):
            a = [rng.random(size).round(1) for size in sizes]
            noise = [rng.normal(0, 1e-16, size) for size in sizes]
            pairs.append((a, [rng.random(size).round(1) for size in sizes]))
            pairs.append((a, a))
            pairs.append((a, [values + noisy for values, noisy in zip(a, noise, strict=True)]))
            pairs.append((a, [values + 0.1309 + noisy for values, noisy in zip(a, noise, strict=True)]))
            pairs.append(([np.full(size, 0.4) for size in sizes], [np.full(size, 0.4 - 1e-13) for size in sizes]))
    pairs.append(([np.full(9, 0.4), np.full(9, 0.3)], [np.full(9, 0.3), np.full(9, 0.4)]))
    asked = json.dumps([[[list(task) for task in side] for side in pair] for pair in pairs])
    script = resources.files("exabench") / "board" / "pages" / "static" / "paired.js"
    done = subprocess.run(
        ["node", "-e", IN_A_BROWSER, str(script)], input=asked, capture_output=True, text=True, check=True
    )
    for (a, b), found in zip(pairs, json.loads(done.stdout), strict=True):
        expected = paired_test(a, b).as_json()
        del expected["test"]
        assert found.pop("interval") == pytest.approx(expected.pop("interval"), abs=1e-9)
        assert found == pytest.approx(expected, abs=1e-9)


def test_over_several_tasks_every_task_weighs_the_same():
    a, b = [np.full(10, 0.5), np.full(1000, 0.2)], [np.zeros(10), np.zeros(1000)]
    assert paired_test(a, b).difference == pytest.approx(0.35)
    assert mean_intervals([a])[0] == pytest.approx((0.35, 0.35))


def test_the_t_test_over_tasks_keeps_its_level():
    p_values = []
    for _ in range(60):
        a = [RNG.normal(0, 1, 40), RNG.normal(0, 3, 12)]
        p_values.append(paired_test(a, [np.zeros(40), np.zeros(12)]).p)
    assert np.mean(np.array(p_values) < 0.05) < 0.12


def test_constant_values_have_an_interval_of_no_width_and_no_queries_one_of_zeros():
    for size in (1, 2, 50):
        assert bootstrap_intervals(np.full((1, size), 0.3))[0] == pytest.approx([0.3, 0.3], abs=1e-12)
    assert bootstrap_intervals(np.zeros((2, 0))).tolist() == [[0, 0], [0, 0]]


def test_intervals_hold_their_mean_cover_the_truth_and_narrow_with_the_root_of_the_queries():
    covered = 0
    for _ in range(60):
        values = RNG.beta(2, 3, 60)  # mean 0.4
        low, high = bootstrap_intervals(values[None])[0]
        assert low < values.mean() < high
        covered += low <= 0.4 <= high
    assert 52 <= covered <= 60
    widths = [np.diff(bootstrap_intervals(RNG.random((1, size)))[0])[0] for size in (50, 800)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)


def test_systems_that_can_be_told_apart_are_in_groups_of_their_own():
    high, low, lowest = [[RNG.normal(mean, 0.02, 60)] for mean in (0.8, 0.5, 0.2)]
    near = [high[0] + RNG.normal(0, 0.2, 60)]
    assert rank_groups([high, low, lowest]) == [1, 2, 3]
    assert rank_groups([high] * 5) == [1] * 5
    assert rank_groups([high, near, lowest]) == [1, 1, 2]
    assert rank_groups([]) == []
    assert rank_groups([[np.array([0.5])]]) == [1]
    assert rank_groups([[np.array([0.9])], [np.array([0.1])]]) == [1, 1]  # one query


def test_the_order_of_queries_does_not_matter_for_means_and_t_tests():
    a, b, rng = RNG.random(50), RNG.random(50), random.Random(1)
    straight = paired_test([a], [b])
    for _ in range(5):
        order = rng.sample(range(50), 50)
        turned = paired_test([a[order]], [b[order]])
        assert turned.difference == straight.difference
        assert turned.p == pytest.approx(straight.p, rel=1e-9)
        assert turned.interval == pytest.approx(straight.interval, rel=1e-9)
        permuted = [paired_test([x], [y], "permutation").p for x, y in ((a, b), (a[order], b[order]))]
        assert permuted[0] == pytest.approx(permuted[1], abs=0.03)


def _groups_one_pair_at_a_time(systems: list[list[np.ndarray]]) -> list[int]:
    """The definition of rank groups, as it reads."""
    groups: list[int] = []
    leader = 0
    while leader < len(systems):
        below = systems[leader + 1 :]
        corrected = holm([paired_test(systems[leader], other).p for other in below])
        size = 1 + next((i for i, p in enumerate(corrected) if p < ALPHA), len(below))
        groups += [groups[-1] + 1 if groups else 1] * size
        leader += size
    return groups


def test_standings_computed_together_are_those_of_one_pair_at_a_time():
    rng = np.random.default_rng(8)
    for sizes in ((12,), (20, 9), (15,)):
        means = np.linspace(0.8, rng.uniform(0.3, 0.8), 7)
        systems = [[rng.normal(mean, 0.15, size).clip(0, 1).round(2) for size in sizes] for mean in means]
        systems.sort(key=lambda system: -np.mean([values.mean() for values in system]))
        found = standings(systems, reference=3)
        assert [one.group for one in found] == _groups_one_pair_at_a_time(systems)
        for place, system in enumerate(systems[:-1]):
            p_values = [paired_test(system, other).p for other in systems[place + 1 :]]
            corrected = holm(p_values)
            # One limit says of every system below what its corrected p says.
            assert [p < found[place].limit for p in p_values] == [p < ALPHA for p in corrected]
            if place < 3:
                assert found[place].p == pytest.approx(corrected[3 - place - 1])
            if place == 3:
                assert [one.p for one in found[4:]] == pytest.approx(corrected)
        assert found[3].p is None


def test_so_many_more_queries_give_the_test_its_power():
    """By drawing: with as many queries as it says, 8 of 10 tests find a difference of that mean and spread."""
    rng = np.random.default_rng(5)
    shape = rng.normal(0, 1, 50)
    differences = 0.2 + (shape - shape.mean()) / shape.std(ddof=1)  # mean 0.2, standard deviation 1
    more = more_queries([differences], [np.zeros(50)])
    assert more == np.ceil((1.959964 + 0.841621) ** 2 / 0.2**2 + 1.959964**2 / 2) - 50
    drawn = rng.normal(0.2, 1, (4000, 50 + more))
    found = scipy.stats.ttest_1samp(drawn, 0, axis=1).pvalue < ALPHA
    assert found.mean() == pytest.approx(0.8, abs=0.025)
    # Over two tasks of one shape each query counts half, and there are twice as many.
    both = more_queries([differences, differences], [np.zeros(50)] * 2)
    assert both == more + 50 - 100


def test_no_number_of_queries_is_told_where_there_is_no_difference_or_these_show_it():
    values = RNG.random(40)
    assert more_queries([values], [values]) is None
    assert more_queries([values], [values - 0.5 + RNG.normal(0, 0.01, 40)]) is None
    assert more_queries([values], [values - 0.5]) is None
    assert [one.more_queries for one in standings([[values], [values]])] == [None, None]


def test_an_interval_does_not_depend_on_its_company_and_is_the_same_every_time():
    table = RNG.random((3, 40))
    together = bootstrap_intervals(table)
    assert together.tolist() == bootstrap_intervals(table).tolist()
    for row, bounds in zip(table, together, strict=True):
        assert bootstrap_intervals(row[None])[0] == pytest.approx(bounds, abs=1e-12)
        assert mean_intervals([[row]])[0] == pytest.approx(tuple(bounds), abs=1e-10)
    systems = [[RNG.random(30), RNG.random(11)] for _ in range(70)]
    found = mean_intervals(systems)
    assert mean_intervals(systems[65:]) == found[65:]
    assert np.allclose(found[:5], [mean_intervals([system])[0] for system in systems[:5]], rtol=0, atol=1e-9)


def test_so_many_queries_give_the_paired_t_test_its_power():
    """Against the exact power of the t-test, by the non-central t distribution."""
    for effect, alpha in ((0.2, 0.05), (0.5, 0.05), (0.9, 0.01)):
        values = RNG.normal(0, 1, 40)
        values = (values - values.mean()) / values.std(ddof=1) + effect  # the mean is `effect` standard deviations
        needed = needed_queries([values], [np.zeros(40)], alpha)

        def power(count: int, effect: float = effect, alpha: float = alpha) -> float:
            critical = scipy.stats.t.ppf(1 - alpha / 2, count - 1)
            return float(scipy.stats.nct.sf(critical, count - 1, effect * np.sqrt(count)))

        assert power(needed) == pytest.approx(0.8, abs=0.01) and power(needed - 2) < 0.8
    assert needed_queries([values, values], [np.zeros(40)] * 2) == needed_queries([np.tile(values, 2)], [np.zeros(80)])
    assert needed_queries([values], [values]) is None and needed_queries([values], [values - 1]) is None
