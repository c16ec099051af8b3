"""Which sequence a metric has: exact for values with bounds, asymptotic after a burn-in for others."""

from math import inf

from mirrorkit.compare.evidence import Evidence, Floats, Whole
from mirrorkit.compare.metrics import BuiltIn
from mirrorkit.compare.statistics import betting
from mirrorkit.compare.statistics.clusters import means
from mirrorkit.compare.statistics.dependence import inflation
from mirrorkit.compare.statistics.ratios import cluster_sizes, effective_clusters
from mirrorkit.compare.statistics.sequences import (
    BURN_IN,
    BURN_IN_RATIO,
    CLUSTERS,
    EFFECTIVE_CLUSTERS,
)

Interval = tuple[float, float] | None


def is_bounded(metric: BuiltIn) -> bool:
    """Whether the metric's values have known bounds, so that betting on them is exact."""
    return metric.kind == "shares" or (metric.kind == "mean" and metric.bounds is not None)


def limits(metric: BuiltIn) -> tuple[float, float]:
    """The bounds of a metric's values."""
    return (-1.0, 1.0) if metric.kind == "shares" else metric.bounds or (-inf, inf)


def burn_in_of(metric: BuiltIn) -> int:
    """The least number of pairs for an asymptotic interval on the metric."""
    return BURN_IN_RATIO if metric.kind == "totals" else BURN_IN


def in_unit(values: Floats, bounds: tuple[float, float]) -> Floats:
    """Values within bounds, mapped to 0 … 1.

    >>> import numpy as np
    >>> in_unit(np.array([-1.0, 0.0]), (-1.0, 1.0))
    array([0. , 0.5])
    """
    low, high = bounds
    mapped = values - low
    mapped /= high - low
    return mapped


def of_bounded(values: Floats, bounds: tuple[float, float], alpha: float, clusters: Whole | None) -> Interval:
    """The two-sided interval of a mean of bounded values, valid at every look, by betting.

    Where clusters repeat, it is that of the mean of the clusters' means.
    """
    if not len(values):
        return None
    least, most = bounds
    x = in_unit(values, bounds)
    if clusters is None:
        low, high = betting.bounds(x, alpha, inflation=inflation(x))
    else:
        low, high = betting.bounds(means(x, clusters), alpha)
    return least + low * (most - least), least + high * (most - least)


def mean_of_clusters(values: Floats, clusters: Whole | None) -> float | None:
    """The mean of the clusters' means, of the values where no cluster repeats; None without values."""
    return float(means(values, clusters).mean()) if len(values) else None


def too_few(evidence: Evidence) -> str:
    """How many pairs are missing for an interval; nothing where it has one."""
    n, clusters = len(evidence), evidence.clusters
    if not n:
        return ""
    if not is_bounded(evidence.metric) and n < (least := burn_in_of(evidence.metric)):
        return f"an interval takes {least:,} pairs: {least - n:,} missing"
    return "" if clusters is None or is_bounded(evidence.metric) else too_few_clusters(clusters)


def too_few_clusters(clusters: Whole) -> str:
    """How many conversations are missing for an interval, by the pairs' codes; nothing where none is."""
    groups = len(cluster_sizes(clusters))
    if groups == len(clusters):
        return ""
    if groups < CLUSTERS:
        return f"an interval takes {CLUSTERS} conversations: {CLUSTERS - groups:,} missing"
    if (worth := effective_clusters(clusters)) < EFFECTIVE_CLUSTERS:
        return (
            f"an interval takes {EFFECTIVE_CLUSTERS} conversations of like size: a few are so long that "
            f"these {groups:,} are worth {worth:.3g}"
        )
    return ""
