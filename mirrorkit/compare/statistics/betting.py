"""Tests by betting: exact for values in [0, 1], at every look and at any stopping.

Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", Journal of the
Royal Statistical Society B 86(1): the wealth of one who bets against a hypothesis reaches 1/α with a
chance of at most α if the hypothesis is true.

That is so while values do not depend on each other. Where they do, as in an outage, ln of each bettor's
wealth is divided by how many times the variance of the mean is that of independent values, see `inflation`.
"""

import math
from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from mirrorkit.compare.statistics.clusters import running_means
from mirrorkit.compare.statistics.dependence import inflations

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BETS: Floats = np.concatenate([np.arange(1, 21) / 21, 0.5 ** np.arange(1, 5) / 21])
"""The shares of wealth that are bet, each by one of 24 equal bettors."""

MOST_DISTINCT = 20_000
"""Different values that are counted as they are; more are rounded, to the safe side."""
GRID = 10_000
"""What they are rounded to: multiples of 1 / GRID."""

_HALVES: Floats = np.array([0.0, 0.5, 1.0])
_CHUNK = 4_096
_ROUNDING = 1e-9
_HALVINGS = 40


def log_wealth(
    values: Floats, m: float, counts: NDArray[np.int64] | None = None, inflation: float = 1.0
) -> float:
    """ln of the evidence against "the mean of the values, each in [0, 1], is `m` or more".

    `counts` tells how often each value came; once, where it is left out. At `m` = 1, a value below 1 is
    infinite evidence; above 1 there is no doubt. 0 is no evidence at all: so without values, and if one is
    not in [0, 1].

    >>> round(log_wealth(np.array([0.0, 0.5, 1.0]), 0.505, np.array([3, 990, 7])), 10)
    0.6883183776
    """
    return _against(_counted(values, counts), m, inflation)


def upper(
    values: Floats, alpha: float, counts: NDArray[np.int64] | None = None, inflation: float = 1.0
) -> float:
    """The one-sided upper bound of the mean at `alpha`; 1 where nothing can be said, see `log_wealth`.

    The bound does not depend on the order of the values. More than `MOST_DISTINCT`
    different values are rounded up to multiples of 1 / `GRID`, which moves the bound up.

    >>> round(upper(np.array([0.0, 0.5, 1.0]), 0.05, np.array([3, 990, 7])), 10)
    0.5075294109
    """
    return _upper(_coarse(_counted(values, counts)), alpha, inflation)


def bounds(
    values: Floats, alpha: float, counts: NDArray[np.int64] | None = None, inflation: float = 1.0
) -> tuple[float, float]:
    """The two-sided interval of the mean, with `alpha` / 2 on each side; (0, 1) where nothing can be said.

    >>> low, high = bounds(np.array([0.0, 0.5, 1.0]), 0.05, np.array([120, 60, 140]))
    >>> round(low, 10), round(high, 10)
    (0.4456439671, 0.6162510624)
    """
    counted = _counted(values, counts)
    mirrored = None if counted is None else (1 - counted[0], counted[1])
    ends = (_upper(_coarse(each), alpha / 2, inflation) for each in (mirrored, counted))
    return 1 - next(ends), next(ends)


def first_rejection(
    values: Floats, m: float, log_thresholds: float | Floats, clusters: Ints | None = None
) -> int | None:
    """The index of the first value at which `log_wealth` of all values so far reaches the threshold.

    `log_thresholds` is ln(1/α), a number or one for each value. None if it is never reached, and from the
    first value on that is not in [0, 1]. Values that depend on each other count as `inflations` says.

    `clusters` has a code for each value, -1 for a cluster of its own: then the mean is that of the clusters'
    means, each bet on as it is so far. The wealth is a supermartingale of whole clusters.

    >>> first_rejection(np.zeros(100), 0.1, math.log(20))
    45
    """
    values = np.asarray(values, dtype=np.float64)
    bad = ~_within(values)
    values = np.clip(values[: int(bad.argmax()) if bad.any() else len(values)], 0.0, 1.0)
    thresholds = np.broadcast_to(np.asarray(log_thresholds, dtype=np.float64), bad.shape)[: len(values)]
    if m >= 1:
        certain = (m > 1) | (np.minimum.accumulate(values) < 1)
        hits = np.flatnonzero(np.where(certain, np.inf, 0.0) >= thresholds)
        return int(hits[0]) if hits.size else None
    means = None if clusters is None else running_means(values, clusters[: len(values)])
    fortunes = np.zeros((len(BETS), 1))
    for start in range(0, len(values), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        gains = _gains(values[chunk], m) if means is None else _gains(means.now[chunk], m)
        if means is not None:
            gains -= np.where(means.is_new[chunk], 0.0, _gains(means.before[chunk], m))
        fortunes = np.cumsum(gains, axis=1) + fortunes[:, -1:]
        # The mean fortune is at most the largest: most chunks need no more than this.
        near = np.flatnonzero(fortunes.max(axis=0) >= thresholds[chunk])
        near = near[_log_mean(fortunes[:, near]) >= thresholds[chunk][near]]
        if near.size and means is None:
            tempered = fortunes[:, near] / inflations(values, start + near + 1)
            near = near[_log_mean(tempered) >= thresholds[chunk][near]]
        if near.size:
            return start + int(near[0])
    return None


def quantile_ranks(n: int, p: float, alpha: float, inflation: float = 1.0) -> tuple[int, int]:
    """Which of `n` sorted values bound the `p` quantile, 0 < p < 1; from 1 on, 0 is -inf and n + 1 is +inf.

    The lower end is the first value that is not known to be below the quantile, the upper end the last not
    known to be above.

    >>> quantile_ranks(100, 0.5, 0.05), quantile_ranks(3, 0.5, 0.05)
    ((34, 67), (0, 4))
    """
    return _least(n, p, alpha / 2, inflation), n + 1 - _least(n, 1 - p, alpha / 2, inflation)


def log_e_mcnemar(b: int, c: int) -> float:
    """ln of the evidence that of two kinds of discordant pairs, seen `b` and `c` times, one is likelier.

    B(½ + b, ½ + c) / B(½, ½) · 2^(b + c): the mean wealth over all bets, by Jeffreys' prior.

    >>> round(log_e_mcnemar(15, 3), 8)
    2.67436225
    """
    from scipy.special import betaln

    return float(betaln(0.5 + b, 0.5 + c) - betaln(0.5, 0.5) + (b + c) * math.log(2))


Counted = tuple[Floats, NDArray[np.int64]]


def _counted(values: Floats, counts: NDArray[np.int64] | None) -> Counted | None:
    """The different values, sorted, and how often each came; None without any, or if one is not in [0, 1]."""
    values = np.asarray(values, dtype=np.float64)
    if counts is None and (halves := _halves(values)):
        return halves
    if counts is not None:
        values, counts = values[np.asarray(counts) > 0], np.asarray(counts)[np.asarray(counts) > 0]
    if not values.size or not _within(values).all():
        return None
    if counts is None:
        distinct, counts = np.unique(values, return_counts=True)
        return np.clip(distinct, 0.0, 1.0), counts
    distinct, code = np.unique(np.clip(values, 0.0, 1.0), return_inverse=True)
    return distinct, np.bincount(code, weights=counts).astype(np.int64)


def _halves(values: Floats) -> Counted | None:
    """The same for values that are all 0, ½ or 1, as shares are: comparing is quicker than sorting."""
    counts = np.array([np.count_nonzero(values == half) for half in _HALVES])
    if not values.size or counts.sum() < values.size:
        return None
    return _HALVES[counts > 0], counts[counts > 0]


def _within(values: Floats) -> NDArray[np.bool_]:
    """Where a value is in [0, 1], but for rounding."""
    return (values >= -_ROUNDING) & (values <= 1 + _ROUNDING)


def _coarse(counted: Counted | None) -> Counted | None:
    """The same, rounded up to the grid where there are too many different values."""
    if counted is None or len(counted[0]) <= MOST_DISTINCT:
        return counted
    steps = np.ceil(counted[0] * GRID).astype(np.int64)
    totals = np.bincount(steps, weights=counted[1]).astype(np.int64)
    kept = np.flatnonzero(totals)
    return kept / GRID, totals[kept]


def _gains(values: Floats, m: float) -> Floats:
    """ln of what each bettor's wealth is multiplied by at each value: bettors down, values across."""
    return np.asarray(np.log1p(BETS[:, None] * ((m - values) / (1 - m))))


def _log_mean(fortunes: Floats) -> Floats:
    """ln of the mean over the bettors, of the ln of their wealth."""
    most: Floats = fortunes.max(axis=0)
    share: Floats = np.exp(fortunes - most).mean(axis=0)
    return most + np.log(share)


def _against(counted: Counted | None, m: float, inflation: float) -> float:
    if m > 1:
        return math.inf
    if counted is None:
        return 0.0
    if m == 1:
        return math.inf if counted[0][0] < 1 else 0.0
    return float(_log_mean(_gains(counted[0], m) @ counted[1][:, None] / inflation)[0])


def _upper(counted: Counted | None, alpha: float, inflation: float) -> float:
    if counted is None:
        return 1.0
    target = -math.log(alpha)
    # There is no evidence against the mean that was seen, and the more the larger m.
    low, high = float(np.average(counted[0], weights=counted[1])), 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _against(counted, middle, inflation) < target:
            low = middle
        else:
            high = middle
    return high


def _least(n: int, p: float, alpha: float, inflation: float) -> int:
    """The least number of values at or below x that does not contradict "at least `p` of all are"."""
    if n == 0:
        return 0
    target = -math.log(alpha)
    ends = np.array([0.0, 1.0])
    return bisect_right(
        range(n + 1), -target, key=lambda k: -_against((ends, np.array([n - k, k])), p, inflation)
    )
