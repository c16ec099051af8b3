"""The ratio of two totals, of pairs: which ratios a given number of standard errors leaves possible."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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
        c = self.mean**2 - k**2 * self.var_b
        if not (a > 0 and np.isfinite(half) and np.isfinite(c)):
            return -np.inf, np.inf
        root = max(half**2 - a * c, 0.0) ** 0.5
        return max((half - root) / a, 0.0), max((half + root) / a, 0.0)


def joint(a: Floats, b: Floats, clusters: Ints | None = None) -> Joint | None:
    """What two columns of pairs say of their ratio.

    `clusters` has a code for each pair, -1 for a cluster of its own. None with under 2 groups, where a value
    is not finite, and where the mean of `a` is not above 0.

    >>> joint(np.array([1.0, 3.0]), np.array([2.0, 4.0]))
    Joint(groups=2, effective=2.0, clustered=False, mean=1.5, var_a=0.5, cov=0.5, var_b=0.5)
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(all="ignore"):
        scale = a.mean() if a.size else 0.0
        if not (scale > 0 and np.isfinite(scale) and np.isfinite(b).all()):
            return None
        a, b = a / scale, b / scale
        mean = float(b.mean())
        sums_a, sums_b = _sums(a - 1, clusters), _sums(b - mean, clusters)
        groups = len(sums_a)
        if groups < 2:
            return None
        # the clustered error of Miller (2024), arXiv 2411.00640; of pairs alone, the usual variance
        factor = (groups / len(a)) ** 2 / (groups - 1)
        var_a, cov, var_b = (
            float(one @ other) * factor
            for one, other in ((sums_a, sums_a), (sums_a, sums_b), (sums_b, sums_b))
        )
    effective = float(groups) if clusters is None else effective_clusters(clusters)
    return Joint(groups, effective, groups < len(a), mean, var_a, cov, var_b)


def effective_clusters(clusters: Ints) -> float:
    """How many clusters of like size would tell as much as these: n² / Σ n_c² (Kish 1965, Survey Sampling).

    `clusters` has a code for each pair, -1 for a cluster of its own.

    >>> effective_clusters(np.array([1, 1, 2, 2, 3, 3])), effective_clusters(np.array([1, 1, 1, 1, -1, -1]))
    (3.0, 2.0)
    """
    clusters = np.asarray(clusters)
    if not clusters.size:
        return 0.0
    _, sizes = np.unique(clusters[clusters >= 0], return_counts=True)
    return float(len(clusters) ** 2 / ((sizes.astype(np.float64) ** 2).sum() + (clusters < 0).sum()))


def _sums(values: Floats, clusters: Ints | None) -> Floats:
    """The sum of each cluster's values."""
    if clusters is None:
        return values
    clusters = np.asarray(clusters)
    own = clusters < 0
    _, code = np.unique(clusters[~own], return_inverse=True)
    return np.concatenate([np.bincount(code, weights=values[~own]), values[own]])
