"""When a gate passes and when it fails: at the first prefix of the pairs whose sequence clears the margin."""

from dataclasses import dataclass
from math import ceil, isfinite, log

import numpy as np
import numpy.typing as npt

from mirrorkit.compare.evidence import Evidence, Floats
from mirrorkit.compare.intervals import burn_in_of, in_unit, is_bounded, limits
from mirrorkit.compare.omissions import first_decidable
from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.statistics.dependence import inflation
from mirrorkit.compare.statistics.sequences import (
    CLUSTERS,
    EFFECTIVE_CLUSTERS,
    T_OPT,
    T_OPT_CLUSTERS,
    Running,
    running,
    unit_radius,
)

MOST_PAIRS = 10_000_000
"""Beyond so many pairs an estimate of those still needed says nothing."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """At which pair of the evidence a gate passed and at which it failed, from 0; None is not yet."""

    passed: int | None
    failed: int | None


def crossing(
    evidence: Evidence, margin: float, alpha_pass: Floats, alpha_fail: Floats, min_span: float = 0.0
) -> Crossing:
    """The first prefix at which the gate "effect beyond `margin`" passes, and the first at which it fails.

    `margin` is on the scale of the effect; the alphas are one-sided, one for each pair of the evidence.
    Bounded metrics and medians: grid betting at the margin, exact (Waudby-Smith and Ramdas 2024), on the
    means of the clusters where they repeat. All other metrics: the asymptotic confidence sequence
    (Waudby-Smith et al. 2024), clustered where clusters repeat (Miller 2024). Both ask for more where pairs
    depend on those before them (see `dependence`). Where too many pairs are left out because of one side
    alone, it is decided when there are few enough (see `omissions`); where times cannot be compared, when
    they can (see `comparability`); and not before the pairs span `min_span` seconds.
    """
    if not len(evidence):
        return Crossing(None, None)
    lower = evidence.metric.better == "lower"
    alpha_below, alpha_above = (alpha_pass, alpha_fail) if lower else (alpha_fail, alpha_pass)
    if evidence.metric.kind == "median":
        below, above = _median(evidence, margin, alpha_below, alpha_above)
    elif is_bounded(evidence.metric):
        below, above = _bounded(evidence, margin, alpha_below, alpha_above)
    else:
        below, above = _asymptotic(evidence, margin, alpha_below, alpha_above)
    return _when_decidable(evidence, Crossing(below, above) if lower else Crossing(above, below), min_span)


def _when_decidable(evidence: Evidence, cleared: Crossing, min_span: float) -> Crossing:
    """When the gate is decided, by when its margin is cleared: of both directions, by the first."""
    passed, failed = (first_decidable(evidence, index) for index in (cleared.passed, cleared.failed))
    if evidence.comparable is not None:
        passed, failed = (evidence.comparable.first(index) for index in (passed, failed))
    if min_span:
        passed, failed = (_after(evidence, index, min_span) for index in (passed, failed))
    if cleared.passed is not None and cleared.failed is not None and passed == failed:
        if cleared.passed < cleared.failed:
            return Crossing(passed, None)
        if cleared.failed < cleared.passed:
            return Crossing(None, failed)
    return Crossing(passed, failed)


def _after(evidence: Evidence, index: int | None, min_span: float) -> int | None:
    """The first pair, from one of them on, that came so many seconds after the first of all."""
    if index is None:
        return None
    late = int(np.searchsorted(evidence.times, evidence.times[0] + round(min_span * 1e6)))
    return max(index, late) if late < len(evidence) else None


def _asymptotic(
    evidence: Evidence, margin: float, alpha_below: Floats, alpha_above: Floats
) -> tuple[int | None, int | None]:
    """The first prefix at which the effect is known to be below the margin, and the first for above."""
    values, burn_in = excess(evidence, margin), burn_in_of(evidence.metric)
    run = running(values, evidence.clusters)
    exists = _has_ratio(evidence) if evidence.metric.kind == "totals" else True
    below, above = (
        run.first_clear(values, run.radius(alpha, one_sided=True, burn_in=burn_in), is_above, exists)
        for is_above, alpha in ((False, alpha_below), (True, alpha_above))
    )
    return below, above


def _has_ratio(evidence: Evidence) -> npt.NDArray[np.bool_]:
    """At which prefixes there is a ratio of totals: of nothing there is none, nor of what is too large."""
    with np.errstate(all="ignore"):
        primary, silent = np.cumsum(evidence.primary), np.cumsum(evidence.silent)
        return (primary > 0) & np.isfinite(primary) & np.isfinite(silent) & np.isfinite(silent / primary)


def _bounded(
    evidence: Evidence, margin: float, alpha_below: Floats, alpha_above: Floats
) -> tuple[int | None, int | None]:
    """The same for a mean of bounded values."""
    bounds = limits(evidence.metric)
    x, m = in_unit(evidence.values, bounds), float(in_unit(np.array(margin), bounds))
    return _below(evidence, x, m, alpha_below), _below(evidence, 1 - x, 1 - m, alpha_above)


def _median(
    evidence: Evidence, margin: float, alpha_below: Floats, alpha_above: Floats
) -> tuple[int | None, int | None]:
    """The same for a median: it is below the margin if under half of the values are at or above it."""
    sides = (evidence.values >= margin, evidence.values <= margin)
    at_or_above, at_or_below = (side.astype(np.float64) for side in sides)
    return _below(evidence, at_or_above, 0.5, alpha_below), _below(evidence, at_or_below, 0.5, alpha_above)


def _below(evidence: Evidence, x: Floats, m: float, alpha: Floats) -> int | None:
    """The first prefix at which the mean of `x`, each within 0 … 1, is known to be below `m`."""
    return betting.first_rejection(x, m, -np.log(alpha), evidence.clusters)


def excess(evidence: Evidence, margin: float) -> Floats:
    """What is 0 on average if the effect is exactly at the margin, pair by pair."""
    if evidence.metric.kind == "totals":
        return np.asarray(evidence.silent - margin * evidence.primary)
    if evidence.metric.kind == "ratio":
        return np.asarray(evidence.values - log(margin))
    if evidence.metric.kind == "median":
        return np.asarray(np.sign(evidence.values - margin))
    return np.asarray(evidence.values - margin)


def pairs_needed(
    evidence: Evidence, margin: float, alpha_pass: float, alpha_fail: float
) -> tuple[int | None, bool]:
    """How many pairs in all the gate may take if things go on as they are, and whether it then passes.

    None where that cannot be told: no pairs yet, or the effect is too near the margin.
    """
    n = len(evidence)
    if n < 2:
        return None, True
    values = excess(evidence, margin)
    bets = evidence.metric.kind == "median" or is_bounded(evidence.metric)
    run = running(values, evidence.clusters)
    mean = float(means(values, evidence.clusters).mean() if bets else run.mean[-1])
    passes = mean < 0 if evidence.metric.better == "lower" else mean > 0
    alpha = alpha_pass if passes else alpha_fail
    if bets:
        return _by_growth(evidence, margin, mean, alpha), passes
    sd = float(run.sd[-1] * run.widening(values, np.array([n]))[0])
    return _by_radius(run, mean, sd, alpha, burn_in_of(evidence.metric)), passes


def _by_radius(run: Running, mean: float, sd: float, alpha: float, burn_in: int) -> int | None:
    """The pairs at which the radius, at today's standard deviation, is as small as the distance."""
    groups, pairs = float(run.groups[-1]), float(run.pairs[-1])
    if not (isfinite(mean) and isfinite(sd)) or mean == 0:
        return None
    t_opt = T_OPT_CLUSTERS if run.clustered else T_OPT
    grid = np.geomspace(burn_in, MOST_PAIRS, 400)
    if run.clustered:
        # a sequence says nothing of fewer clusters, or of so few that are of like size
        fewest = max(CLUSTERS / groups, EFFECTIVE_CLUSTERS / float(run.effective[-1])) * pairs
        grid = grid[grid >= min(fewest, MOST_PAIRS)]
    enough = np.flatnonzero(sd * unit_radius(grid * groups / pairs, alpha, t_opt, one_sided=True) < abs(mean))
    return ceil(grid[enough[0]]) if enough.size else None


def _by_growth(evidence: Evidence, margin: float, mean: float, alpha: float) -> int | None:
    """The pairs at which the bettors' wealth, at today's rates of growth, is large enough."""
    if evidence.metric.kind == "median":
        x, m = (evidence.values >= margin).astype(np.float64), 0.5
    else:
        bounds = limits(evidence.metric)
        x, m = in_unit(evidence.values, bounds), float(in_unit(np.array(margin), bounds))
    if mean > 0:
        x, m = 1 - x, 1 - m
    pairs, factor = len(x), inflation(x) if evidence.clusters is None else 1.0
    x = means(x, evidence.clusters)
    values, counts = np.unique(x, return_counts=True)
    if len(values) > betting.MOST_DISTINCT:
        values, counts = np.unique(x.round(4), return_counts=True)
    gains = np.log1p(betting.BETS[:, None] * ((m - values) / (1 - m))) @ counts / (pairs * factor)
    n = np.geomspace(1, MOST_PAIRS, 400)
    fortunes = gains[:, None] * n
    most = fortunes.max(axis=0)
    wealth = most + np.log(np.exp(fortunes - most).mean(axis=0))
    enough = np.flatnonzero(wealth >= -log(alpha))
    return ceil(n[enough[0]]) if enough.size else None
