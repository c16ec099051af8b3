"""Confidence sequences of a mean and of a ratio of totals: intervals that hold at every look.

AsympCS of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), "Time-uniform central limit theory and
asymptotic confidence sequences", Annals of Statistics 52(6), Theorem 2.2; with pairs of one conversation
taken together, the clustered error of Miller (2024), arXiv 2411.00640; and never narrower than the long-run
variance asks for, as the load that one pair meets the next one often meets too.
"""

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mirrorkit.compare.statistics.clusters import Before, before
from mirrorkit.compare.statistics.dependence import long_run_variance, long_run_variances
from mirrorkit.compare.statistics.ratios import Floats, Ints, Joint, Moments, joint, moments

T_OPT = 1_000
"""Pairs at which a sequence is narrowest."""
T_OPT_CLUSTERS = 100
"""Clusters at which a sequence is narrowest, where pairs come in clusters."""
BURN_IN = 100
"""Pairs before a sequence says anything."""
BURN_IN_RATIO = 200
"""Pairs before a ratio of totals says anything: its tails are heavier."""
CLUSTERS = 30
"""Clusters before a sequence says anything, where pairs come in clusters."""
EFFECTIVE_CLUSTERS = 20
"""How many of like size they must be worth: one large conversation is not told by thirty small ones."""

_WIDEST_ALPHA = 0.5
_WINDOW = 1_024
_ROUNDING = 1e-12


def best_rho2(t_opt: float, alpha: float) -> float:
    """The ρ² whose two-sided sequence at `alpha` is narrowest after `t_opt` observations.

    >>> round(best_rho2(500, 0.05), 11)
    0.01642393612
    """
    from scipy.special import lambertw

    return float((-lambertw(-(alpha**2) / np.e, -1).real - 1) / t_opt)


@overload
def unit_radius(n: float, alpha: float, t_opt: float, *, one_sided: bool = ...) -> float: ...
@overload
def unit_radius(n: Floats, alpha: float, t_opt: float, *, one_sided: bool = ...) -> Floats: ...
def unit_radius(n: Any, alpha: float, t_opt: float, *, one_sided: bool = False) -> Any:
    """The half width of a sequence after `n` observations (a number, or an array) of standard deviation 1.

    One-sided, it is the distance to the one end that is claimed.

    >>> round(unit_radius(100, 0.05, 500), 10)
    0.3347056154
    >>> round(unit_radius(100, 0.05, 1_000, one_sided=True), 10)
    0.3632182742
    """
    # Any rho2 is valid at any alpha; the bound keeps it above 0.
    rho2 = best_rho2(t_opt, min(2 * alpha if one_sided else alpha, _WIDEST_ALPHA))
    size = np.atleast_1d(np.asarray(n, dtype=np.float64))
    a = size * rho2
    a += 1
    if one_sided:
        log = np.sqrt(a)
        log /= 2 * alpha
        np.log1p(log, out=log)
    else:
        log = np.log(a)
        log /= 2
        log -= np.log(alpha)
    # √(2·a·log / ρ²) / n
    a *= log
    a *= 2 / rho2
    np.sqrt(a, out=a)
    a /= size
    return a if isinstance(n, np.ndarray) else float(a[0])


@dataclass(frozen=True, slots=True)
class Running:
    """Mean and standard deviation of every prefix of a sequence; all arrays are of its length.

    `pairs` counts 1 .. N. `groups` is the number of clusters seen, which is the number of pairs while no
    cluster has come twice; `effective` is how many clusters of like size tell as much, n² / Σ n_c² (Kish
    1965). `sd` is that of one group: the standard error of `mean` is sd / √groups. `clustered` says whether
    any cluster came twice. From the first value that is not finite on, `mean` and `sd` are NaN.
    """

    pairs: Floats
    mean: Floats
    sd: Floats
    groups: Floats
    effective: Floats
    clustered: bool

    def radius(self, alpha: float | Floats, *, one_sided: bool = False, burn_in: int = BURN_IN) -> Floats:
        """The half width of the sequence at every prefix; +inf where nothing can be said yet.

        That is before `burn_in` pairs; where a cluster came twice, before there are `CLUSTERS` of them, and
        `EFFECTIVE_CLUSTERS` effective ones; and where `mean` or `sd` is NaN. `alpha` is a number, or one for
        each prefix with few different ones among them.

        >>> sequence = running(np.sin(np.arange(1, 301) ** 2.0))
        >>> sequence.radius(0.05)[[98, 99]].round(4)
        array([   inf, 0.2698])
        """
        radius = np.full(len(self.pairs), np.inf)
        in_clusters = self.groups < self.pairs
        enough = (self.groups >= CLUSTERS) & (self.effective >= EFFECTIVE_CLUSTERS)
        told = (self.pairs >= burn_in) & (enough | ~in_clusters) & np.isfinite(self.sd)
        levels = np.broadcast_to(np.asarray(alpha, dtype=np.float64), radius.shape)
        for level in np.unique(np.asarray(alpha, dtype=np.float64)):
            for t_opt, kind in ((T_OPT, ~in_clusters), (T_OPT_CLUSTERS, in_clusters)):
                chosen = told & kind & (levels == level)
                unit = unit_radius(self.groups[chosen], float(level), t_opt, one_sided=one_sided)
                unit *= self.sd[chosen]
                radius[chosen] = unit
        return radius

    def widening(self, values: Floats, lengths: Ints) -> Floats:
        """How much wider the sequence is at prefixes of these lengths, as their pairs depend on each other.

        `values` are those that this is the running mean of; `lengths` ascend. 1 where the long-run variance
        is no larger than the one that was seen.
        """
        at = lengths - 1
        with np.errstate(all="ignore"):
            seen = self.sd[at] ** 2 / self.groups[at]
            return np.sqrt(np.fmax(long_run_variances(values, lengths) / lengths / seen, 1.0))

    def first_clear(self, values: Floats, radius: Floats, above: bool, told: Any = True) -> int | None:
        """The first prefix whose sequence is all above 0, or all below; None if there is none.

        `radius` is that of `radius`; `told` says at which prefixes it counts.
        """
        distance = self.mean if above else -self.mean
        with np.errstate(invalid="ignore"):
            near = np.flatnonzero((distance - radius > 0) & told)
        start, window = 0, _WINDOW
        while start < len(near):
            # what is to be seen soon takes no look at all that comes later
            end = int(np.searchsorted(near, near[start] + window, side="right"))
            chosen = near[start:end]
            wide = radius[chosen] * self.widening(values, chosen + 1)
            clear = np.flatnonzero(distance[chosen] - wide > 0)
            if clear.size:
                return int(chosen[clear[0]])
            start, window = end, 2 * window
        return None

    def radius_at_end(self, alpha: float, *, one_sided: bool = False, burn_in: int = BURN_IN) -> float:
        """The half width at the last prefix, as `radius` has it; +inf for an empty sequence."""
        pairs, mean, sd = self.pairs[-1:], self.mean[-1:], self.sd[-1:]
        last = Running(pairs, mean, sd, self.groups[-1:], self.effective[-1:], self.clustered)
        radius = last.radius(alpha, one_sided=one_sided, burn_in=burn_in)
        return float(radius[0]) if radius.size else float("inf")


def running(values: Floats, clusters: Ints | None = None) -> Running:
    """Mean and standard deviation of every prefix of `values`, in time proportional to their number.

    `clusters` has a code for each value: values of one code are of one cluster, and may depend on each
    other; -1 is a cluster of its own. Constant values have a standard deviation of 0; one value has none
    (NaN).

    >>> running(np.array([1.0, 2.0, 6.0])).mean
    array([1. , 1.5, 3. ])
    >>> running(np.array([1.0, 2.0, 6.0]), np.array([7, -1, 7])).groups
    array([1., 2., 2.])
    """
    values = np.asarray(values, dtype=np.float64)
    length = len(values)
    pairs = np.arange(1, length + 1, dtype=np.float64)
    with np.errstate(all="ignore"):
        # A fixed offset costs at most length·ε of precision, and no prefix depends on what comes after it.
        offset = values[0] if length else 0.0
        centred = values - offset
        bad = ~np.isfinite(centred)
        centred[bad] = 0.0
        mean = np.cumsum(centred)
        mean /= pairs
        earlier = before(centred, clusters)
        if earlier is None:
            groups = effective = pairs
            variance = _variance_alone(centred, mean, pairs)
        else:
            groups = np.cumsum(earlier.counts == 0, dtype=np.float64)
            effective, variance = _variance_clustered(centred, earlier, mean, pairs)
            variance *= (groups / pairs) ** 2
        del centred, earlier
        variance /= groups - 1
        sd = np.sqrt(variance, out=variance)
        sd[groups < 2] = np.nan
        mean += offset
        _void(mean, bad)
        _void(sd, bad | ~np.isfinite(sd) & (groups >= 2))
    return Running(pairs, mean, sd, groups, effective, bool(length and groups[-1] < length))


def _variance_alone(centred: Floats, mean: Floats, pairs: Floats) -> Floats:
    """Σ (x − mean)² of every prefix; in place of `centred`, which is memory that is not needed twice."""
    centred *= centred
    spread = np.cumsum(centred, out=centred)
    away = mean * mean
    away *= pairs
    spread -= away
    return np.maximum(spread, 0.0, out=spread)


def _variance_clustered(
    centred: Floats, earlier: Before, mean: Floats, pairs: Floats
) -> tuple[Floats, Floats]:
    """n² / Σ n_c² and Σ_c (S_c − n_c·mean)² of every prefix, the sums by what each value adds to them.

    In place of what is given but `mean` and `pairs`.
    """
    # Σ n_c·S_c
    cross = earlier.counts + 1
    cross *= centred
    cross += earlier.sums
    cross = np.cumsum(cross, out=cross)
    # Σ S_c²
    spread = earlier.sums
    spread *= 2
    spread += centred
    spread *= centred
    spread = np.cumsum(spread, out=spread)
    # Σ n_c²
    squares = earlier.counts
    squares *= 2
    squares += 1
    squares = np.cumsum(squares, out=squares)

    cross *= mean
    cross *= 2
    spread -= cross
    away = np.multiply(mean, mean, out=cross)
    away *= squares
    spread += away
    effective = np.multiply(pairs, pairs, out=cross)
    effective /= squares
    return effective, np.maximum(spread, 0.0, out=spread)


def _void(array: Floats, bad: NDArray[np.bool_]) -> None:
    """NaN from the first bad place on."""
    if bad.any():
        array[int(bad.argmax()) :] = np.nan


def two_sided(
    values: Floats, alpha: float, clusters: Ints | None = None, *, burn_in: int = BURN_IN
) -> tuple[float, float] | None:
    """The interval of the mean at the last value; None while nothing can be said, see `Running.radius`.

    >>> low, high = two_sided(np.sin(np.arange(1, 301) ** 2.0), 0.05)
    >>> round(low, 4), round(high, 4)
    (-0.1496, 0.1217)
    """
    seen = moments(values, clusters) if len(values) >= burn_in else None
    if seen is None or _is_early(seen):
        return None
    variance = max(seen.variance, _of_group(values, seen))
    radius = float(np.sqrt(variance)) * unit_radius(seen.groups, alpha, _t_opt(seen))
    return (seen.mean - radius, seen.mean + radius) if np.isfinite(radius) else None


def ratio_of_totals(
    a: Floats,
    b: Floats,
    alpha: float,
    clusters: Ints | None = None,
    *,
    t_opt: float | None = None,
    burn_in: int = BURN_IN_RATIO,
    one_sided: bool = False,
) -> tuple[float, float]:
    """The interval of ΣB / ΣA at the last pair; (-inf, inf) while nothing can be said, else not below 0.

    Nothing can be said before `burn_in` pairs and enough clusters, see `Running.radius`, where a value is
    not finite, and where A may be 0 in total. `t_opt` is `T_OPT`, or `T_OPT_CLUSTERS` where a cluster came
    twice, unless it is given. One-sided, each end is at `alpha`.

    >>> cost = np.arange(1.0, 301.0)
    >>> ratio_of_totals(cost, cost / 2, 0.05)
    (0.5, 0.5)
    """
    seen = joint(a, b, clusters)
    if seen is None or len(a) < burn_in or _is_early(seen):
        return -np.inf, np.inf
    k = unit_radius(seen.groups, alpha, t_opt or _t_opt(seen), one_sided=one_sided)
    return seen.ratios(k * _widening_of_ratio(a, b, seen))


def _widening_of_ratio(a: Floats, b: Floats, seen: Joint) -> float:
    """How much wider the interval of a ratio is, as its pairs depend on each other."""
    with np.errstate(all="ignore"):
        left = (b - seen.mean * a) / a.mean()
        most = seen.var_b + seen.mean * seen.mean * seen.var_a
        usual = most - 2 * seen.mean * seen.cov
        wider = _of_group(left, seen)
    # where the one is a multiple of the other, nothing but rounding is left
    return float(np.sqrt(wider / usual)) if wider > usual > _ROUNDING * most else 1.0


def _of_group(values: Floats, seen: Moments | Joint) -> float:
    """The long-run variance as one of a group: divided by the number of groups it is that of the mean."""
    return long_run_variance(values) * seen.groups / len(values)


def _is_early(seen: Moments | Joint) -> bool:
    """Whether pairs come in clusters, and in too few."""
    return seen.clustered and (seen.groups < CLUSTERS or seen.effective < EFFECTIVE_CLUSTERS)


def _t_opt(seen: Moments | Joint) -> float:
    return T_OPT_CLUSTERS if seen.clustered else T_OPT
