"""How far two opinions agree, and what a judge's many opinions add to people's few."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mirrorkit.compare.statistics.onelook import wilson

Floats = NDArray[np.float64]


def kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Cohen's kappa (1960) of two opinions on the same pairs: 1 is full agreement, 0 what chance would give.

    Each opinion is a label, such as "primary", "silent" or "tie". None without pairs, and where both gave
    one and the same label throughout: chance alone would give that.

    >>> kappa(["silent", "tie", "primary", "silent"], ["silent", "tie", "silent", "silent"])
    0.5555555555555556
    """
    pairs = len(first)
    agreed = sum(one == other for one, other in zip(first, second, strict=True))
    ones, others = Counter(first), Counter(second)
    # in whole numbers, so that "throughout" is not a matter of rounding
    chance = sum(count * others[label] for label, count in ones.items())
    if pairs**2 == chance:
        return None
    return (pairs * agreed - chance) / (pairs**2 - chance)


def win_rate_ppi(
    labels: Floats, judged_labelled: Floats, judged_unlabelled: Floats, alpha: float
) -> tuple[float, float, float] | None:
    """The win rate by people's labels, sharpened by a judge: (estimate, low, high), valid for one look.

    All values are in {0, ½, 1}. `labels` are people's; `judged_labelled` the judge's on the same pairs,
    `judged_unlabelled` on pairs that nobody labelled. A judge who errs on one side costs width, not truth.
    None for under 2 labels, or if a value is not finite. The interval is the normal one: trust it from some
    30 labels on. Where all labels are the same it is Wilson's, as the normal one would have no width.

    Prediction-powered mean with power tuning: Angelopoulos, Duchi and Zrnic (2023), "PPI++: Efficient
    Prediction-Powered Inference", arXiv 2311.01453; the weight of the judge is kept within [0, 1].

    >>> people = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.5, 1.0])
    >>> [round(x, 3) for x in win_rate_ppi(people, people, np.array([1.0, 0.0, 0.0, 1.0] * 10), 0.05)]
    [0.57, 0.417, 0.723]
    """
    from scipy.special import ndtri

    y, f, rest = (np.asarray(v, dtype=np.float64) for v in (labels, judged_labelled, judged_unlabelled))
    if len(y) < 2 or not all(np.isfinite(v).all() for v in (y, f, rest)):
        return None
    if (y == y[0]).all():
        low, high = wilson(float(y.sum()), len(y), alpha) or (0.0, 1.0)
        return float(y[0]), low, high
    weight = _weight(y, f, rest)
    estimate, variance = float(y.mean()), float((y - weight * f).var(ddof=1)) / len(y)
    if weight > 0:
        estimate += weight * float(rest.mean() - f.mean())
        variance += weight**2 * float(rest.var()) / len(rest)
    half = -float(ndtri(alpha / 2)) * variance**0.5
    return min(max(estimate, 0.0), 1.0), max(estimate - half, 0.0), min(estimate + half, 1.0)


def _weight(y: Floats, f: Floats, rest: Floats) -> float:
    """How far the judge is listened to: Cov(Y, f) / ((1 + n/N) Var f), the variance over all pairs."""
    if not len(rest):
        return 0.0
    spread = float(np.concatenate([f, rest]).var()) * (1 + len(y) / len(rest))
    covariance = float(((y - y.mean()) * (f - f.mean())).mean())
    return min(max(covariance / spread, 0.0), 1.0) if spread > 0 else 0.0
