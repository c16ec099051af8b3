"""The quantiles of latency, and the median of its ratio with failures counted as infinitely slow."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from math import log

import numpy as np

from mirrorkit.compare.evidence import Evidence, Floats, Whole
from mirrorkit.compare.intervals import Interval
from mirrorkit.compare.rows import Row, row
from mirrorkit.compare.statistics import betting, onelook
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.statistics.dependence import inflation

LEAST: dict[float, int] = {0.5: 1, 0.95: 200, 0.99: 1_000}
"""The quantiles that are shown, each from so many pairs on."""
_ENOUGH = 1_000_000
"""Pairs at which the sequence of each of them has both ends, at any alpha."""


def name_of(level: float) -> str:
    """What a quantile is called.

    >>> name_of(0.95)
    'p95'
    """
    return f"p{100 * level:.0f}"


def quantile_rows(evidence: Evidence, alpha: float) -> Iterator[Row]:
    """The difference of each quantile (type 7, Hyndman and Fan 1996), silent minus primary.

    Its sequence is the union of the two sides' quantile sequences at alpha / 2 each, so it is wide: it is
    to be seen, not to decide by. For one look, the percentile bootstrap over pairs.
    """
    independent = evidence.clusters is None
    a, b = np.sort(evidence.primary), np.sort(evidence.silent)
    for level, least in LEAST.items():
        estimand = f"difference of {name_of(level)}"
        if len(evidence) < least:
            missing = f"{name_of(level)} takes {least:,} pairs: {least - len(evidence):,} missing"
            note = missing if len(evidence) else ""
            yield row(evidence, estimand, evidence.metric.unit, (None, None), None, None, None, why=note)
            continue
        sides = onelook.quantile(a, level), onelook.quantile(b, level)
        every_look = one_look = None
        if independent:
            (low_a, high_a), (low_b, high_b) = (
                _ends(each, betting.quantile_ranks(len(evidence), level, alpha / 2, _inflation(side, level)))
                for each, side in ((a, evidence.primary), (b, evidence.silent))
            )
            every_look = low_b - high_a, high_b - low_a
            one_look = onelook.quantile_difference_bootstrap(
                evidence.primary, evidence.silent, level, alpha, ordered=(a, b)
            )
        yield row(
            evidence,
            estimand,
            evidence.metric.unit,
            sides,
            sides[1] - sides[0],
            every_look,
            one_look,
            why="no interval: the pairs of a conversation are not independent"
            if evidence.clusters is not None
            else _no_interval(len(evidence), level, alpha / 2),
        )


def _no_interval(n: int, level: float, alpha: float) -> str:
    """Why the sequence of a quantile of so many values has an open end; nothing where it has none."""

    def is_closed(n: int) -> bool:
        low, high = betting.quantile_ranks(n, level, alpha)
        return low >= 1 and high <= n

    if not n or is_closed(n):
        return ""
    least = bisect_left(range(_ENOUGH), True, key=is_closed)
    return f"an interval takes {least:,} pairs: {least - n:,} missing"


def _ends(ordered: Floats, ranks: tuple[int, int]) -> tuple[float, float]:
    """The values of these ranks, from 1 on; below the first is -inf, above the last +inf."""
    low, high = ranks
    return (
        float(ordered[low - 1]) if low >= 1 else -np.inf,
        float(ordered[high - 1]) if high <= len(ordered) else np.inf,
    )


def median_ratio_row(evidence: Evidence, alpha: float) -> Row:
    """The median of the pairs' ratios, where a side that failed took for ever; exact at every look."""
    values, clusters = evidence.values, evidence.clusters
    effect = _median(values)
    every_look: Interval = median_ends(values, (alpha / 2, alpha / 2), clusters) if len(values) else None
    one_look = None
    if clusters is None:
        ranks = onelook.median_ranks(len(values), alpha)
        places = [rank - 1 for rank in ranks if 1 <= rank <= len(values)]
        one_look = _between(np.partition(values, places) if places else values, ranks)
    if every_look is not None and np.isnan(every_look).any():
        every_look = None
    return row(
        evidence,
        evidence.metric.estimand,
        evidence.metric.unit,
        (_median(evidence.primary), _median(evidence.silent)),
        effect,
        every_look,
        one_look,
        why=_endless(effect) or _no_interval(len(means(evidence.values, evidence.clusters)), 0.5, alpha),
    )


def median_ends(
    values: Floats, alphas: tuple[float, float], clusters: Whole | None = None
) -> tuple[float, float]:
    """The one-sided bounds of the median, each at its own alpha, by betting on who is on which side of it.

    NaN where a bound is beyond all values. Where clusters repeat, each counts with the share of its values.

    >>> values = np.arange(1, 101) * 37.0 % 101
    >>> median_ends(values, (0.025, 0.025)), median_ends(values[:3], (0.025, 0.025))
    ((34.0, 67.0), (nan, nan))
    """
    if clusters is not None:
        ordered = np.sort(values)
        low = _first_possible(
            ordered, lambda end: means((values <= end).astype(np.float64), clusters), alphas[0]
        )
        high = _first_possible(
            -ordered[::-1], lambda end: means((values >= -end).astype(np.float64), clusters), alphas[1]
        )
        return low, -high
    n, factor = len(values), _inflation(values, 0.5)
    first = betting.quantile_ranks(n, 0.5, 2 * alphas[0], factor)[0]
    last = betting.quantile_ranks(n, 0.5, 2 * alphas[1], factor)[1]
    kept = [rank - 1 for rank in (first, last) if 1 <= rank <= n]
    ordered = np.partition(values, kept) if kept else values
    return (
        float(ordered[first - 1]) if first >= 1 else np.nan,
        float(ordered[last - 1]) if last <= n else np.nan,
    )


def _first_possible(ordered: Floats, shares: Callable[[float], Floats], alpha: float) -> float:
    """The first of the values that is not known to be below the median; NaN if nothing is known of any.

    `shares` gives how much of each cluster is not above a value.
    """
    target = -log(alpha)

    def is_possible(place: int) -> bool:
        return betting.log_wealth(shares(float(ordered[place])), 0.5) < target

    # of none of the values, as if there were one below all
    if betting.log_wealth(np.zeros(len(shares(float(ordered[0])))), 0.5) < target:
        return float("nan")
    place = bisect_left(range(len(ordered)), True, key=is_possible)
    return float(ordered[place]) if place < len(ordered) else float("nan")


def _inflation(values: Floats, level: float) -> float:
    """How much the values' being above or below a quantile depends on those before them."""
    if not len(values):
        return 1.0
    return inflation((values <= onelook.quantile(np.sort(values), level)).astype(np.float64))


def _endless(effect: float | None) -> str:
    return "the median is infinite: the silent side failed in most pairs" if effect == np.inf else ""


def _median(values: Floats) -> float | None:
    if not len(values):
        return None
    places = [(len(values) - 1) // 2, len(values) // 2]
    low, high = np.partition(values, places)[places]
    # between infinity and itself there is nothing to take the mean of
    return float(low if low == high else low + (high - low) / 2)


def _between(ordered: Floats, ranks: tuple[int, int]) -> Interval:
    """The values of these ranks; None where one is beyond the values."""
    low, high = _ends(ordered, ranks)
    return (low, high) if ranks[0] >= 1 and ranks[1] <= len(ordered) else None
