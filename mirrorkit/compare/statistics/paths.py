"""Confidence bounds by betting at many prefixes of the same values, together: for a picture of them."""

import numpy as np

from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.statistics.dependence import inflations
from mirrorkit.compare.statistics.ratios import Floats, Ints

DISTINCT = 64
"""Different values that are counted as they are; more are split between so many of their quantiles."""
_HALVINGS = 30


def uppers(values: Floats, ends: Ints, alphas: Floats, clusters: Ints | None = None) -> Floats:
    """The one-sided upper bound of the mean after each of `ends` values, each at its own of `alphas`.

    `values` are within [0, 1], `ends` are numbers of values from 1 on and increase. The last bound is
    `betting.upper`'s; those before are as well, if the values are few different ones, but for the accuracy
    of a picture. Others are each split between the two quantiles beside it, in shares that keep their mean:
    the logarithm is concave, so that this can only take from the evidence, and the bound stays valid.
    `clusters` has a code for each value, -1 for a cluster of its own: then the mean is that of the clusters'
    means, as they are at each end.

    >>> uppers(np.array([0.0, 0.5, 0.5, 1.0]), np.array([2, 4]), np.array([0.05, 0.05])).round(3)
    array([0.911, 0.909])
    """
    if not len(ends):
        return np.empty(0)
    values = np.clip(np.asarray(values, dtype=np.float64), 0.0, 1.0)
    if clusters is not None:
        so_far = (means(values[:end], clusters[:end]) for end in ends)
        return np.array([betting.upper(each, float(a)) for each, a in zip(so_far, alphas, strict=True)])
    nodes, counts = _counted(values, ends)
    factors = inflations(values, ends)
    targets = -np.log(alphas)
    low, high = counts @ nodes / ends, np.ones(len(ends))
    for _ in range(_HALVINGS):
        middle = np.minimum((low + high) / 2, 1 - 1e-12)
        enough = _against(nodes, counts, middle, factors) >= targets
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    high[-1] = betting.upper(values[: ends[-1]], float(alphas[-1]), inflation=float(factors[-1]))
    return high


def _counted(values: Floats, ends: Ints) -> tuple[Floats, Floats]:
    """The values that are counted, and how often each is among the first of `ends`, one row for each end."""
    used = values[: ends[-1]]
    nodes = np.unique(used)
    if len(nodes) > DISTINCT:
        nodes = np.unique(np.quantile(used, np.linspace(0, 1, DISTINCT)))
    if len(nodes) == 1:
        return nodes, ends[:, None].astype(np.float64)
    place = np.clip(np.searchsorted(nodes, used, side="right") - 1, 0, len(nodes) - 2)
    share = (used - nodes[place]) / (nodes[place + 1] - nodes[place])
    counts = np.empty((len(ends), len(nodes)))
    for row, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        part = slice(start, end)
        counts[row] = np.bincount(place[part], 1 - share[part], len(nodes))
        counts[row] += np.bincount(place[part] + 1, share[part], len(nodes))
    return nodes, np.cumsum(counts, axis=0)


def _against(nodes: Floats, counts: Floats, m: Floats, factors: Floats) -> Floats:
    """ln of the evidence of each row of counts against "the mean is that of `m` or more"."""
    away = (m[:, None] - nodes) / (1 - m)[:, None]
    fortunes = np.stack([(np.log1p(bet * away) * counts).sum(axis=1) for bet in betting.BETS])
    fortunes /= factors
    most: Floats = fortunes.max(axis=0)
    return np.asarray(most + np.log(np.exp(fortunes - most).mean(axis=0)))
