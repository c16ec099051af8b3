"""Pairs of one conversation, taken together."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mirrorkit.compare.statistics.ratios import Floats, Ints


class Before(NamedTuple):
    """For each value, the sum and the number of those of its cluster before it."""

    sums: Floats
    counts: Floats


class Means(NamedTuple):
    """For each value, the mean of its cluster with it and before it; `before` is 0 where it is the first."""

    now: Floats
    before: Floats
    is_new: NDArray[np.bool_]


def before(values: Floats, clusters: Ints | None) -> Before | None:
    """What of each value's cluster came before it; None where no cluster comes twice.

    `clusters` has a code for each value, -1 for a cluster of its own.

    >>> before(np.array([1.0, 2.0, 6.0]), np.array([7, -1, 7]))
    Before(sums=array([0., 0., 1.]), counts=array([0., 0., 1.]))
    """
    if clusters is None:
        return None
    order = np.argsort(clusters, kind="stable")
    codes = np.asarray(clusters)[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (codes[1:] != codes[:-1]) | (codes[1:] < 0)
    if starts.all():
        return None
    del codes
    first = np.flatnonzero(starts)
    sizes = np.diff(first, append=len(order))
    ordered = values[order]
    sums = np.cumsum(ordered)
    sums -= ordered
    sums -= np.repeat(sums[first], sizes)
    found = ordered
    found[order] = sums
    del sums
    places = np.arange(len(order))
    places -= np.repeat(first, sizes)
    count = np.empty(len(order))
    count[order] = places
    return Before(found, count)


def running_means(values: Floats, clusters: Ints) -> Means:
    """The means of the clusters as each value comes; values within [0, 1].

    >>> running_means(np.array([1.0, 0.5, 0.0]), np.array([7, -1, 7])).now
    array([1. , 0.5, 0.5])
    """
    found = before(values, clusters)
    if found is None:
        return Means(values, np.zeros(len(values)), np.ones(len(values), dtype=bool))
    # the sum of the others is rounded
    now = np.clip((found.sums + values) / (found.counts + 1), 0.0, 1.0)
    earlier = np.clip(found.sums / np.maximum(found.counts, 1), 0.0, 1.0)
    return Means(now, earlier, found.counts == 0)


def means(values: Floats, clusters: Ints | None) -> Floats:
    """The mean of each cluster, in the order of the codes; those of their own come last.

    >>> means(np.array([1.0, 0.5, 0.0]), np.array([7, -1, 7]))
    array([0.5, 0.5])
    """
    if clusters is None:
        return values
    known = clusters >= 0
    codes = np.unique(clusters[known], return_inverse=True)[1]
    sums = np.bincount(codes, weights=values[known])
    return np.concatenate([sums / np.maximum(np.bincount(codes), 1), values[~known]])
