"""One row of the table of a comparison."""

from math import isfinite
from typing import Any

import numpy as np
import polars as pl

from mirrorkit.compare.evidence import Evidence, Floats
from mirrorkit.compare.intervals import Interval

TABLE: dict[str, pl.DataType] = {
    "arm": pl.String(),
    "metric": pl.String(),
    "estimand": pl.String(),
    "unit": pl.String(),
    "n": pl.Int64(),
    "primary": pl.Float64(),
    "silent": pl.Float64(),
    "effect": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "one_look_low": pl.Float64(),
    "one_look_high": pl.Float64(),
    "note": pl.String(),
}

Row = dict[str, Any]


def row(
    evidence: Evidence,
    estimand: str,
    unit: str,
    sides: tuple[float | None, float | None],
    effect: float | None,
    every_look: Interval,
    one_look: Interval,
    *notes: str,
    why: str = "",
) -> Row:
    """A row of the table; an end that is not finite is null.

    `why` tells why there is no interval, where that is known.
    """
    low, high = (_finite(end) for end in every_look or (None, None))
    one_low, one_high = (_finite(end) for end in one_look or (None, None))
    if not len(evidence):
        why = "no usable pair"
    elif not why and _finite(effect) is None:
        why = "no effect: the values are too large, or too far apart"
    elif not why and (low is None or high is None):
        why = "no interval: nothing bounds the effect yet"
    return {
        "estimand": estimand,
        "unit": unit,
        "n": len(evidence),
        "primary": _finite(sides[0]),
        "silent": _finite(sides[1]),
        "effect": _finite(effect),
        "low": low,
        "high": high,
        "one_look_low": one_low,
        "one_look_high": one_high,
        "note": "; ".join(note for note in (why, *notes, *evidence.left_out) if note) or None,
    }


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None


def mean_of(values: Floats) -> float | None:
    """The mean, or None of nothing; too large a sum is infinite."""
    with np.errstate(all="ignore"):
        return float(values.mean()) if len(values) else None
