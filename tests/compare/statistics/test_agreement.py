"""How far opinions agree, and a win rate that a judge sharpens."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.statistics.agreement import kappa, win_rate_ppi
from mirrorkit.compare.statistics.onelook import wilson

LABELS = ("primary", "silent", "tie")
opinions = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40)


def test_kappa_of_cohen_s_table() -> None:
    """20 and 15 agreed of 50, with 25 and 30 of the first label: 0.4, as in every textbook."""
    cells = [("silent", "silent")] * 20 + [("silent", "primary")] * 5
    cells += [("primary", "silent")] * 10 + [("primary", "primary")] * 15
    random.Random(0).shuffle(cells)
    first, second = zip(*cells, strict=True)
    assert kappa(first, second) == pytest.approx(0.4)


@given(opinions)
def test_kappa_is_symmetric_at_most_one_and_one_only_of_the_same(pairs: list[tuple[str, str]]) -> None:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    got = kappa(first, second)
    assert got == kappa(second, first)
    if got is not None:
        assert -1 <= got <= 1
        assert (got == 1) == (first == second)


def test_kappa_of_nothing_and_of_one_label_throughout_is_unknown() -> None:
    assert kappa([], []) is None
    assert kappa(["tie"] * 7, ["tie"] * 7) is None
    assert kappa(["tie"] * 7, ["silent"] * 7) == 0.0


def simulated(generator: np.random.Generator, n: int, noise: float, bias: float) -> tuple[np.ndarray, ...]:
    """People's opinions, and those of a judge who errs, more to one side the larger the bias."""
    people = generator.choice([0.0, 0.5, 1.0], n, p=[0.3, 0.2, 0.5])
    judge = np.where(generator.random(n) < noise, generator.choice([0.0, 1.0], n, p=[1 - bias, bias]), people)
    return people, judge


@pytest.mark.parametrize(("noise", "bias"), [(0.1, 0.9), (0.5, 1.0), (1.0, 0.5)])
def test_the_win_rate_of_people_is_covered_whatever_the_judge_thinks(noise: float, bias: float) -> None:
    generator = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        people, judge = simulated(generator, 1_000, noise, bias)
        _, low, high = win_rate_ppi(people[:100], judge[:100], judge[100:], 0.1) or (0, 1, 0)
        covered += low <= 0.6 <= high
    assert 255 <= covered <= 288


def test_a_good_judge_narrows_the_interval_and_a_bad_one_hardly_widens_it() -> None:
    generator = np.random.default_rng(8)
    widths = {}
    for noise in (0.1, 1.0):
        people, judge = simulated(generator, 2_000, noise, 0.5)
        _, low, high = win_rate_ppi(people[:200], judge[:200], judge[200:], 0.05) or (0, 0, 1)
        _, alone_low, alone_high = win_rate_ppi(people[:200], judge[:200], np.array([]), 0.05) or (0, 0, 1)
        widths[noise] = (high - low) / (alone_high - alone_low)
    assert widths[0.1] < 0.7
    assert widths[1.0] < 1.03


def test_a_biased_judge_moves_no_estimate() -> None:
    generator = np.random.default_rng(9)
    estimates = []
    for _ in range(200):
        people, judge = simulated(generator, 600, 0.4, 1.0)
        estimate, _, _ = win_rate_ppi(people[:100], judge[:100], judge[100:], 0.05) or (0, 0, 0)
        estimates.append(estimate)
    assert np.mean(estimates) == pytest.approx(0.6, abs=0.01)


def test_it_is_the_mean_of_the_labels_where_the_judge_has_nothing_to_add() -> None:
    labels = np.array([0.0, 1.0, 0.5, 1.0, 1.0, 0.0])
    expected = (
        labels.mean(),
        *np.clip(labels.mean() + np.array([-1.959964, 1.959964]) * labels.std(ddof=1) / 6**0.5, 0, 1),
    )
    for judged, rest in (
        (labels, np.array([])),
        (np.full(6, 0.5), np.full(50, 0.5)),
        (1 - labels, np.array([0.0, 1.0] * 20)),
    ):
        assert win_rate_ppi(labels, judged, rest, 0.05) == pytest.approx(expected, rel=1e-6)


def test_by_hand() -> None:
    """λ = Cov / ((1 + n/N) Var f) with the judge's variance over all pairs."""
    y, f, rest = np.array([1.0, 0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0, 0.0]), np.array([1.0, 0.0] * 4)
    weight = 0.125 / (1.5 * 0.25)
    estimate = 0.75 + weight * (0.5 - 0.5)
    variance = weight**2 * 0.25 / 8 + (y - weight * f).var(ddof=1) / 4
    half = 1.959963985 * math.sqrt(variance)
    expected = (estimate, estimate - half, min(estimate + half, 1.0))
    assert win_rate_ppi(y, f, rest, 0.05) == pytest.approx(expected)


def test_labels_all_alike_leave_room_for_others() -> None:
    ones = np.ones(20)
    assert win_rate_ppi(ones, ones, np.array([1.0, 0.0] * 20), 0.05) == (1.0, *(wilson(20, 20, 0.05) or ()))


def test_what_cannot_be_told_is_said_so() -> None:
    none = np.array([])
    assert win_rate_ppi(none, none, np.ones(9), 0.05) is None
    assert win_rate_ppi(np.ones(1), np.ones(1), np.ones(9), 0.05) is None
    assert win_rate_ppi(np.array([1.0, math.nan]), np.ones(2), np.ones(9), 0.05) is None
