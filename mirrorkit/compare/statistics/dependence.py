"""How much more the mean of pairs varies than that of independent ones, as load and outages last."""

import numpy as np

from mirrorkit.compare.statistics.ratios import Floats, Ints

LAGS = 20
"""Over how many pairs the dependence is looked for, where a mean is taken to be normal."""
LAGS_OF_BETS = 60
"""The same where it is bet on: what is rare comes in longer episodes."""

_CHUNK = 4_096


def long_run_variance(values: Floats, lags: int = LAGS) -> float:
    """What n times the variance of the mean tends to, of values in the order of their requests.

    γ₀ + 2·Σ_{k ≤ lags} (1 − k / (lags + 1))·γ_k with the autocovariances γ (Newey and West 1987,
    Econometrica 55(3)); 0 without values.

    >>> i = np.arange(1, 501)
    >>> round(long_run_variance(np.sin(i**2 / 7) + np.sin(i / 9) / 2), 10)
    2.1765368568
    """
    if not (n := len(values)):
        return 0.0
    width = lags + 1
    with np.errstate(all="ignore"):
        # Bartlett's weights are those of the sums of so many values in a row, also beyond the ends
        totals = np.pad(np.cumsum(values - values.mean()), (width, lags), mode="edge")
        totals[:width] = 0.0
        sums = totals[width:] - totals[:-width]
        return float(np.einsum("i,i->", sums, sums)) / (width * n)


def long_run_variances(values: Floats, lengths: Ints, lags: int = LAGS) -> Floats:
    """The same of the prefixes that have these lengths, in ascending order, none of them 0.

    >>> long_run_variances(np.array([1.0, 2.0, 6.0]), np.array([1, 3]), 1).round(3)
    array([0.   , 4.333])
    """
    last, width = int(lengths[-1]), lags + 1
    with np.errstate(all="ignore"):
        # from the first value on: large ones lose no digits
        values = values[:last] - values[0]
        totals = np.concatenate([np.zeros(width), np.cumsum(values)])
        # of the window that ends with each value: its sum, and how many of the values are in it
        sums = totals[width:] - totals[:-width]
        counts = np.minimum(np.arange(1.0, last + 1), width)
        squares, products = np.cumsum(sums * sums), np.cumsum(sums * counts)
        sizes = np.cumsum(counts * counts)
        # windows that end after the last value of the prefix have these places of it
        tails = np.arange(1, width)
        found = []
        for start in range(0, len(lengths), _CHUNK):
            n = lengths[start : start + _CHUNK]
            mean, at = totals[n + lags] / n, n - 1
            square = squares[at] - 2 * mean * products[at] + mean * mean * sizes[at]
            beyond = totals[n + lags, None] - totals[np.maximum(n[:, None] + lags - tails, lags)]
            beyond -= mean[:, None] * np.minimum(tails, n[:, None])
            found.append((square + np.einsum("ij,ij->i", beyond, beyond)) / (width * n))
    return np.asarray(np.maximum(np.concatenate(found), 0.0))


def inflation(values: Floats, lags: int = LAGS_OF_BETS) -> float:
    """How many times the long-run variance is the variance of the values; 1 at least.

    >>> inflation(np.array([0.0, 1.0] * 50)), round(inflation(np.repeat([0.0, 1.0], 50)), 1)
    (1.0, 24.1)
    """
    long_run, variance = (long_run_variance(values, each) for each in (lags, 0))
    return max(long_run / variance, 1.0) if variance > 0 else 1.0


def inflations(values: Floats, lengths: Ints, lags: int = LAGS_OF_BETS) -> Floats:
    """The same of the prefixes that have these lengths, in ascending order, none of them 0."""
    long_run, variance = (long_run_variances(values, lengths, each) for each in (lags, 0))
    with np.errstate(all="ignore"):
        return np.fmax(np.where(variance > 0, long_run / variance, 1.0), 1.0)
