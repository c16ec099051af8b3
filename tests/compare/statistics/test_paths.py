"""Bounds at many prefixes together: those that the gates' betting gives, prefix by prefix."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.statistics.dependence import inflation
from mirrorkit.compare.statistics.paths import DISTINCT, uppers

HALVES = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=80)


@given(HALVES, st.sampled_from([0.05, 0.0125]))
def test_each_bound_is_that_of_its_prefix_alone(values: list[float], alpha: float) -> None:
    array = np.array(values)
    ends = np.arange(1, len(values) + 1)
    alone = [betting.upper(array[:end], alpha, inflation=inflation(array[:end])) for end in ends]
    assert uppers(array, ends, np.full(len(ends), alpha)) == pytest.approx(alone, abs=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1_000), st.sampled_from([0.3, 2.0, 8.0]))
def test_of_many_different_values_the_bound_is_never_below_the_exact_one_and_near_it(
    seed: int, shape: float
) -> None:
    array = np.random.default_rng(seed).beta(shape, 1.0, 600)
    ends = np.array([20, 150, 599, 600])
    assert len(np.unique(array)) > DISTINCT
    exact = np.array([betting.upper(array[:end], 0.05, inflation=inflation(array[:end])) for end in ends])
    found = uppers(array, ends, np.full(4, 0.05))
    assert (found >= exact - 1e-7).all()
    assert found == pytest.approx(exact, abs=2e-3)
    assert found[-1] == pytest.approx(exact[-1], rel=1e-12)


def test_of_clusters_each_prefix_has_the_bound_of_their_means() -> None:
    random = np.random.default_rng(3)
    array, codes = random.integers(0, 2, 60) * 1.0, random.integers(-1, 12, 60)
    ends = np.array([5, 30, 60])
    alone = [betting.upper(means(array[:end], codes[:end]), 0.05) for end in ends]
    assert uppers(array, ends, np.full(3, 0.05), codes).tolist() == alone


def test_every_prefix_has_an_alpha_of_its_own() -> None:
    array = np.array([0.0, 1.0] * 20)
    found = uppers(array, np.array([40, 40]), np.array([0.01, 0.05]))
    assert found[0] > found[1]
    assert found == pytest.approx([betting.upper(array, 0.01), betting.upper(array, 0.05)], abs=1e-7)


def test_of_no_prefixes_there_are_no_bounds() -> None:
    assert uppers(np.array([0.5]), np.array([], dtype=np.int64), np.array([])).size == 0
