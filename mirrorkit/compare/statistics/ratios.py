"""Of pairs, a mean and the ratio of two totals: what they are, and how far they vary."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Moments(NamedTuple):
    """A column of pairs: its mean, and the variance of one group, a cluster or a pair alone.

    Divided by the number of `groups` it is that of the mean; `effective` is how many of like size these are
    worth, see `effective_clusters`. `clustered` says whether any cluster came twice.
    """

    groups: int
    effective: float
    clustered: bool
    mean: float
    variance: float


class Joint(NamedTuple):
    """Two columns of pairs, A and B, in units of the mean of A: so that mean is 1.

    `mean` is that of B. The variances and the covariance are those of one group, a cluster or a pair alone;
    divided by the number of `groups` they are those of the means; `effective` is how many of like size these
    are worth, see `effective_clusters`.
    """

    groups: int
    effective: float
    clustered: bool
    mean: float
    var_a: float
    cov: float
    var_b: float

    def ratios(self, k: float) -> tuple[float, float]:
        """The ends of all r with |mean(B − r·A)| ≤ k·sd(B − r·A), those below 0 left out.

        (-inf, inf) where the set has no ends, because `k` standard deviations of A reach 0. Fieller (1954),
        Journal of the Royal Statistical Society B 16.

        >>> seen = joint(np.array([1.0, 2.0, 3.0, 2.0]), np.array([2.0, 4.0, 7.0, 3.0]))
        >>> [round(end, 3) for end in seen.ratios(0.5)]
        [1.769, 2.188]
        """
        # mean(B − r·A)² − k²·var(B − r·A) = a·r² − 2·half·r + c
        a = 1 - k**2 * self.var_a
        half = self.mean - k**2 * self.cov
        c = self.mean * self.mean - k**2 * self.var_b
        # too large for a float is infinite in a product, an exception in a power
        root = max(half * half - a * c, 0.0) ** 0.5
        if not (a > 0 and np.isfinite(c) and np.isfinite(root)):
            return -np.inf, np.inf
        return max((half - root) / a, 0.0), max((half + root) / a, 0.0)


def moments(values: Floats, clusters: Ints | None = None) -> Moments | None:
    """What a column of pairs says of its mean.

    `clusters` has a code for each pair, -1 for a cluster of its own. None with under 2 groups, and where a
    value is not finite. The variance of constant values is 0.

    >>> moments(np.array([1.0, 2.0, 6.0]))
    Moments(groups=3, effective=3.0, clustered=False, mean=3.0, variance=7.0)
    """
    values = np.asarray(values, dtype=np.float64)
    groups, effective = _groups(len(values), clusters)
    if groups < 2:
        return None
    with np.errstate(all="ignore"):
        # from the first value on: constant values are exactly 0, and large ones lose no digits
        centred = values - values[0]
        mean = float(centred.mean())
        if not np.isfinite(mean):
            return None
        centred -= mean
        sums = _sums(centred, clusters)
        variance = _dot(sums, sums) * _factor(groups, len(values))
        return Moments(groups, effective, groups < len(values), float(values[0]) + mean, variance)


def joint(a: Floats, b: Floats, clusters: Ints | None = None) -> Joint | None:
    """What two columns of pairs say of their ratio.

    `clusters` has a code for each pair, -1 for a cluster of its own. None with under 2 groups, where a value
    is not finite, and where the mean of `a` is not above 0.

    >>> joint(np.array([1.0, 3.0]), np.array([2.0, 4.0]))
    Joint(groups=2, effective=2.0, clustered=False, mean=1.5, var_a=0.5, cov=0.5, var_b=0.5)
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    groups, effective = _groups(len(a), clusters)
    if groups < 2:
        return None
    with np.errstate(all="ignore"):
        scale = a.mean()
        if not (scale > 0 and np.isfinite(scale)):
            return None
        b = b / scale
        mean = float(b.mean())
        if not np.isfinite(mean):
            return None
        b -= mean
        a = a / scale
        a -= 1
        sums_a, sums_b = _sums(a, clusters), _sums(b, clusters)
        factor = _factor(groups, len(a))
        var_a, cov, var_b = (
            _dot(one, other) * factor for one, other in ((sums_a, sums_a), (sums_a, sums_b), (sums_b, sums_b))
        )
    return Joint(groups, effective, groups < len(a), mean, var_a, cov, var_b)


def effective_clusters(clusters: Ints) -> float:
    """How many clusters of like size would tell as much as these: n² / Σ n_c² (Kish 1965, Survey Sampling).

    `clusters` has a code for each pair, -1 for a cluster of its own.

    >>> effective_clusters(np.array([1, 1, 2, 2, 3, 3])), effective_clusters(np.array([1, 1, 1, 1, -1, -1]))
    (3.0, 2.0)
    """
    return _groups(len(clusters), clusters)[1]


def cluster_sizes(clusters: Ints) -> Ints:
    """The number of pairs of each cluster; `clusters` has a code for each pair, -1 for a cluster of its own.

    >>> cluster_sizes(np.array([7, 2, 7, -1, -1]))
    array([1, 2, 1, 1])
    """
    own = int(np.count_nonzero(clusters < 0))
    sizes = np.bincount(_close(clusters)[clusters >= 0])
    return np.concatenate([sizes[sizes > 0], np.ones(own, dtype=sizes.dtype)])


def _groups(n: int, clusters: Ints | None) -> tuple[int, float]:
    """How many groups `n` pairs are, and how many of like size those are worth."""
    if clusters is None or not n:
        return n, float(n)
    sizes = cluster_sizes(clusters).astype(np.float64)
    return len(sizes), float(n**2 / (sizes @ sizes))


def _factor(groups: int, n: int) -> float:
    """What makes the squares of the groups' sums the variance of one group.

    The clustered error of Miller (2024), arXiv 2411.00640; of pairs alone, the usual variance.
    """
    return (groups / n) ** 2 / (groups - 1)


def _sums(values: Floats, clusters: Ints | None) -> Floats:
    """The sum of each cluster's values; 0 for a code that no pair has."""
    if clusters is None:
        return values
    known = clusters >= 0
    sums = np.asarray(np.bincount(_close(clusters)[known], weights=values[known]), dtype=np.float64)
    return sums if known.all() else np.concatenate([sums, values[~known]])


def _dot(one: Floats, other: Floats) -> float:
    # `@` would wake threads, which for so little takes longer than it saves
    return float(np.einsum("i,i->", one, other))


def _close(clusters: Ints) -> Ints:
    """The same clusters, with other codes if theirs are so far apart that counting by code takes memory."""
    if not len(clusters) or clusters.max() < 2 * len(clusters):
        return clusters
    return np.unique(clusters, return_inverse=True)[1]
