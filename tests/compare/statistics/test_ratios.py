"""A mean and a ratio of totals: in clusters whatever their codes, and by the plain formulas."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.statistics.ratios import cluster_sizes, effective_clusters, joint, moments

codes = st.lists(st.integers(-1, 6), min_size=2, max_size=40).map(np.array)


def renamed(clusters: np.ndarray) -> np.ndarray:
    """The same clusters by codes that are too far apart to count by."""
    return np.where(clusters < 0, -1, 2**60 - 3**20 * clusters)


@given(codes)
def test_a_cluster_is_the_same_by_any_code(clusters: np.ndarray) -> None:
    values = np.sin(np.arange(len(clusters)) ** 2.0)
    assert effective_clusters(renamed(clusters)) == effective_clusters(clusters)
    assert sorted(cluster_sizes(renamed(clusters))) == sorted(cluster_sizes(clusters))
    for told in (moments, lambda b, by: joint(b + 2, b, by)):
        near, far = told(values, clusters), told(values, renamed(clusters))
        assert near == (None if far is None else pytest.approx(far))


@given(codes, st.floats(-1e6, 1e6))
def test_the_variance_is_that_of_the_sums_of_clusters(clusters: np.ndarray, offset: float) -> None:
    values = np.sin(np.arange(len(clusters)) ** 2.0)
    seen = moments(values + offset, clusters)
    names = [f"own {place}" if code < 0 else str(code) for place, code in enumerate(clusters)]
    groups, n = len(set(names)), len(names)
    assert (seen is None) == (groups < 2)
    if seen is None:
        return
    mean = math.fsum(values) / n
    sums = dict.fromkeys(names, 0.0)
    for name, value in zip(names, values, strict=True):
        sums[name] += value - mean
    variance = math.fsum(each**2 for each in sums.values()) * (groups / n) ** 2 / (groups - 1)
    assert (seen.groups, seen.clustered) == (groups, groups < n)
    assert seen.mean - offset == pytest.approx(mean, abs=1e-9)
    assert seen.variance == pytest.approx(variance, abs=1e-8)


@given(st.floats(-1e300, 1e300), st.integers(2, 200))
def test_constant_values_have_no_variance_at_all(value: float, n: int) -> None:
    seen = moments(np.full(n, value))
    assert seen is not None
    assert (seen.mean, seen.variance) == (value, 0.0)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_tells_nothing(odd: float) -> None:
    for place in (0, 4):
        values = np.arange(1.0, 10.0)
        values[place] = odd
        assert moments(values) is None
        assert joint(np.ones(9), values) is None
        assert joint(values, np.ones(9)) is None


def test_what_is_given_is_left_as_it_is() -> None:
    a, b, clusters = np.arange(1.0, 10.0), np.arange(9.0), np.arange(9) // 2
    for array in (a, b, clusters):
        array.flags.writeable = False
    assert moments(a, clusters) is not None
    assert joint(a, b, clusters) is not None
