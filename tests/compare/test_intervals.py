"""Which sequence a metric has, and what is missing for one."""

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.evidence import Evidence
from mirrorkit.compare.gates import excess
from mirrorkit.compare.intervals import burn_in_of, in_unit, is_bounded, limits, of_bounded, too_few_clusters
from mirrorkit.compare.metrics import BUILT_IN, Metric, of_user
from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.sequences import two_sided


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
    low, high = betting.bounds(np.array([0, 1, 1, 0.25]), 0.05)
    assert of_bounded(values, (2.0, 6.0), 0.05, None) == pytest.approx((2 + 4 * low, 2 + 4 * high))
    assert of_bounded(np.empty(0), (2.0, 6.0), 0.05, None) is None


def test_bounded_values_in_clusters_have_the_asymptotic_interval_within_their_bounds() -> None:
    values = np.tile([0.0, 4.0], 200)
    clusters = np.arange(400) // 2
    inner = two_sided(values / 4, 0.05, clusters, bounded=True)
    assert inner is not None
    assert of_bounded(values, (-4.0, 4.0), 0.05, clusters) == pytest.approx((4 * inner[0], 4 * inner[1]))
    assert of_bounded(np.ones(400), (0.0, 1.0), 0.05, clusters)[1] == 1.0
    assert of_bounded(values[:40], (-4.0, 4.0), 0.05, clusters[:40]) is None


@pytest.mark.parametrize("offset", [1_000.0, -7.0])
def test_where_the_bounds_are_is_no_matter_but_for_those_of_a_difference(offset: float) -> None:
    values, clusters = np.tile([0.0, 1.0, 0.0, 0.0], 100), np.arange(400) // 2
    low, high = of_bounded(values, (0.0, 1.0), 0.05, clusters)
    moved = of_bounded(values + offset, (offset, offset + 1), 0.05, clusters)
    assert moved == pytest.approx((low + offset, high + offset), rel=1e-12)
    # a difference is usually 0, the middle of its bounds: what was not seen is 1 from there, not 2
    around = of_bounded(values, (-1.0, 1.0), 0.05, clusters)
    assert around == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (1_000.0, 1_001.0)])
def test_the_interval_and_the_gate_are_of_one_scale(bounds: tuple[float, float]) -> None:
    """At the interval's end the gate's mean is as far from 0 as its radius."""
    metric = of_user("x", Metric(len, bounds=bounds))
    values, clusters = bounds[0] + np.tile([0.0, 1.0, 0.0, 0.0], 100), np.arange(400) // 2
    none = np.empty(0)
    drawn = Evidence(metric, pl.DataFrame(), none, none, values, clusters, np.arange(400))
    for end in of_bounded(values, bounds, 0.05, clusters):
        run = excess(drawn, end)
        assert abs(run.mean[-1]) == pytest.approx(run.radius_at_end(0.05), rel=1e-6)


def test_conversations_that_are_missing_are_counted_and_pairs_alone_are_one_each() -> None:
    assert too_few_clusters(np.array([-1, -1, 0, 1])) == ""
    assert too_few_clusters(np.array([-1, -1, 0, 0])) == "an interval takes 30 conversations: 27 missing"
    assert too_few_clusters(np.arange(60) // 2) == ""
