"""When a gate passes and fails: at the first prefix whose sequence clears the margin, and never otherwise."""

from math import inf, log
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mirrorkit.compare.evidence import Evidence, Floats
from mirrorkit.compare.gates import Crossing, crossing, pairs_needed
from mirrorkit.compare.intervals import burn_in_of, is_bounded, limits
from mirrorkit.compare.metrics import BUILT_IN, BuiltIn, Metric, of_user
from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.statistics.dependence import inflation
from mirrorkit.compare.statistics.sequences import running

ALPHA = 0.05
NUMBERED = of_user("stars", Metric(pl.lit(1.0), bounds=(1.0, 5.0)))
UNBOUNDED = of_user("characters", Metric(pl.lit(1.0), bounds=None, better="lower"))


def evidence(
    metric: BuiltIn | str, silent: Any, primary: Any = None, clusters: Any = None, times: Any = None
) -> Evidence:
    """Pairs by the values of both sides; those of a metric of pairs are given as the silent ones."""
    metric = BUILT_IN[metric] if isinstance(metric, str) else metric
    silent = np.asarray(silent, dtype=float)
    primary = np.ones(len(silent)) if primary is None else np.asarray(primary, dtype=float)
    if metric.kind == "ratio":
        values = np.log(silent) - np.log(primary)
    elif metric.kind == "median":
        values = silent / primary
    else:
        values = silent if metric.kind == "mean" else silent - primary
    codes = None if clusters is None else np.asarray(clusters, dtype=np.int64)
    times = np.arange(len(silent)) if times is None else np.asarray(times, dtype=np.int64)
    return Evidence(metric, pl.DataFrame(), primary, silent, values, codes, times)


def first(each: Evidence, n: int) -> Evidence:
    """The first pairs of the evidence."""
    clusters = None if each.clusters is None else each.clusters[:n]
    return Evidence(
        each.metric, each.pairs, each.primary[:n], each.silent[:n], each.values[:n], clusters, each.times[:n]
    )


def crossed(each: Evidence, margin: float, alpha: float = ALPHA) -> Crossing:
    allowed = np.full(len(each), alpha)
    return crossing(each, margin, allowed, allowed)


def shares(random: np.random.Generator, n: int, primary: float, silent: float) -> tuple[Floats, Floats]:
    return (random.random(n) < primary).astype(float), (random.random(n) < silent).astype(float)


def made(name: str, seed: int, n: int = 400, clustered: bool = False) -> tuple[Evidence, float]:
    """Evidence with an effect of either sign, often strong enough to decide, and a margin."""
    random = np.random.default_rng(seed)
    shift = random.choice([-1.0, 0.0, 1.0])
    codes = np.arange(n) // random.integers(1, 5) if clustered else None
    if clustered and random.random() < 0.5:
        codes = np.where(np.arange(n) < n // 3, -1, codes)
    times = random.lognormal(0, 0.5, n)
    if name in ("latency", "tokens_per_s", "cost", "latency_with_errors"):
        silent = times * np.exp(0.3 * random.standard_normal(n) + 0.2 * shift)
        if name == "latency_with_errors":
            silent[random.random(n) < 0.02] = inf
        return evidence(name, silent, times, codes), 1.05
    if name == "errors":
        primary, silent = shares(random, n, 0.1, 0.12 + 0.08 * shift)
        return evidence(name, silent, primary, codes), 0.01
    if name == "stars":
        return evidence(NUMBERED, random.integers(1, 6, n) * 0.8 + 0.6 + 0.2 * shift, clusters=codes), 3.0
    if name == "characters":
        return evidence(UNBOUNDED, random.normal(100 + 20 * shift, 30, n), clusters=codes), 100.0
    return evidence(name, random.choice([0, 0.5, 1], n, p=[0.3 - 0.1 * shift, 0.3, 0.4 + 0.1 * shift])), 0.55


NAMES = (
    "latency",
    "tokens_per_s",
    "cost",
    "errors",
    "latency_with_errors",
    "stars",
    "characters",
    "preference",
)
CLUSTERED = ("latency", "tokens_per_s", "cost", "errors", "stars", "characters")


def clears(each: Evidence, margin: float, alpha: float) -> tuple[bool, bool]:
    """Whether the effect is known to be below and above the margin, by all of the pairs at once."""
    metric, n = each.metric, len(each)
    if metric.kind == "median" or is_bounded(metric):
        if metric.kind == "median":
            bets = [
                ((each.values >= margin).astype(float), 0.5),
                ((each.values <= margin).astype(float), 0.5),
            ]
        else:
            low, high = limits(metric)
            x, m = (each.values - low) / (high - low), (margin - low) / (high - low)
            bets = [(x, m), (1 - x, 1 - m)]
        factor = inflation(bets[0][0]) if each.clusters is None else 1.0
        wealth = [betting.log_wealth(means(x, each.clusters), m, inflation=factor) for x, m in bets]
        return wealth[0] >= -log(alpha), wealth[1] >= -log(alpha)
    if metric.kind == "totals":
        beyond = each.silent - margin * each.primary
    else:
        beyond = each.values - (log(margin) if metric.kind == "ratio" else margin)
    sequence = running(beyond, each.clusters)
    radius = sequence.radius_at_end(alpha, one_sided=True, burn_in=burn_in_of(metric))
    radius *= sequence.widening(beyond, np.array([n]))[0]
    mean = sequence.mean[n - 1]
    return mean + radius < 0, mean - radius > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_a_gate_is_decided_at_the_first_prefix_that_clears_the_margin(name: str, seed: int) -> None:
    """Brute force: every prefix worked out from scratch."""
    each, margin = made(name, seed)
    known = [clears(first(each, n), margin, ALPHA) for n in range(1, len(each) + 1)]
    below, above = (next((n for n, at in enumerate(known) if at[side]), None) for side in (0, 1))
    expected = (below, above) if each.metric.better == "lower" else (above, below)
    told = crossed(each, margin)
    assert (told.passed, told.failed) == expected


def test_the_brute_force_sees_gates_pass_fail_and_stay_open() -> None:
    told = [crossed(*made(name, seed)) for name in NAMES for seed in range(4)]
    assert any(each.passed is not None for each in told)
    assert any(each.failed is not None for each in told)
    assert any(each == Crossing(None, None) for each in told)


@pytest.mark.parametrize("name", CLUSTERED)
@pytest.mark.parametrize("seed", range(4))
def test_with_conversations_too_every_prefix_stands_for_itself(name: str, seed: int) -> None:
    each, margin = made(name, seed, clustered=True)
    known = [clears(first(each, n), margin, ALPHA) for n in range(1, len(each) + 1)]
    below, above = (next((n for n, at in enumerate(known) if at[side]), None) for side in (0, 1))
    expected = (below, above) if each.metric.better == "lower" else (above, below)
    assert crossed(each, margin) == Crossing(*expected)


def as_long(found: int | None, n: int) -> int | None:
    """What was found, if it was by then."""
    return found if found is not None and found < n else None


@settings(max_examples=60)
@given(st.sampled_from(NAMES), st.integers(0, 10_000), st.integers(1, 400))
def test_more_pairs_never_change_what_was_decided(name: str, seed: int, n: int) -> None:
    each, margin = made(name, seed)
    whole, part = crossed(each, margin), crossed(first(each, n), margin)
    assert part == Crossing(as_long(whole.passed, n), as_long(whole.failed, n))


@settings(max_examples=60)
@given(st.sampled_from(CLUSTERED), st.integers(0, 10_000), st.integers(1, 400))
def test_nor_where_pairs_are_of_conversations(name: str, seed: int, n: int) -> None:
    each, margin = made(name, seed, clustered=True)
    whole, part = crossed(each, margin), crossed(first(each, n), margin)
    assert part == Crossing(as_long(whole.passed, n), as_long(whole.failed, n))


@settings(max_examples=40)
@given(st.sampled_from(NAMES), st.integers(0, 10_000))
def test_a_smaller_alpha_decides_no_sooner(name: str, seed: int) -> None:
    each, margin = made(name, seed)
    strict, lax = crossed(each, margin, 0.01), crossed(each, margin, 0.1)
    assert (lax.passed if lax.passed is not None else inf) <= (
        strict.passed if strict.passed is not None else inf
    )
    assert (lax.failed if lax.failed is not None else inf) <= (
        strict.failed if strict.failed is not None else inf
    )


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_higher_mirrors_lower(seed: int, clustered: bool) -> None:
    """Stars below 3 where fewer are better are stars above 3 where more are, of 6 minus the stars."""
    each, _ = made("stars", seed, clustered=clustered)
    fewer = of_user("stars", Metric(pl.lit(1.0), bounds=(1.0, 5.0), better="lower"))
    mirrored = evidence(fewer, 6 - each.values, clusters=each.clusters)
    assert crossed(mirrored, 3.0) == crossed(each, 3.0)


@settings(max_examples=40)
@given(st.integers(0, 10_000))
def test_speed_above_its_margin_is_latency_below_the_inverse(seed: int) -> None:
    each, _ = made("latency", seed)
    speed = evidence("tokens_per_s", 1 / each.silent, 1 / each.primary)
    assert crossed(speed, 1 / 1.05) == crossed(each, 1.05)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans(), st.floats(-1_000, 1_000), st.floats(0.1, 1_000))
def test_bounds_are_a_matter_of_units(seed: int, clustered: bool, offset: float, scale: float) -> None:
    """Points from −50 to 50 decide as stars from 1 to 5 do, when they are the same answers."""
    each, _ = made("stars", seed, clustered=clustered)
    bounds = (offset, offset + scale)
    points = of_user("points", Metric(pl.lit(1.0), bounds=bounds))
    assume(bounds[0] < bounds[1])
    share = (each.values - 1) / 4
    unit = of_user("share", Metric(pl.lit(1.0)))
    moved = evidence(points, offset + scale * share, clusters=each.clusters)
    assert crossed(moved, offset + scale * 0.5) == crossed(evidence(unit, share, clusters=each.clusters), 0.5)


def test_a_failed_silent_call_is_slower_than_any_margin_and_a_failed_primary_faster() -> None:
    never = evidence("latency_with_errors", np.full(50, inf))
    assert crossed(never, 1_000.0).failed is not None
    assert crossed(never, 1_000.0).passed is None
    rescued = evidence("latency_with_errors", np.ones(50), np.full(50, inf))
    assert crossed(rescued, 1e-9).passed is not None


def test_a_median_at_the_margin_is_never_decided() -> None:
    each = evidence("latency_with_errors", np.tile([0.5, 2.0], 1_000))
    assert crossed(each, 1.0) == Crossing(None, None)


def test_a_ratio_takes_its_burn_in_and_a_bounded_metric_none() -> None:
    random = np.random.default_rng(1)
    fast = evidence("latency", np.exp(random.normal(-3, 0.1, 300)))
    assert crossed(fast, 1.1).passed == 99
    cheap = evidence("cost", np.exp(random.normal(-3, 0.1, 300)))
    assert crossed(cheap, 1.0).passed == 199
    worse = evidence("errors", np.ones(300), np.zeros(300))
    failed = crossed(worse, 0.01).failed
    assert failed is not None
    assert failed < 10


def test_no_evidence_decides_nothing_and_says_nothing_of_what_it_takes() -> None:
    for name in NAMES:
        metric = {"stars": NUMBERED, "characters": UNBOUNDED}.get(name) or BUILT_IN[name]
        for n in (0, 1):
            few, margin = evidence(metric, np.ones(n)), {"stars": 3.0, "errors": 0.01}.get(name, 0.9)
            assert crossed(few, margin) == Crossing(None, None)
            assert pairs_needed(few, margin, ALPHA, ALPHA)[0] is None


def test_values_that_are_not_finite_decide_nothing() -> None:
    broken = np.exp(np.random.default_rng(2).normal(-3, 0.1, 300))
    broken[50] = inf
    assert crossed(evidence("cost", broken), 1.0) == Crossing(None, None)
    assert crossed(evidence(UNBOUNDED, broken), 1.0) == Crossing(None, None)


def test_thirty_conversations_are_awaited() -> None:
    random = np.random.default_rng(3)
    faster = np.exp(random.normal(-1, 0.1, 600))
    twenty = evidence("latency", faster, clusters=np.arange(600) % 20)
    assert crossed(twenty, 1.1).passed is None
    forty = evidence("latency", faster, clusters=np.arange(600) // 15)
    told = crossed(forty, 1.1).passed
    assert told is not None
    assert told >= 29 * 15


def test_until_a_conversation_comes_back_its_pairs_are_independent() -> None:
    """So bets that were won by then stay won."""
    worse = np.ones(40)
    alone = evidence("errors", worse, np.zeros(40))
    returning = evidence("errors", worse, np.zeros(40), clusters=[*range(30), *range(10)])
    assert crossed(returning, 0.01) == crossed(alone, 0.01)


def test_the_median_of_conversations_is_decided_by_conversations_and_not_by_their_pairs() -> None:
    random = np.random.default_rng(4)
    faster = np.exp(random.normal(-1, 0.3, 800))
    alone = crossed(evidence("latency_with_errors", faster), 1.1)
    told = crossed(evidence("latency_with_errors", faster, clusters=np.arange(800) // 4), 1.1)
    assert alone.passed is not None
    assert told.passed is not None
    assert told.passed > 3 * alone.passed
    assert told.failed is None
    slower = crossed(evidence("latency_with_errors", 1 / faster, clusters=np.arange(800) // 4), 1.1)
    assert slower.failed is not None


def test_one_alpha_for_each_pair() -> None:
    """A pair at which less is allowed decides nothing that more would have."""
    random = np.random.default_rng(5)
    each = evidence("latency", np.exp(random.normal(-0.3, 0.5, 300)))
    none_yet = np.where(np.arange(300) < 250, 1e-60, ALPHA)
    assert crossing(each, 1.1, none_yet, none_yet).passed == 250
    bets = evidence("errors", np.zeros(300), np.ones(300))
    none_yet[:250] = 1e-80
    assert crossing(bets, 0.01, none_yet, none_yet).passed == 250


NEEDED = [
    ("latency", 1.10, lambda r, n: (r.lognormal(0, 0.5, n), None)),
    ("latency", 1.10, lambda r, n: (r.lognormal(log(1.2), 0.5, n), None)),
    ("cost", 1.00, lambda r, n: (r.lognormal(log(0.9) - 0.18, 0.6, n), None)),
    ("errors", 0.01, lambda r, n: shares(r, n, 0.02, 0.02)[::-1]),
    ("errors", 0.01, lambda r, n: shares(r, n, 0.02, 0.06)[::-1]),
    ("preference", 0.50, lambda r, n: (r.choice([0, 0.5, 1], n, p=[0.35, 0.2, 0.45]), None)),
    ("latency_with_errors", 1.10, lambda r, n: (r.lognormal(0, 0.5, n), None)),
]


@pytest.mark.parametrize(("name", "margin", "make"), NEEDED)
def test_the_pairs_still_needed_are_about_those_it_takes(name: str, margin: float, make: Any) -> None:
    """Told from 20,000 pairs, they are within a factor of two of the median of 15 runs."""
    random = np.random.default_rng(6)
    needed, passes = pairs_needed(evidence(name, *make(random, 20_000)), margin, ALPHA, ALPHA)
    taken = []
    for _ in range(15):
        told = crossed(evidence(name, *make(random, 20_000)), margin)
        at = told.passed if passes else told.failed
        taken.append(inf if at is None else at + 1)
    assert needed is not None
    assert needed / 2 <= np.median(taken) <= 2 * needed


@pytest.mark.parametrize("name", NAMES)
def test_at_the_margin_nothing_is_told_of_what_it_takes(name: str) -> None:
    metric: Any = {"stars": NUMBERED, "characters": UNBOUNDED}.get(name) or BUILT_IN[name]
    if metric.kind in ("ratio", "median", "totals"):
        at_margin, margin = (
            evidence(metric, [0.5, 2.0] * 200 if metric.kind != "totals" else [0.5, 1.5] * 200),
            1.0,
        )
    elif metric.kind == "shares":
        at_margin, margin = evidence(metric, [1.0, 0.0] * 200, [0.0, 1.0] * 200), 0.0
    else:
        margin = sum(metric.bounds or (90.0, 110.0)) / 2
        at_margin = evidence(metric, [margin - 0.25, margin + 0.25] * 200)
    assert pairs_needed(at_margin, margin, ALPHA, ALPHA)[0] is None
