"""How the answer settled: an effect and its interval, which holds at every look, over the pairs as they came.

What is worked out here is what the gates rest on, at some 200 of all prefixes: the same evidence in the
same order, the same error rates, the same sequences, turned from "is the margin cleared?" into "which are?".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from mirrorkit.compare.analysis import Analysis
from mirrorkit.compare.evidence import (
    TIME,
    Evidence,
    Floats,
    Whole,
    beside_control,
    by_arm,
    draw,
    narrowed,
)
from mirrorkit.compare.gates import crossing
from mirrorkit.compare.intervals import burn_in_of, in_unit, is_bounded, limits, too_few
from mirrorkit.compare.metrics import BuiltIn
from mirrorkit.compare.omissions import too_many, why_open
from mirrorkit.compare.plan import Plan, gate_words
from mirrorkit.compare.quantiles import median_ends
from mirrorkit.compare.selection import arms_by_start
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.statistics.paths import uppers
from mirrorkit.compare.statistics.sequences import ratio_of_totals, running
from mirrorkit.compare.verdict import State, Verdict, within_budget
from mirrorkit.compare.waves import Share, shares
from mirrorkit.errors import CompareError
from mirrorkit.records import CONTROL

WITHOUT_GATES = ("latency", "cost", "errors")
"""What is shown of an arm that has no gates."""

_PER_SCALE = 90
"""Prefixes that are evenly spread, and as many that are so on a logarithmic scale."""


Band = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a band decides: the gate in words, its margin, and where it stands.

    It passes where the end of the band on the good side clears the margin, an end that is wrong with a
    probability of at most `alpha_pass`; it fails by the other end, at `alpha_fail`. `at` is the place, among
    the path's points, of the pair that decided it.
    """

    words: str
    margin: float
    state: State
    decided_after: int | None
    at: int | None
    alpha_pass: float
    alpha_fail: float


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """One metric of one arm over the pairs; NaN is unknown.

    `pairs` are numbers of the arm's pairs, in the order in which the verdict counts them (of labelled pairs,
    where the metric is a label: `of_labels`); `effect`, `low` and `high` are what the metric's pairs among
    them show. `n` is how many of the metric's there are in all; `burn_in` is the first of `pairs` at which
    there is an interval. `alpha` is that of the band where there is no gate. `note` says what is missing.
    """

    arm: str
    metric: BuiltIn
    n: int
    pairs: Whole = field(repr=False)
    effect: Floats = field(repr=False)
    low: Floats = field(repr=False)
    high: Floats = field(repr=False)
    gate: Gate | None
    alpha: float
    burn_in: int | None
    of_labels: bool
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class _Levels:
    """The error rates at each pair: of "the effect is below this" and "above this", or of both together."""

    below: Floats
    above: Floats
    one_sided: bool

    def each_side(self, ends: Whole) -> Band:
        """The error rates of each side alone, at these prefixes: below, above."""
        share = 1.0 if self.one_sided else 0.5
        return self.below[ends - 1] * share, self.above[ends - 1] * share


def about(verdict: Verdict) -> Verdict:
    """The verdict on the one arm that a verdict on several is about; the last of them, if "keep" is on all.

    >>> each = tuple(Verdict("keep", f"Keep a, not {arm}.", "cost", arm) for arm in "bc")
    >>> about(Verdict("keep", "Keep a.", "cost", arms=each)).arm
    'c'
    """
    mine = [each for each in verdict.arms if each.arm == verdict.arm]
    return (mine or [*verdict.arms[-1:], verdict])[0]


def trajectories(
    told: Analysis, plan: Plan, metric: str | None = None, arm: str | None = None
) -> tuple[Path, ...]:
    """The paths of an arm: of one metric, or of all its gates.

    By default of the arm that the verdict is about. Without gates they are of latency, cost and errors.

    Raises CompareError for a metric or an arm that there is not.
    """
    if metric is not None and metric not in plan.names():
        raise CompareError(f"there is no metric {metric!r}; there are {', '.join(plan.names())}")
    names = arms_by_start(told.pairs)
    if arm is not None and arm not in names:
        raise CompareError(f"there is no arm {arm!r}; there are {', '.join(names) or 'none'}")
    if not names:
        return ()
    chosen = arm or about(told.verdict).arm or names[0]
    gated = chosen != CONTROL and bool(plan.gates)
    wanted = [metric] if metric else list(plan.gates) if gated else list(WITHOUT_GATES)
    return tuple(_paths(told, plan, [plan.metric(name) for name in wanted], chosen))


def _paths(told: Analysis, plan: Plan, metrics: list[BuiltIn], arm: str) -> Iterator[Path]:
    of_arms = beside_control(by_arm(narrowed(told.pairs, metrics)))
    labels = [each for each in metrics if each.order is not None]
    labelled = by_arm(narrowed(told.every, labels)) if labels else {}
    may_err = shares({name: pairs[TIME].to_numpy() for name, pairs in of_arms.items() if name != CONTROL})
    gates = {row["metric"]: row for row in told.gates.filter(arm=arm).to_dicts()}
    for metric in metrics:
        pairs = (of_arms if metric.order is None else labelled)[arm]
        if (gate := gates.get(metric.name)) is None:
            yield _path(arm, draw(pairs, metric), of_arms[arm], plan)
        else:
            evidence = draw(within_budget(pairs, plan), metric)
            yield _path(arm, evidence, within_budget(of_arms[arm], plan), plan, gate, may_err[arm])


def _path(
    arm: str,
    evidence: Evidence,
    pairs: pl.DataFrame,
    plan: Plan,
    gate: Mapping[str, Any] | None = None,
    share: Share | None = None,
) -> Path:
    """How the effect of one metric went; `pairs` are the arm's, `gate` is the gate's row of `.gates`."""
    metric, n = evidence.metric, len(evidence)
    even = np.full(n, plan.alpha)
    levels = _Levels(even, even, one_sided=False)
    if share is not None:
        allowed = share.alphas(evidence.times, plan.alpha)
        levels = _of_gate(metric, allowed, allowed / len(plan.gates))
    decided = None if gate is None else _decided(evidence, gate, levels, plan.min_span)
    least = None if is_bounded(metric) or metric.kind == "median" else burn_in_of(metric)
    ends = _ends(n, least or 0, decided or 0)
    counted = ends if metric.order is not None else _counted(pairs, evidence, ends)
    low, high = _band(evidence, ends, levels)
    known = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
    return Path(
        arm,
        metric,
        n,
        counted,
        _effects(evidence, ends),
        low,
        high,
        None if gate is None or share is None else _gate(gate, metric, plan, share, ends, decided),
        plan.alpha,
        int(counted[known[0]]) if len(known) else None,
        metric.order is not None,
        _missing(evidence, bool(len(known)) and bool(known[-1] == len(ends) - 1), gate),
    )


def _of_gate(metric: BuiltIn, passing: Floats, failing: Floats) -> _Levels:
    lower = metric.better == "lower"
    return _Levels(passing if lower else failing, failing if lower else passing, one_sided=True)


def _decided(evidence: Evidence, gate: Mapping[str, Any], levels: _Levels, min_span: float) -> int | None:
    """How many of the metric's pairs it took to decide the gate."""
    if gate["state"] == "open":
        return None
    lower = evidence.metric.better == "lower"
    passing, failing = (levels.below, levels.above) if lower else (levels.above, levels.below)
    crossed = crossing(evidence, gate["margin"], passing, failing, min_span)
    index = crossed.passed if gate["state"] == "passed" else crossed.failed
    return None if index is None else index + 1


def _gate(
    gate: Mapping[str, Any],
    metric: BuiltIn,
    plan: Plan,
    share: Share,
    ends: Whole,
    decided: int | None,
) -> Gate:
    allowed = plan.alpha * share.part
    return Gate(
        gate_words(plan, metric.name),
        gate["margin"],
        gate["state"],
        # a label is counted when it is given, whichever pair of the arm it is about
        gate["decided_after"] if metric.order is None else decided,
        None if decided is None else int(np.searchsorted(ends, decided)),
        allowed,
        allowed / len(plan.gates),
    )


def _missing(evidence: Evidence, has_interval: bool, gate: Mapping[str, Any] | None) -> str:
    """Why the last pair has no interval, or an open gate cannot be decided; nothing where neither is so."""
    if not len(evidence):
        return "; ".join(("no usable pair", *evidence.left_out))
    if gate is not None and gate["state"] == "open" and too_many(evidence):
        return why_open(evidence)
    if gate is not None and gate["state"] == "open" and evidence.why_incomparable:
        return evidence.why_incomparable
    if has_interval:
        return ""
    return too_few(evidence) or "no interval: nothing bounds the effect yet"


def _ends(n: int, *must: int) -> Whole:
    """The prefixes that are shown, as numbers of pairs: evenly spread on both scales, `must` among them."""
    if not n:
        return np.empty(0, dtype=np.int64)
    spread = [np.geomspace(1, n, _PER_SCALE), np.linspace(1, n, _PER_SCALE), np.array([n, *must])]
    ends = np.unique(np.concatenate(spread).round().astype(np.int64))
    return ends[(ends >= 1) & (ends <= n)]


def _counted(pairs: pl.DataFrame, evidence: Evidence, ends: Whole) -> Whole:
    """How many of the arm's pairs there are up to each of these of the metric's."""
    return np.searchsorted(pairs[TIME].to_numpy(), evidence.times[ends - 1], side="right").astype(np.int64)


def _effects(evidence: Evidence, ends: Whole) -> Floats:
    """The effect of each prefix, as the table has that of all."""
    kind, values = evidence.metric.kind, evidence.values
    with np.errstate(all="ignore"):  # the largest numbers add up to more than a number can be
        if kind == "median":
            return np.array([np.median(values[:end]) for end in ends])
        if kind == "totals":
            return np.asarray((np.cumsum(evidence.silent) / np.cumsum(evidence.primary))[ends - 1])
        if is_bounded(evidence.metric) and (clusters := evidence.clusters) is not None:
            return np.array([means(values[:end], clusters[:end]).mean() for end in ends])
        mean = np.cumsum(values)[ends - 1] / ends
        return np.asarray(np.exp(mean) if kind == "ratio" else mean)


def _band(evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """Both ends of the interval at each prefix; NaN where nothing can be said."""
    metric = evidence.metric
    if not len(ends):
        return np.empty(0), np.empty(0)
    if metric.kind == "median":
        return _of_median(evidence, ends, levels)
    if metric.kind == "totals":
        return _of_totals(evidence, ends, levels)
    if is_bounded(metric):
        return _of_bounded(evidence, ends, levels)
    low, high = _asymptotic(evidence.values, evidence, ends, levels)
    with np.errstate(over="ignore"):
        return (np.exp(low), np.exp(high)) if metric.kind == "ratio" else (low, high)


def _asymptotic(values: Floats, evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """The asymptotic sequence of the mean of `values`."""
    run, burn_in = running(values, evidence.clusters), burn_in_of(evidence.metric)
    wide = run.widening(values, ends)
    below, above = (
        run.radius(alphas, one_sided=levels.one_sided, burn_in=burn_in)[ends - 1] * wide
        for alphas in (levels.below, levels.above)
    )
    mean = run.mean[ends - 1]
    with np.errstate(invalid="ignore"):
        return _known(mean - above), _known(mean + below)


def _of_totals(evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """Fieller's inversion of the sequence, prefix by prefix."""
    found = []
    for end in ends:
        a, b = evidence.primary[:end], evidence.silent[:end]
        clusters = None if evidence.clusters is None else evidence.clusters[:end]
        above, below = (
            ratio_of_totals(
                a,
                b,
                float(alphas[end - 1]),
                clusters,
                burn_in=burn_in_of(evidence.metric),
                one_sided=levels.one_sided,
            )
            for alphas in (levels.above, levels.below)
        )
        found.append((above[0], below[1]))
    low, high = np.array(found).T
    return _known(low), _known(high)


def _of_bounded(evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """What betting leaves of the values' bounds."""
    least, most = bounds = limits(evidence.metric)
    x = in_unit(evidence.values, bounds)
    below, above = levels.each_side(ends)
    low = 1 - uppers(1 - x, ends, above, evidence.clusters)
    high = uppers(x, ends, below, evidence.clusters)
    return least + low * (most - least), least + high * (most - least)


def _of_median(evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """The values whose ranks bound the median."""
    below, above = levels.each_side(ends)
    found = []
    for end, low, high in zip(ends, above, below, strict=True):
        clusters = None if evidence.clusters is None else evidence.clusters[:end]
        found.append(median_ends(evidence.values[:end], (float(low), float(high)), clusters))
    low, high = np.array(found).T
    return _known(low), _known(high)


def _known(ends: Floats) -> Floats:
    return np.where(np.isfinite(ends), ends, np.nan)
