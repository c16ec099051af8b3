"""Which sequence a metric has, and what is missing for one."""

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.evidence import Evidence
from mirrorkit.compare.gates import crossing
from mirrorkit.compare.intervals import burn_in_of, in_unit, is_bounded, limits, of_bounded, too_few_clusters
from mirrorkit.compare.metrics import BUILT_IN, Metric, of_user
from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.dependence import inflation


@pytest.mark.parametrize(
    ("name", "bounded", "burn_in"),
    [
        ("latency", False, 100),
        ("cost", False, 200),
        ("output_length", False, 200),
        ("errors", True, 100),
        ("identical", True, 100),
        ("preference", True, 100),
    ],
)
def test_shares_and_means_within_bounds_are_exact_and_costs_wait_longest(
    name: str, bounded: bool, burn_in: int
) -> None:
    assert is_bounded(BUILT_IN[name]) == bounded
    assert burn_in_of(BUILT_IN[name]) == burn_in


def test_the_limits_are_those_of_the_values() -> None:
    assert limits(BUILT_IN["errors"]) == (-1, 1)
    assert limits(BUILT_IN["identical"]) == (0, 1)
    assert limits(of_user("x", Metric(len, bounds=(2, 6)))) == (2, 6)
    assert not is_bounded(of_user("x", Metric(len, bounds=None)))


def test_bounded_values_are_bet_on_within_the_unit_and_mapped_back() -> None:
    values = np.array([2.0, 6.0, 6.0, 3.0])
    assert in_unit(values, (2.0, 6.0)).tolist() == [0, 1, 1, 0.25]
    unit = np.array([0, 1, 1, 0.25])
    low, high = betting.bounds(unit, 0.05, inflation=inflation(unit))
    assert of_bounded(values, (2.0, 6.0), 0.05, None) == pytest.approx((2 + 4 * low, 2 + 4 * high))
    assert of_bounded(np.empty(0), (2.0, 6.0), 0.05, None) is None


def test_of_clusters_the_means_are_bet_on() -> None:
    values, clusters = np.tile([0.0, 4.0, 4.0, 4.0], 100), np.arange(400) // 2
    low, high = betting.bounds(np.tile([0.75, 1.0], 100), 0.05)
    assert of_bounded(values, (-4.0, 4.0), 0.05, clusters) == pytest.approx((8 * low - 4, 8 * high - 4))


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (1_000.0, 1_001.0)])
@pytest.mark.parametrize("clusters", [None, np.arange(400) // 2])
def test_the_interval_and_the_gate_are_of_one_scale(
    bounds: tuple[float, float], clusters: np.ndarray | None
) -> None:
    """The gate at the interval's end is just decided, and a little within it is not."""
    metric = of_user("x", Metric(len, bounds=bounds, better="lower"))
    values = bounds[0] + np.random.default_rng(1).permutation(np.tile([0.0, 1.0, 0.0, 0.0], 100))
    none = np.empty(0)
    drawn = Evidence(metric, pl.DataFrame(), none, none, values, clusters, np.arange(400))
    low, high = of_bounded(values, bounds, 0.05, clusters) or (0.0, 0.0)
    alphas = np.full(400, 1e-12)
    alphas[-1] = 0.025
    assert crossing(drawn, high + 1e-6, alphas, alphas).passed == 399
    assert crossing(drawn, high - 1e-6, alphas, alphas).passed is None
    assert crossing(drawn, low - 1e-6, alphas, alphas).failed == 399
    assert crossing(drawn, low + 1e-6, alphas, alphas).failed is None


def test_conversations_that_are_missing_are_counted_and_pairs_alone_are_one_each() -> None:
    assert too_few_clusters(np.array([-1, -1, 0, 1])) == ""
    assert too_few_clusters(np.array([-1, -1, 0, 0])) == "an interval takes 30 conversations: 27 missing"
    assert too_few_clusters(np.arange(60) // 2) == ""
