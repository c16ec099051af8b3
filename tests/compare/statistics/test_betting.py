"""Tests by betting: the reference values, exact bounds, and the first value at which a claim is refuted."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.betting import (
    bounds,
    first_rejection,
    log_e_mcnemar,
    log_wealth,
    quantile_ranks,
    upper,
)

THREE = np.array([0.0, 0.5, 1.0])
shares = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=60).map(np.array)


def plain(values: np.ndarray, m: float) -> float:
    """ln of the evidence, as the formula is written."""
    fortunes = [math.fsum(math.log(1 - f * (x - m) / (1 - m)) for x in values) for f in betting.BETS]
    most = max(fortunes)
    return most + math.log(math.fsum(math.exp(fortune - most) for fortune in fortunes) / 24)


def test_reference_values_are_met() -> None:
    counts = np.array([3, 990, 7])
    assert log_wealth(THREE, (0.01 + 1) / 2, counts) == pytest.approx(0.6883183776, rel=1e-9)
    assert 2 * upper(THREE, 0.05, counts) - 1 == pytest.approx(0.01505882184, rel=1e-8)
    mapped = [2 * end - 1 for end in bounds(THREE, 0.05, counts)]
    assert mapped == pytest.approx([-0.00660788929, 0.01630616735], rel=1e-8)
    wins = bounds(THREE, 0.05, np.array([120, 60, 140]))
    assert wins == pytest.approx((0.4456439671, 0.6162510624), rel=1e-9)
    assert quantile_ranks(100, 0.5, 0.05) == (34, 67)
    assert quantile_ranks(500, 0.95, 0.05) == (456, 489)
    assert log_e_mcnemar(15, 3) == pytest.approx(2.67436225, rel=1e-8)


def test_the_bets_are_those_of_the_page() -> None:
    assert sorted(betting.BETS) == sorted(
        [k / 21 for k in range(1, 21)] + [2.0**-j / 21 for j in range(1, 5)]
    )


@given(shares, st.floats(0, 0.999))
def test_the_evidence_is_the_formula(values: np.ndarray, m: float) -> None:
    assert log_wealth(values, m) == pytest.approx(plain(values, m), rel=1e-9, abs=1e-9)


@given(shares, st.sampled_from([0.5, 0.1, 0.05, 0.001]))
def test_bounds_hold_the_mean_and_know_no_order(values: np.ndarray, alpha: float) -> None:
    low, high = bounds(values, alpha)
    assert 0 <= low <= values.mean() + 1e-12
    assert values.mean() - 1e-12 <= high <= 1
    assert bounds(values[::-1], alpha) == (low, high)
    distinct, counts = np.unique(values, return_counts=True)
    assert bounds(distinct[::-1], alpha, counts[::-1]) == (low, high)
    assert bounds(np.append(distinct, 0.3), alpha, np.append(counts, 0)) == (low, high)
    assert bounds(1 - values, alpha) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1), st.lists(st.floats(0, 1), max_size=2))
def test_shares_are_counted_and_other_values_among_them_too(halves: list[float], others: list[float]) -> None:
    values = np.array([*halves, *others])
    distinct, counts = np.unique(values, return_counts=True)
    assert bounds(values, 0.05) == bounds(distinct, 0.05, counts)


@given(shares, st.sampled_from([0.5, 0.1, 0.05]))
def test_the_upper_bound_is_where_the_evidence_suffices(values: np.ndarray, alpha: float) -> None:
    high = upper(values, alpha)
    if high < 1:
        assert log_wealth(values, min(high + 1e-9, 1.0)) >= -math.log(alpha)
    if high > values.mean() + 1e-9:
        assert log_wealth(values, high - 1e-9) < -math.log(alpha) + 1e-6


@pytest.mark.parametrize(("one", "other"), [(1, 1), (0.5, 3), (3, 0.2)])
def test_too_many_different_values_widen_the_bounds_by_the_grid_at_most(one: float, other: float) -> None:
    """The evidence itself is never rounded: it suffices at the bounds, and not much within them."""
    values = np.random.default_rng(0).beta(one, other, betting.MOST_DISTINCT + 5_000)
    assert len(np.unique(values)) > betting.MOST_DISTINCT
    low, high = bounds(values, 0.05)
    target = math.log(40)
    for x, bound in ((values, high), (1 - values, 1 - low)):
        assert log_wealth(x, bound) >= target
        assert log_wealth(x, bound - 2 / betting.GRID) < target
    assert upper(values, 0.025) == high


@given(shares, st.floats(-0.5, 1.5) | st.sampled_from([0.0, 1.0]), st.floats(0.01, 4), st.booleans())
def test_the_first_rejection_is_that_of_trying_each_prefix(
    values: np.ndarray, m: float, threshold: float, falling: bool
) -> None:
    thresholds = (
        np.linspace(threshold, threshold / 2, len(values)) if falling else np.full(len(values), threshold)
    )
    wealth = [log_wealth(values[: n + 1], m) for n in range(len(values))]
    if any(abs(w - t) < 1e-9 for w, t in zip(wealth, thresholds, strict=True)):
        return
    expected = next((n for n, w in enumerate(wealth) if w >= thresholds[n]), None)
    assert first_rejection(values, m, thresholds) == expected
    if not falling:
        assert first_rejection(values, m, threshold) == expected


def test_a_rejection_beyond_the_first_chunk_is_found_where_it_is() -> None:
    values = np.random.default_rng(3).choice(THREE, 30_000, p=[0.012, 0.98, 0.008])
    first = first_rejection(values, 0.5, math.log(20))
    assert first is not None
    assert first > 4_096
    assert log_wealth(values[: first + 1], 0.5) >= math.log(20) > log_wealth(values[:first], 0.5)
    # what comes later changes nothing
    assert first_rejection(values[: first + 1], 0.5, math.log(20)) == first
    assert first_rejection(values[:first], 0.5, math.log(20)) is None


def test_claims_at_the_ends_and_beyond() -> None:
    ones = np.ones(50)
    mixed = np.append(np.ones(20), 0.99)
    assert log_wealth(ones, 1.0) == 0.0
    assert log_wealth(mixed, 1.0) == math.inf
    assert log_wealth(ones, 1.01) == math.inf
    assert log_wealth(np.zeros(1_000), 0.0) <= 0
    assert first_rejection(ones, 1.0, 3.0) is None
    assert first_rejection(mixed, 1.0, 3.0) == 20
    assert first_rejection(ones, 1.2, 3.0) == 0
    assert first_rejection(np.zeros(1_000), 0.0, 3.0) is None
    assert first_rejection(np.zeros(1_000), -0.3, 3.0) is None
    assert upper(ones, 0.05) == 1.0
    assert bounds(np.zeros(1_000), 0.05)[0] == 0.0
    assert 0 < bounds(np.zeros(1_000), 0.05)[1] < 0.01


def test_what_cannot_be_told_is_said_so() -> None:
    for values in ([], [math.nan], [0.5, math.inf], [0.5] * 99 + [1.1], [-0.1] * 99):
        array = np.array(values)
        assert bounds(array, 0.05) == (0.0, 1.0)
        assert upper(array, 0.05) == 1.0
        assert log_wealth(array, 0.5) == 0.0
        assert first_rejection(array, 0.9, 1.0) is None or len(values) == 100
    # a rejection before the bad value stands
    assert first_rejection(np.array([0.0] * 60 + [math.nan] * 60), 0.1, math.log(20)) == 45
    assert first_rejection(np.array([0.0] * 30 + [math.nan] * 60), 0.1, math.log(20)) is None


def test_rounding_beyond_the_ends_is_forgiven() -> None:
    assert bounds(np.array([-1e-12, 1 + 1e-12] * 30), 0.05) == bounds(np.array([0.0, 1.0] * 30), 0.05)


@given(st.integers(0, 400), st.floats(0.01, 0.99), st.sampled_from([0.2, 0.05, 0.01]))
def test_quantile_ranks_are_the_last_counts_that_do_not_contradict(n: int, p: float, alpha: float) -> None:
    low, high = quantile_ranks(n, p, alpha)
    assert 0 <= low <= n * p + 1
    assert n * p <= high <= n + 1
    assert low < high or n == 0
    target = math.log(2 / alpha)
    for rank, level in ((low, p), (n + 1 - high, 1 - p)):
        for count, contradicts in ((rank - 1, True), (rank, False)):
            if n and 0 <= count <= n:
                wealth = log_wealth(np.array([0.0, 1.0]), level, np.array([n - count, count]))
                assert (wealth >= target) == contradicts


def test_a_quantile_of_anything_is_seldom_missed_at_any_look() -> None:
    generator = np.random.default_rng(11)
    missed = 0
    for _ in range(200):
        values = generator.exponential(size=600)
        for n in range(20, 601, 20):
            low, high = quantile_ranks(n, 0.5, 0.1)
            ends = np.concatenate([[-np.inf], np.sort(values[:n]), [np.inf]])
            if not ends[low] <= math.log(2) <= ends[high]:
                missed += 1
                break
    assert missed <= 20


def test_a_true_share_is_seldom_refuted_at_any_look() -> None:
    generator = np.random.default_rng(12)
    false = sum(
        first_rejection(generator.choice(THREE, 2_000, p=[0.03, 0.93, 0.04]), 0.505, math.log(20)) is not None
        for _ in range(200)
    )
    assert false <= 10


def test_mcnemar_is_symmetric_and_starts_without_evidence() -> None:
    assert log_e_mcnemar(0, 0) == 0.0
    assert log_e_mcnemar(3, 15) == pytest.approx(log_e_mcnemar(15, 3))
    assert log_e_mcnemar(8, 8) < 0 < log_e_mcnemar(16, 0)
