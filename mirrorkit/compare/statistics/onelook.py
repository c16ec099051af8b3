"""Intervals and p-values that hold for one look at a number of pairs that was fixed before."""

import math
from bisect import bisect_right

import numpy as np

from mirrorkit.compare.statistics.ratios import Floats, Ints, joint, moments

RESAMPLED = 1_000
"""Pairs up to which a bootstrap draws the pairs themselves."""


def paired_t(values: Floats, alpha: float, clusters: Ints | None = None) -> tuple[float, float] | None:
    """Student's interval of the mean of paired differences; None for under 2 values, or if one is not finite.

    With clusters (a code for each value, -1 for a cluster of its own) by the clustered standard error of
    Miller (2024), arXiv 2411.00640, and one degree of freedom less than there are clusters. Constant values
    have an interval of width 0.

    >>> low, high = paired_t(np.array([1.0, 2.0, 3.0, 4.0]), 0.05)
    >>> round(low, 4), round(high, 4)
    (0.4457, 4.5543)
    """
    seen = moments(values, clusters)
    if seen is None:
        return None
    half = _t(seen.groups, alpha) * math.sqrt(seen.variance)
    return (seen.mean - half, seen.mean + half) if math.isfinite(half) else None


def fieller_t(a: Floats, b: Floats, alpha: float, clusters: Ints | None = None) -> tuple[float, float]:
    """Fieller's interval of ΣB / ΣA; (-inf, inf) where nothing can be said, else not below 0.

    Nothing can be said with under 2 pairs, where a value is not finite, and where A may be 0 in total.
    Fieller (1954), Journal of the Royal Statistical Society B 16.

    >>> fieller_t(np.array([2.0, 3.0, 4.0]), np.array([4.0, 6.0, 8.0]), 0.05)
    (2.0, 2.0)
    """
    seen = joint(a, b, clusters)
    return (-math.inf, math.inf) if seen is None else seen.ratios(_t(seen.groups, alpha))


def mcnemar_p(b: int, c: int) -> float:
    """The exact two-sided p-value of McNemar (1947): discordant pairs, `b` of one kind and `c` of the other.

    >>> round(mcnemar_p(15, 3), 10)
    0.0075378418
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5)))


def discordant(minus: int, n: int, plus: int, alpha: float) -> tuple[float, float] | None:
    """The interval of a difference of two shares in `n` pairs: (`plus` - `minus`) / n; None without pairs.

    `plus` and `minus` are the numbers of pairs whose difference is 1 and -1. Half a pair is added to each
    cell of the two-by-two table: Agresti and Min (2005), Statistics in Medicine 24.

    >>> low, high = discordant(3, 1_000, 7, 0.05)
    >>> round(low, 6), round(high, 6)
    (-0.002491, 0.010475)
    """
    from scipy.special import ndtri

    if n < 1:
        return None
    size, difference, either = n + 2, plus - minus, plus + minus + 1
    half = -float(ndtri(alpha / 2)) * math.sqrt(either - difference**2 / size) / size
    return max(difference / size - half, -1.0), min(difference / size + half, 1.0)


def wilson(successes: float, n: int, alpha: float) -> tuple[float, float] | None:
    """The interval of a share, `successes` of `n`, of Wilson (1927), JASA 22; None for `n` = 0.

    >>> low, high = wilson(0, 10, 0.05)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.2775)
    """
    from scipy.special import ndtri

    if n < 1:
        return None
    z2 = float(ndtri(alpha / 2)) ** 2
    centre = (successes + z2 / 2) / (n + z2)
    half = math.sqrt(z2 * (successes * (n - successes) / n + z2 / 4)) / (n + z2)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def median_ranks(n: int, alpha: float) -> tuple[int, int]:
    """Which of `n` sorted values bound the median; from 1 on, 0 is -inf and n + 1 is +inf.

    >>> median_ranks(100, 0.05), median_ranks(3, 0.05)
    ((40, 61), (0, 4))
    """
    from scipy.special import bdtr

    low = bisect_right(range(n), alpha / 2, key=lambda k: float(bdtr(k, n, 0.5)))
    return low, n + 1 - low


def quantile_difference_bootstrap(
    a: Floats,
    b: Floats,
    p: float,
    alpha: float,
    *,
    draws: int = 200,
    seed: int = 0,
    ordered: tuple[Floats, Floats] | None = None,
) -> tuple[float, float] | None:
    """The percentile bootstrap of the difference of two `p` quantiles (type 7), B - A, over pairs.

    None for under 2 pairs, or if a value is not finite. The same input gives the same interval. Over
    `RESAMPLED` pairs the quantiles of a resample are not looked up in it but told, by the expansion of
    Bahadur (1966), Annals of Mathematical Statistics 37, from how many of its values lie at or below each
    side's quantile: four cells, drawn at once, however many pairs there are. What that leaves out is of the
    order n^(-3/4), the interval's width of the order n^(-1/2). `ordered` are the two columns, each sorted, if
    the caller has them: sorting takes most of the time.

    >>> low, high = quantile_difference_bootstrap(np.arange(300.0), np.arange(300.0) + 2, 0.5, 0.05)
    >>> low, high
    (2.0, 2.0)
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(a) < 2:
        return None
    ordered = ordered or (np.sort(a), np.sort(b))
    # sorting puts what is not finite at the ends
    if not all(np.isfinite(side[[0, -1]]).all() for side in ordered):
        return None
    generator = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        if len(a) <= RESAMPLED:
            differences = _drawn(a, b, p, draws, generator)
        else:
            differences = _told(a, b, ordered, p, draws, generator)
        low, high = np.quantile(differences, [alpha / 2, 1 - alpha / 2])
    return (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else None


def _drawn(a: Floats, b: Floats, p: float, draws: int, generator: np.random.Generator) -> Floats:
    chosen = generator.integers(0, len(a), (draws, len(a)))
    return np.asarray(np.quantile(b[chosen], p, axis=1) - np.quantile(a[chosen], p, axis=1))


def _told(
    a: Floats,
    b: Floats,
    ordered: tuple[Floats, Floats],
    p: float,
    draws: int,
    generator: np.random.Generator,
) -> Floats:
    n = len(a)
    below_a, below_b = (side <= quantile(of, p) for side, of in zip((a, b), ordered, strict=True))
    in_a, in_b, both = (np.count_nonzero(cell) for cell in (below_a, below_b, below_a & below_b))
    cells = np.array([n - in_a - in_b + both, in_b - both, in_a - both, both])
    drawn = generator.multinomial(n, cells / n, draws) - cells
    more_a, more_b = drawn[:, 2] + drawn[:, 3], drawn[:, 1] + drawn[:, 3]
    return _quantiles(ordered[1], p - more_b / n) - _quantiles(ordered[0], p - more_a / n)


def quantile(ordered: Floats, p: float) -> float:
    """The `p` quantile (type 7, Hyndman and Fan 1996) of values that are sorted.

    >>> quantile(np.array([1.0, 2.0, 4.0, 10.0]), 0.5)
    3.0
    """
    return float(_quantiles(ordered, np.array([p]))[0])


def _quantiles(ordered: Floats, levels: Floats) -> Floats:
    """The same at many levels close to each other."""
    places = np.clip(levels, 0.0, 1.0) * (len(ordered) - 1)
    first, last = int(places.min()), min(int(places.max()) + 1, len(ordered) - 1)
    return np.interp(places, np.arange(first, last + 1), ordered[first : last + 1])


def _t(groups: int, alpha: float) -> float:
    """The quantile of Student's t for the standard deviation of one of so many groups."""
    from scipy.special import stdtrit

    return -float(stdtrit(groups - 1, alpha / 2)) / math.sqrt(groups)
