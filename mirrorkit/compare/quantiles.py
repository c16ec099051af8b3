"""The quantiles of latency, and the median of its ratio with failures counted as infinitely slow."""

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np

from mirrorkit.compare.evidence import Evidence, Floats
from mirrorkit.compare.intervals import Interval
from mirrorkit.compare.rows import Row, row
from mirrorkit.compare.statistics import betting, onelook

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
            ranks = betting.quantile_ranks(len(evidence), level, alpha / 2)
            (low_a, high_a), (low_b, high_b) = _ends(a, ranks), _ends(b, ranks)
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
            why=_no_interval(evidence, level, alpha / 2),
        )


def _no_interval(evidence: Evidence, level: float, alpha: float) -> str:
    """Why the sequence of a quantile has an open end; nothing where it has none."""
    if evidence.clusters is not None:
        return "no interval: the pairs of a conversation are not independent"

    def is_closed(n: int) -> bool:
        low, high = betting.quantile_ranks(n, level, alpha)
        return low >= 1 and high <= n

    n = len(evidence)
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
    n, independent = len(evidence), evidence.clusters is None
    looks = betting.quantile_ranks(n, 0.5, alpha), onelook.median_ranks(n, alpha)
    places = [rank - 1 for ranks in looks for rank in ranks if 1 <= rank <= n]
    ordered = np.partition(evidence.values, places) if places else evidence.values
    effect = _median(ordered)
    every_look, one_look = (_between(ordered, ranks) if independent else None for ranks in looks)
    return row(
        evidence,
        evidence.metric.estimand,
        evidence.metric.unit,
        (_median(evidence.primary), _median(evidence.silent)),
        effect,
        every_look,
        one_look,
        why=_endless(effect) or _no_interval(evidence, 0.5, alpha),
    )


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
