"""The long-run variance: the reference values, and every prefix by the plain formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.statistics.dependence import (
    inflation,
    inflations,
    long_run_variance,
    long_run_variances,
)
from mirrorkit.compare.statistics.sequences import unit_radius

_I = np.arange(1, 501)
WAVES = np.sin(_I**2 / 7) + 0.5 * np.sin(_I / 9)


def plain(values: np.ndarray, lags: int) -> float:
    """Newey and West's formula as it is written."""
    n, centred = len(values), values - values.mean()
    covariances = [float(centred[k:] @ centred[: n - k]) / n for k in range(min(lags, n - 1) + 1)]
    return covariances[0] + 2 * math.fsum(
        (1 - k / (lags + 1)) * each for k, each in enumerate(covariances) if k
    )


def test_reference_values_are_met() -> None:
    assert WAVES.mean() == pytest.approx(0.0599858726, abs=1e-10)
    assert long_run_variance(WAVES, 0) == pytest.approx(0.6241823654, abs=1e-10)
    assert long_run_variance(WAVES, 20) == pytest.approx(2.1765368568, abs=1e-10)
    assert inflation(WAVES, 20) == pytest.approx(3.4870207449, abs=1e-10)
    radius = unit_radius(500, 0.05, 1_000, one_sided=True) * math.sqrt(long_run_variance(WAVES, 20))
    assert radius == pytest.approx(0.1868323658, abs=1e-10)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=90), st.integers(0, 70))
def test_every_prefix_has_that_of_the_formula(values: list[float], lags: int) -> None:
    array = np.array(values)
    expected = [plain(array[:n], lags) for n in range(1, len(array) + 1)]
    scale = max(float(np.abs(array).max()), 1e-9) ** 2
    found = long_run_variances(array, np.arange(1, len(array) + 1), lags)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9 * scale)
    assert long_run_variance(array, lags) == pytest.approx(expected[-1], rel=1e-6, abs=1e-9 * scale)


def test_more_prefixes_than_are_worked_out_at_once_are_all_there() -> None:
    values = np.random.default_rng(1).normal(size=5_000)
    all_of_them = inflations(values, np.arange(1, 5_001))
    assert len(all_of_them) == 5_000
    assert (all_of_them >= 1).all()
    assert all_of_them[[99, 4_999]] == pytest.approx([inflation(values[:100]), inflation(values)])


def test_what_varies_not_at_all_depends_on_nothing() -> None:
    assert inflation(np.zeros(50)) == inflation(np.empty(0)) == 1.0
    assert inflations(np.ones(50), np.array([1, 50])).tolist() == [1.0, 1.0]
    assert long_run_variance(np.empty(0)) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("correlation", "most"), [(0.0, 0.06), (0.5, 0.11)])
def test_an_effect_at_the_margin_is_seldom_found_beyond_it_though_pairs_depend_on_each_other(
    correlation: float, most: float
) -> None:
    """Looking at every pair of AR(1) values; without the long-run variance it is a quarter at 0.5."""
    from scipy.special import bdtrc

    from mirrorkit.compare.statistics.sequences import running

    random, false, runs = np.random.default_rng(9), 0, 200
    for _ in range(runs):
        noise = random.normal(size=2_000) * math.sqrt(1 - correlation**2)
        values, last = np.empty(2_000), random.normal()
        for place, each in enumerate(noise):
            values[place] = last = correlation * last + each
        run = running(values)
        false += run.first_clear(values, run.radius(0.05, one_sided=True), above=False) is not None
    # so many would be too rare if the true share were no more than that
    assert bdtrc(false - 1, runs, most) > 0.01
