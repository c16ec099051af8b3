"""Intervals for one look: against reference values, plain formulas and textbook tables."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.statistics import onelook
from mirrorkit.compare.statistics.onelook import (
    discordant,
    fieller_t,
    mcnemar_p,
    median_ranks,
    paired_t,
    quantile_difference_bootstrap,
    wilson,
)
from mirrorkit.compare.statistics.sequences import running

PRICES = np.arange(1, 201)
A = 1 + (37 * PRICES % 101) / 50
B = 0.5 * A + (53 * PRICES % 89) / 200 - 0.2


def test_reference_values_are_met() -> None:
    assert mcnemar_p(15, 3) == pytest.approx(0.007537841797, rel=1e-9)
    assert fieller_t(A, B, 0.05) == pytest.approx((0.5019053344, 0.5198173938), rel=1e-9)
    assert B.sum() / A.sum() == pytest.approx(0.5108554602, rel=1e-9)


def test_the_interval_of_a_mean_is_student_s() -> None:
    low, high = paired_t(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 0.05) or (0.0, 0.0)
    half = 2.7764451052 * math.sqrt(2.5) / math.sqrt(5)  # t with 4 degrees of freedom, from a table
    assert (low, high) == pytest.approx((3 - half, 3 + half), rel=1e-9)


def test_in_clusters_it_rests_on_the_clustered_error_and_on_their_number() -> None:
    low, high = paired_t(B - A, 0.05, PRICES % 23) or (0.0, 0.0)
    error = 0.01212673221 * math.sqrt(23 / 22)
    half = 2.0738730679 * error  # t with 22 degrees of freedom
    assert (low, high) == pytest.approx((-0.98005 - half, -0.98005 + half), rel=1e-8)
    apart = paired_t(B - A, 0.05, np.arange(200))
    assert apart == paired_t(B - A, 0.05, np.full(200, -1)) == paired_t(B - A, 0.05)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_the_interval_s_middle_is_the_mean_and_its_error_that_of_the_sequence(values: list[float]) -> None:
    array = np.array(values)
    low, high = paired_t(array, 0.1) or (math.nan, math.nan)
    scale = float(np.abs(array).max()) + 1e-9
    assert (low + high) / 2 == pytest.approx(array.mean(), abs=1e-9 * scale)
    half = -onelook._t(len(values), 0.1) * running(array).sd[-1]
    assert (low - high) / 2 == pytest.approx(half, rel=1e-6, abs=1e-6 * scale)


def test_fieller_s_ends_are_where_the_difference_is_just_told() -> None:
    for clusters in (None, PRICES % 23):
        for end in fieller_t(A, B, 0.05, clusters):
            low, high = paired_t(B - end * A, 0.05, clusters) or (1.0, 1.0)
            assert min(abs(low), abs(high)) < 1e-9


def test_a_ratio_to_a_total_that_may_be_zero_has_no_ends() -> None:
    assert fieller_t(np.array([0.0, 0.0, 5.0]), np.ones(3), 0.05) == (-math.inf, math.inf)
    assert fieller_t(np.zeros(9), np.ones(9), 0.05) == (-math.inf, math.inf)
    assert fieller_t(A, np.zeros(200), 0.05) == (0.0, 0.0)
    # their squares are too large for a float
    assert fieller_t(np.array([1.0, 1.0]), np.array([0.0, 1e155]), 0.05) == (-math.inf, math.inf)
    assert fieller_t(np.array([1.0, 1.0]), np.array([1e155, 1e155]), 0.05) == (-math.inf, math.inf)


def test_mcnemar_is_two_sided_and_never_above_one() -> None:
    assert mcnemar_p(0, 0) == mcnemar_p(4, 4) == 1.0
    assert mcnemar_p(3, 15) == mcnemar_p(15, 3)
    assert mcnemar_p(0, 6) == pytest.approx(2 / 64)


def test_discordant_pairs_are_told_as_if_half_a_pair_more_were_in_each_cell() -> None:
    low, high = discordant(3, 1_000, 7, 0.05) or (0.0, 0.0)
    middle, spread = 4 / 1_002, math.sqrt((7.5 + 3.5) - 16 / 1_002) / 1_002
    assert (low, high) == pytest.approx((middle - 1.959963985 * spread, middle + 1.959963985 * spread))
    assert discordant(7, 1_000, 3, 0.05) == pytest.approx((-high, -low))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_discordant_pairs_never_prove_a_share_exactly(minus: int, same: int, plus: int) -> None:
    n = minus + same + plus
    ends = discordant(minus, n, plus, 0.05)
    if n == 0:
        assert ends is None
    else:
        assert ends is not None
        assert -1 <= ends[0] < ends[1] <= 1
        assert ends[0] <= (plus - minus) / (n + 2) <= ends[1]


def test_wilson_s_interval_is_that_of_his_equation() -> None:
    for successes, n in ((0, 10), (3, 10), (10, 10), (37, 1_000)):
        for end in wilson(successes, n, 0.05) or ():
            if 0 < end < 1:
                z = (successes / n - end) / math.sqrt(end * (1 - end) / n)
                assert abs(z) == pytest.approx(1.959963985)
    assert (wilson(0, 10, 0.05) or (1,))[0] == 0.0
    assert (wilson(10, 10, 0.05) or (1, 0))[1] == 1.0


@given(st.integers(0, 300), st.sampled_from([0.2, 0.05, 0.01]))
def test_median_ranks_are_the_narrowest_that_cover(n: int, alpha: float) -> None:
    low, high = median_ranks(n, alpha)
    below = [math.comb(n, k) / 2**n for k in range(n + 1)]
    assert low + high == n + 1
    assert math.fsum(below[:low]) <= alpha / 2 + 1e-12 or n == 0
    if n:
        assert math.fsum(below[: low + 1]) > alpha / 2 - 1e-12


def test_median_ranks_of_a_table() -> None:
    assert median_ranks(100, 0.05) == (40, 61)
    assert median_ranks(5, 0.05) == (0, 6)
    assert median_ranks(0, 0.05) == (0, 1)


@pytest.mark.parametrize("p", [0.5, 0.95])
def test_quantiles_told_from_counts_vary_as_those_of_resamples(p: float) -> None:
    generator = np.random.default_rng(1)
    a = generator.lognormal(size=4_000)
    b = 1.1 * a * generator.lognormal(sigma=0.3, size=4_000)
    drawn = onelook._drawn(a, b, p, 600, np.random.default_rng(2))
    told = onelook._told(a, b, (np.sort(a), np.sort(b)), p, 600, np.random.default_rng(3))
    assert told.std() == pytest.approx(drawn.std(), rel=0.15)
    assert told.mean() == pytest.approx(drawn.mean(), abs=drawn.std() / 4)


@pytest.mark.parametrize("n", [500, 5_000])
def test_the_bootstrap_covers_the_difference_as_often_as_it_says(n: int) -> None:
    generator = np.random.default_rng(n)
    covered = 0
    for seed in range(100):
        a = generator.exponential(size=n)
        b = 0.5 * a + 0.5 * generator.exponential(size=n) + 1.0
        # the median of the mean of two exponentials: of a gamma of shape 2, halved
        truth = 0.8391734950 + 1.0 - math.log(2)
        low, high = quantile_difference_bootstrap(a, b, 0.5, 0.1, seed=seed) or (math.inf, -math.inf)
        covered += low <= truth <= high
    assert 80 <= covered <= 98


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50),
    st.lists(st.floats(0, 1), min_size=1, max_size=9),
)
def test_quantiles_at_many_levels_are_numpy_s(values: list[float], levels: list[float]) -> None:
    got = onelook._quantiles(np.sort(values), np.array(levels))
    np.testing.assert_allclose(got, np.quantile(values, levels), rtol=1e-9, atol=1e-9)


def test_the_bootstrap_says_the_same_again() -> None:
    first = quantile_difference_bootstrap(A, B, 0.95, 0.05)
    assert first == quantile_difference_bootstrap(A, B, 0.95, 0.05)
    assert first != quantile_difference_bootstrap(A, B, 0.95, 0.05, seed=1)


@pytest.mark.parametrize("times", [1, 20])
def test_the_bootstrap_of_columns_that_are_sorted_already_is_the_same(times: int) -> None:
    a, b = np.tile(A, times), np.tile(B, times)
    told = quantile_difference_bootstrap(a, b, 0.95, 0.05, ordered=(np.sort(a), np.sort(b)))
    assert told == quantile_difference_bootstrap(a, b, 0.95, 0.05)


def test_what_cannot_be_told_is_said_so_without_a_warning() -> None:
    none = np.array([])
    for values in (none, np.array([1.0]), np.array([1.0, math.nan]), np.array([1.0, math.inf])):
        assert paired_t(values, 0.05) is None
        assert fieller_t(values, values, 0.05) == (-math.inf, math.inf)
        assert quantile_difference_bootstrap(values, values, 0.5, 0.05) is None
    assert paired_t(A, 0.05, np.zeros(200, dtype=int)) is None
    assert paired_t(np.array([1e308, -1e308, 1e308]), 0.05) is None
    assert paired_t(np.full(9, 0.1), 0.05) == pytest.approx((0.1, 0.1))
    assert quantile_difference_bootstrap(np.full(9, 0.1), np.full(9, 0.3), 0.5, 0.05) == pytest.approx(
        (0.2, 0.2)
    )
    assert discordant(0, 0, 0, 0.05) is None
    assert wilson(0, 0, 0.05) is None
