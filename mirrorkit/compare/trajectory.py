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
from mirrorkit.compare.evidence import TIME, Evidence, Floats, Whole, by_arm, draw, narrowed
from mirrorkit.compare.gates import crossing, independent
from mirrorkit.compare.intervals import burn_in_of, in_unit, is_bounded, limits, reach, too_few
from mirrorkit.compare.metrics import BuiltIn
from mirrorkit.compare.omissions import too_many, why_open
from mirrorkit.compare.plan import Plan, gate_words
from mirrorkit.compare.selection import arms_by_start
from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.paths import uppers
from mirrorkit.compare.statistics.ratios import joint
from mirrorkit.compare.statistics.sequences import (
    CLUSTERS,
    EFFECTIVE_CLUSTERS,
    T_OPT,
    T_OPT_CLUSTERS,
    running,
    unit_radius,
)
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
    of_arms = by_arm(narrowed(told.pairs, metrics))
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
    decided = None if gate is None else _decided(evidence, gate, levels)
    least = None if is_bounded(metric) or metric.kind == "median" else burn_in_of(metric)
    ends = _ends(n, independent(evidence), least or 0, decided or 0)
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


def _decided(evidence: Evidence, gate: Mapping[str, Any], levels: _Levels) -> int | None:
    """How many of the metric's pairs it took to decide the gate."""
    if gate["state"] == "open":
        return None
    lower = evidence.metric.better == "lower"
    passing, failing = (levels.below, levels.above) if lower else (levels.above, levels.below)
    crossed = crossing(evidence, gate["margin"], passing, failing)
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
    if has_interval:
        return ""
    if evidence.metric.kind == "median" and evidence.clusters is not None:
        return "no interval: the pairs of a conversation are not independent"
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
        means = np.cumsum(values)[ends - 1] / ends
        return np.asarray(np.exp(means) if kind == "ratio" else means)


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


def _asymptotic(
    values: Floats, evidence: Evidence, ends: Whole, levels: _Levels, *, bounded: bool = False
) -> Band:
    """The asymptotic sequence of the mean of `values`."""
    run, burn_in = running(values, evidence.clusters, bounded=bounded), burn_in_of(evidence.metric)
    below, above = (
        run.radius(alphas, one_sided=levels.one_sided, burn_in=burn_in)
        for alphas in (levels.below, levels.above)
    )
    with np.errstate(invalid="ignore"):
        return _known((run.mean - above)[ends - 1]), _known((run.mean + below)[ends - 1])


def _of_totals(evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """Fieller's inversion of the sequence, prefix by prefix."""
    low, high = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
    for place, end in enumerate(ends):
        clusters = None if evidence.clusters is None else evidence.clusters[:end]
        seen = joint(evidence.primary[:end], evidence.silent[:end], clusters)
        early = end < burn_in_of(evidence.metric)
        if (
            seen is None
            or early
            or (seen.clustered and (seen.groups < CLUSTERS or seen.effective < EFFECTIVE_CLUSTERS))
        ):
            continue
        t_opt = T_OPT_CLUSTERS if seen.clustered else T_OPT
        above, below = (
            unit_radius(seen.groups, float(alphas[end - 1]), t_opt, one_sided=levels.one_sided)
            for alphas in (levels.above, levels.below)
        )
        low[place], high[place] = seen.ratios(above)[0], seen.ratios(below)[1]
    return _known(low), _known(high)


def _of_bounded(evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """Betting while no cluster has come twice, from there on the asymptotic sequence; within the bounds."""
    least, most = bounds = limits(evidence.metric)
    x, bets = in_unit(evidence.values, bounds), ends <= independent(evidence)
    below, above = levels.each_side(ends[bets])
    low, high = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
    low[bets], high[bets] = 1 - uppers(1 - x, ends[bets], above), uppers(x, ends[bets], below)
    if not bets.all():
        scale = reach(bounds)
        from_then = _asymptotic(x / scale, evidence, ends[~bets], levels, bounded=True)
        low[~bets], high[~bets] = (np.clip(scale * end, 0.0, 1.0) for end in from_then)
    return least + low * (most - least), least + high * (most - least)


def _of_median(evidence: Evidence, ends: Whole, levels: _Levels) -> Band:
    """The values whose ranks bound the median; nothing once a cluster has come twice, as in the table."""
    low, high = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
    below, above = levels.each_side(ends)
    for place, end in enumerate(ends):
        if end > independent(evidence):
            break
        first = betting.quantile_ranks(int(end), 0.5, 2 * above[place])[0]
        last = betting.quantile_ranks(int(end), 0.5, 2 * below[place])[1]
        kept = [rank - 1 for rank in (first, last) if 1 <= rank <= end]
        ordered = np.partition(evidence.values[:end], kept) if kept else evidence.values
        low[place] = ordered[first - 1] if first >= 1 else np.nan
        high[place] = ordered[last - 1] if last <= end else np.nan
    return _known(low), _known(high)


def _known(ends: Floats) -> Floats:
    return np.where(np.isfinite(ends), ends, np.nan)
