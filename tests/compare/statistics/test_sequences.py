"""Confidence sequences: the reference values, and every prefix by the plain formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.statistics.ratios import effective_clusters, joint
from mirrorkit.compare.statistics.sequences import (
    BURN_IN,
    BURN_IN_RATIO,
    CLUSTERS,
    T_OPT,
    T_OPT_CLUSTERS,
    best_rho2,
    ratio_of_totals,
    running,
    two_sided,
    unit_radius,
)

PRICES = np.arange(1, 201)
A = 1 + (37 * PRICES % 101) / 50
B = 0.5 * A + (53 * PRICES % 89) / 200 - 0.2
SINES = np.sin(np.arange(1, 301) ** 2.0)

numbers = st.floats(-1e3, 1e3).map(lambda x: round(x, 6))


@st.composite
def sequences(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Values, and a cluster of each: few codes, so that they come again, and -1."""
    values = draw(st.lists(numbers, min_size=1, max_size=40))
    codes = draw(st.lists(st.integers(-1, 6), min_size=len(values), max_size=len(values)))
    return np.array(values), np.array(codes)


def plain(values: np.ndarray, codes: np.ndarray) -> tuple[float, float, int]:
    """Mean, standard deviation of a cluster, and number of clusters, as the formula is written."""
    names = [f"own {place}" if code < 0 else code for place, code in enumerate(codes)]
    mean = math.fsum(values) / len(values)
    sums = dict.fromkeys(names, 0.0)
    for name, value in zip(names, values, strict=True):
        sums[name] += value - mean
    groups = len(sums)
    if groups < 2:
        return mean, math.nan, groups
    error = math.sqrt(math.fsum(s * s for s in sums.values())) / len(values)
    return mean, error * math.sqrt(groups / (groups - 1)) * math.sqrt(groups), groups


def test_reference_values_are_met() -> None:
    assert best_rho2(500, 0.05) == pytest.approx(0.01642393612, rel=1e-9)
    assert best_rho2(1_000, 0.10) == pytest.approx(0.00663835207, rel=1e-9)
    assert unit_radius(100, 0.05, 500) == pytest.approx(0.3347056154, rel=1e-9)
    assert unit_radius(100, 0.05, 1_000, one_sided=True) == pytest.approx(0.3632182742, rel=1e-9)
    sines = running(SINES)
    mean, sd = sines.mean[-1], sines.sd[-1]
    assert (mean, sd) == pytest.approx((-0.01394191151, 0.7081832916), rel=1e-9)
    radius = sd * unit_radius(300, 0.05, 500)
    assert (mean - radius, mean + radius) == pytest.approx((-0.1389530502, 0.1110692272), rel=1e-8)
    assert ratio_of_totals(A, B, 0.05, t_opt=500) == pytest.approx((0.4966978521, 0.5250426365), rel=1e-8)


def test_the_clustered_error_is_the_reference_and_its_small_sample_factor() -> None:
    alone, together = running(B - A), running(B - A, PRICES % 23)
    assert together.mean[-1] == pytest.approx(-0.98005, rel=1e-8)
    assert alone.sd[-1] / math.sqrt(200) == pytest.approx(0.02224862341, rel=1e-8)
    cr0 = together.sd[-1] / math.sqrt(23) * math.sqrt(22 / 23)
    assert cr0 == pytest.approx(0.01212673221, rel=1e-8)
    assert (alone.clustered, together.clustered) == (False, True)


@given(sequences())
def test_each_prefix_is_what_the_plain_formula_says_of_it(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    values, codes = drawn
    got = running(values, codes)
    scale = max(np.abs(values).max(), 1e-6)
    for n in range(1, len(values) + 1):
        mean, sd, groups = plain(values[:n], codes[:n])
        assert got.pairs[n - 1] == n
        assert got.groups[n - 1] == groups
        assert got.effective[n - 1] == pytest.approx(effective_clusters(codes[:n]))
        assert got.mean[n - 1] == pytest.approx(mean, abs=1e-12 * scale)
        # a variance near 0 is known to the rounding of squares
        assert got.sd[n - 1] == pytest.approx(sd, rel=1e-9, abs=3e-7 * scale, nan_ok=True)


@given(sequences(), st.floats(1e-6, 1e6))
def test_clusters_of_one_each_are_as_no_clusters(drawn: tuple[np.ndarray, np.ndarray], scale: float) -> None:
    values = drawn[0] * scale
    alone = running(values)
    for codes in (np.full(len(values), -1), np.arange(len(values))[::-1]):
        apart = running(values, codes)
        assert not apart.clustered
        for name in ("pairs", "mean", "sd", "groups", "effective"):
            np.testing.assert_array_equal(getattr(apart, name), getattr(alone, name))


def test_a_large_offset_costs_no_precision() -> None:
    codes = np.arange(300) % 41
    for clusters in (None, codes):
        np.testing.assert_allclose(running(SINES + 1e6, clusters).sd, running(SINES, clusters).sd, rtol=1e-7)


@pytest.mark.parametrize("codes", [None, np.arange(300) % 150])
def test_a_prefix_knows_nothing_of_what_comes_after_it(codes: np.ndarray | None) -> None:
    for later in (1e9, math.inf, -math.inf, math.nan):
        changed = SINES.copy()
        changed[200] = later
        before, after = running(SINES, codes), running(changed, codes)
        np.testing.assert_allclose(after.sd[:200], before.sd[:200], rtol=1e-6)
        np.testing.assert_allclose(after.mean[:200], before.mean[:200], rtol=1e-6)
        if not math.isfinite(later):
            assert np.isnan(after.mean[200:]).all()
            assert np.isnan(after.sd[200:]).all()
            assert np.isinf(after.radius(0.05)[200:]).all()


def test_the_radius_is_the_formula_from_the_burn_in_on() -> None:
    sines = running(SINES)
    radius = sines.radius(0.05)
    assert np.isinf(radius[: BURN_IN - 1]).all()
    expected = [sines.sd[n - 1] * unit_radius(n, 0.05, T_OPT) for n in range(BURN_IN, 301)]
    np.testing.assert_allclose(radius[BURN_IN - 1 :], expected)
    assert sines.radius_at_end(0.05) == radius[-1]
    assert np.isfinite(sines.radius(0.05, burn_in=2)[1:]).all()
    assert (sines.radius(0.05, one_sided=True)[BURN_IN:] < radius[BURN_IN:]).all()


@given(
    st.integers(1, 400),
    st.sampled_from([None, np.arange(400) // 4, np.arange(400) % 150 - 1, np.arange(400) % 29]),
    st.sampled_from([None, math.nan, math.inf, -math.inf, 1e300]),
)
def test_the_interval_at_the_end_is_that_of_the_last_prefix(
    n: int, codes: np.ndarray | None, odd: float | None
) -> None:
    values, clusters = np.sin(np.arange(n) ** 2.0), None if codes is None else codes[:n]
    if odd is not None:
        values[n // 2] = odd
    sequence = running(values, clusters)
    radius = sequence.radius_at_end(0.05)
    told = two_sided(values, 0.05, clusters)
    if math.isinf(radius):
        assert told is None
    else:
        mean, radius = sequence.mean[-1], radius * sequence.widening(values, np.array([n]))[0]
        assert told == pytest.approx((mean - radius, mean + radius), rel=1e-9, abs=1e-12)


def test_in_clusters_the_radius_counts_clusters_and_waits_for_enough_of_them() -> None:
    codes = np.repeat(np.arange(60), 5)
    codes[:110] = -1  # nobody came twice yet
    sines = running(SINES, codes)
    radius = sines.radius(0.05)
    assert radius[109] == sines.sd[109] * unit_radius(110, 0.05, T_OPT)
    assert radius[-1] == sines.sd[-1] * unit_radius(sines.groups[-1], 0.05, T_OPT_CLUSTERS)
    few = running(SINES, np.arange(300) % (CLUSTERS - 1))
    assert np.isinf(few.radius(0.05, burn_in=CLUSTERS)).all()
    assert two_sided(SINES, 0.05, np.arange(300) % (CLUSTERS - 1)) is None
    assert two_sided(SINES, 0.05, np.arange(300) % CLUSTERS) is not None


def test_one_large_cluster_among_small_ones_is_not_many() -> None:
    codes = np.where(np.arange(300) % 3 == 0, -1, 0)  # 101 clusters, of 200 pairs and of one each
    told = running(SINES, codes)
    assert told.groups[-1] == 101
    assert told.effective[-1] == pytest.approx(300**2 / (200**2 + 100))
    assert two_sided(SINES, 0.05, codes) is None
    assert ratio_of_totals(SINES + 2, SINES + 2, 0.05, codes) == (-math.inf, math.inf)


def test_alpha_may_change_along_the_sequence() -> None:
    sines = running(SINES)
    alpha = np.where(np.arange(300) < 200, 0.05, 0.025)
    radius = sines.radius(alpha, one_sided=True)
    np.testing.assert_array_equal(radius[:200], sines.radius(0.05, one_sided=True)[:200])
    np.testing.assert_array_equal(radius[200:], sines.radius(0.025, one_sided=True)[200:])


def test_what_cannot_be_told_is_said_so_without_a_warning() -> None:
    none = np.array([])
    for values in (none, np.array([1.0]), np.array([math.nan] * 200), np.array([1e308, -1e308] * 100)):
        for clusters in (None, np.zeros(len(values), dtype=int)):
            assert two_sided(values, 0.05, clusters) is None
            assert ratio_of_totals(values, values, 0.05, clusters)[1] == math.inf
    assert running(none).radius(0.05).size == 0
    assert running(none).radius_at_end(0.05) == math.inf
    assert two_sided(np.full(200, 0.1), 0.05) == (0.1, 0.1)
    assert unit_radius(100, 0.9, 500, one_sided=True) > 0


def test_alphas_near_one_are_no_trouble() -> None:
    assert 0 < unit_radius(100, 0.99, 500) < unit_radius(100, 0.5, 500)


@given(st.lists(st.tuples(st.floats(0.01, 10), st.just(0.0) | st.floats(1e-3, 10)), min_size=2, max_size=30))
def test_the_ends_of_a_ratio_are_where_the_difference_is_just_told(pairs: list[tuple[float, float]]) -> None:
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    codes = np.arange(len(a)) // 2
    for clusters in (None, codes):
        low, high = ratio_of_totals(a, b, 0.05, clusters, burn_in=0, t_opt=50)
        if math.isinf(high):
            continue
        assert 0 <= low <= b.sum() / a.sum() * (1 + 1e-9)
        assert high >= b.sum() / a.sum() * (1 - 1e-9)
        for end in (low, high):
            if end > 0:
                told, left = running(b - end * a, clusters), b - b.sum() / a.sum() * a
                k = unit_radius(told.groups[-1], 0.05, 50)
                k *= running(left, clusters).widening(left, np.array([len(a)]))[0]
                assert abs(told.mean[-1]) == pytest.approx(k * told.sd[-1], rel=1e-4, abs=1e-6)


def test_a_ratio_waits_for_pairs_and_clusters_and_for_a_total_that_is_not_zero() -> None:
    unknown = (-math.inf, math.inf)
    assert ratio_of_totals(A[:-1], B[:-1], 0.05) == unknown
    assert len(A) == BURN_IN_RATIO
    assert ratio_of_totals(A, B, 0.05)[1] < 1
    assert ratio_of_totals(A, B, 0.05, PRICES % (CLUSTERS - 1)) == unknown
    in_clusters = ratio_of_totals(A, B, 0.05, PRICES % CLUSTERS)
    assert in_clusters == ratio_of_totals(A, B, 0.05, PRICES % CLUSTERS, t_opt=T_OPT_CLUSTERS)
    assert in_clusters != ratio_of_totals(A, B, 0.05, PRICES % CLUSTERS, t_opt=T_OPT)
    assert in_clusters[1] < 1
    assert ratio_of_totals(np.zeros(200), B, 0.05) == unknown
    one_price = np.zeros(200)
    one_price[7] = 1.0
    assert ratio_of_totals(one_price, B, 0.05) == unknown
    assert ratio_of_totals(A, np.zeros(200), 0.05) == (0.0, 0.0)
    # a total near 0 has no end below it
    assert ratio_of_totals(A, np.where(PRICES == 3, 1.0, 0.0), 0.05)[0] == 0.0


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_a_ratio_has_no_unit_of_its_own(scale_a: float, scale_b: float) -> None:
    low, high = ratio_of_totals(A, B, 0.05)
    scaled = ratio_of_totals(A * scale_a, B * scale_b, 0.05)
    assert scaled == pytest.approx((low * scale_b / scale_a, high * scale_b / scale_a), rel=1e-9)


def test_the_joint_variance_is_that_of_the_differences() -> None:
    codes = PRICES % 23
    seen = joint(A, B, codes)
    assert seen is not None
    r = 0.7
    told = running(B - r * A, codes)
    variance = (seen.var_b - 2 * r * seen.cov + r * r * seen.var_a) * A.mean() ** 2
    assert math.sqrt(variance) == pytest.approx(told.sd[-1], rel=1e-12)


def test_a_sequence_is_as_wide_as_the_pairs_depend_on_each_other() -> None:
    i = np.arange(1, 501)
    waves = np.sin(i**2 / 7) + np.sin(i / 9) / 2
    sequence = running(waves)
    radius = sequence.radius_at_end(0.05, one_sided=True) * sequence.widening(waves, np.array([500]))[0]
    assert radius * math.sqrt(500 / 499) ** -1 == pytest.approx(0.1868323658, rel=2e-3)
    assert sequence.widening(np.tile([1.0, -1.0], 250), np.array([10, 500])).tolist() == [1.0, 1.0]


def test_what_is_clear_is_clear_at_the_first_prefix_where_the_wider_sequence_is() -> None:
    generator = np.random.default_rng(8)
    values = 0.3 + np.convolve(generator.normal(size=3_009), np.ones(10) / 10, "valid")
    sequence = running(values)
    radius = sequence.radius(0.05, one_sided=True)
    wide = radius * sequence.widening(values, np.arange(1, 3_001))
    assert sequence.first_clear(values, radius, above=True) == int((sequence.mean - wide > 0).argmax()) > 100
    assert sequence.first_clear(values, radius, above=False) is None
    assert sequence.first_clear(values, radius, above=True, told=np.arange(3_000) < 0) is None


@pytest.mark.parametrize("at_once", [1, 3])
def test_looking_at_every_pair_seldom_claims_what_is_not_so(at_once: int) -> None:
    """A false claim in at most 5 % of runs, asymptotically; here of 200 runs with skewed values."""
    generator = np.random.default_rng(5)
    codes = np.arange(1_500) // at_once
    false = 0
    for _ in range(200):
        values = np.repeat(generator.gamma(2.0, size=1_500 // at_once), at_once) - 2.0
        told = running(values, codes)
        false += bool((np.abs(told.mean) > told.radius(0.05)).any())
    assert false <= 14
