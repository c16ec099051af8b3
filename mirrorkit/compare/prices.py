"""What a side's calls cost, split by what was paid for: input, cached input and output tokens.

A record has what each call cost and its tokens, not the prices. Where prices are linear in tokens, as most
are, they follow from the record: per model, by least squares.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from numbers import Real
from typing import Any

import numpy as np
import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.evidence import Floats
from mirrorkit.compare.metrics import usable
from mirrorkit.errors import CompareError

PARTS = ("input", "cached_input", "output")

_ALLOWED = 0.01
"""Of a model's bill: how much may be unexplained, and how far off a part may be."""
_ROUNDING = 1e-9
"""Costs are taken to be known to this share of what a call costs on average."""
_RANK = 1e-9
_NOT_LINEAR = "its costs do not follow from prices per token"


@dataclass(frozen=True, slots=True)
class Split:
    """What one side's calls cost, in US dollars: the parts add up to `total`; None where no cost is known.

    `unsplit` is what could not be split, and `why` says why, model by model; `prices` are US dollars per
    token of each model and part.
    """

    calls: int
    total: float | None
    parts: dict[str, float]
    unsplit: float
    prices: dict[str, dict[str, float]] = field(repr=False)
    why: tuple[str, ...]


def split_of(pairs: pl.DataFrame, side: str) -> Split:
    """Split what the calls of one side cost, of the pairs that the metric `cost` rests on.

    `pairs` has one row a pair, with the columns of `mirrorkit.records.SCHEMA`; `side` is "primary" or
    "silent". `cached_input_tokens` are part of `input_tokens`; where they are unknown, none is assumed, and
    the fit tells whether that holds.

    >>> from mirrorkit.records import SCHEMA
    >>> split_of(SCHEMA.frame(), "silent").total is None
    True
    """
    names = ("model", "cost_usd", "input_tokens", "cached_input_tokens", "output_tokens")
    calls = usable(pairs, "cost").pairs.select(pl.col(f"{side}_{name}").alias(name) for name in names)
    if calls.is_empty():
        return Split(0, None, dict.fromkeys(PARTS, 0.0), 0.0, {}, ())
    parts, prices, unsplit, why = dict.fromkeys(PARTS, 0.0), {}, 0.0, []
    for model, of_model in _by_model(calls):
        bill = float(of_model["cost_usd"].sum())
        if bill == 0:
            continue
        found = _fit(of_model, bill)
        if isinstance(found, str):
            unsplit += bill
            why.append(f"{wording.name(model, 40)}: {found}")
            continue
        prices[model] = found
        tokens = _tokens(of_model).sum(axis=0)
        paid = {part: found.get(part, 0.0) * float(count) for part, count in zip(PARTS, tokens, strict=True)}
        # what rounding leaves goes to all of them alike: the parts are of the bill
        scale = bill / sum(paid.values())
        for part, cost in paid.items():
            parts[part] += scale * cost
    total = sum(parts.values()) + unsplit
    return Split(calls.height, total if isfinite(total) else None, parts, unsplit, prices, tuple(why))


def _by_model(calls: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    models = calls["model"].fill_null("unknown model")
    for model in models.unique(maintain_order=True).to_list():
        yield model, calls.filter(models == model)


def _tokens(calls: pl.DataFrame) -> Floats:
    """Uncached input, cached input and output, one row a call."""
    cached = pl.col("cached_input_tokens").fill_null(0)
    return (
        calls.select((pl.col("input_tokens") - cached).alias("uncached"), cached, "output_tokens")
        .cast(pl.Float64)
        .to_numpy()
    )


def _fit(calls: pl.DataFrame, bill: float) -> dict[str, float] | str:
    """The price of each part in US dollars per token, or why it cannot be told."""
    if not isfinite(bill):
        return "its costs are too large to add up"
    if calls["input_tokens"].null_count() or calls["output_tokens"].null_count():
        unknown = calls.filter(pl.col("input_tokens").is_null() | pl.col("output_tokens").is_null()).height
        return f"tokens unknown in {unknown:,} of {calls.height:,} calls"
    tokens, cost = _tokens(calls), calls["cost_usd"].cast(pl.Float64).to_numpy()
    if (tokens < 0).any():
        return "more cached tokens than input tokens on record"
    used = np.flatnonzero(tokens.any(axis=0))
    if not len(used):
        return "no tokens on record"
    if len(cost) <= len(used):
        return f"{len(cost):,} calls are too few to tell prices"
    norms = np.sqrt((tokens[:, used] ** 2).sum(axis=0))
    scaled = tokens[:, used] / norms
    solved, _, rank, _ = np.linalg.lstsq(scaled, cost, rcond=_RANK)
    if rank < len(used):
        return "its tokens come in fixed proportions, so prices cannot be told apart"
    left = cost - scaled @ solved
    if float(np.abs(left).sum()) > _ALLOWED * bill:
        return _NOT_LINEAR
    if _off(scaled, left, bill, tokens[:, used].sum(axis=0) / norms) > _ALLOWED:
        return "its tokens come in nearly fixed proportions, so prices cannot be told apart"
    prices = np.maximum(solved, 0.0)
    if float(np.abs(cost - scaled @ prices).sum()) > _ALLOWED * bill:
        return _NOT_LINEAR
    per_token = prices / norms
    return {PARTS[place]: float(price) for place, price in zip(used, per_token, strict=True)}


def _off(scaled: Floats, left: Floats, bill: float, totals: Floats) -> float:
    """How far off a part may be, as a share of the bill: two standard errors of the least squares."""
    # of the bill from the start: the squares of costs may be too large or too small for a float
    left = left / bill
    variance = float(left @ left) / (len(left) - scaled.shape[1]) + (_ROUNDING / len(left)) ** 2
    errors = np.sqrt(variance * np.diag(np.linalg.inv(scaled.T @ scaled))) * totals
    return float(2 * errors.max())


@dataclass(frozen=True, slots=True)
class Saving:
    """What so many requests cost on each side of an arm, in US dollars, and what a switch would save.

    `low` and `high` hold at every look; None where there are too few pairs for an interval. Below 0, the
    silent model costs more.
    """

    arm: str
    requests: float
    primary: float
    silent: float
    saved: float
    low: float | None
    high: float | None


def savings(table: pl.DataFrame, requests: float) -> list[Saving]:
    """What a switch to each arm would save at so many requests, from the table of a comparison.

    Raises CompareError unless `requests` is a finite number above 0.

    >>> from mirrorkit.compare.rows import TABLE
    >>> savings(pl.DataFrame(schema=TABLE), 1_000_000)
    []
    """
    thousands = _volume(requests) / 1_000
    rows = table.filter(pl.col("metric") == "cost", pl.col("estimand") == "difference per 1,000 calls")
    # a sum of costs may be more than a number can be, and is then unknown
    known = rows.drop_nulls(["primary", "silent", "effect"]).to_dicts()
    return [_saving(row, thousands) for row in known if _can_be_told(row, thousands)]


def _volume(requests: Any) -> float:
    is_number = isinstance(requests, Real) and not isinstance(requests, bool)
    try:
        number = float(requests) if is_number else nan
    except OverflowError:
        number = inf
    if 0 < number < inf:
        return number
    told = number if is_number else wording.name(repr(requests), 40)
    raise CompareError(f"volume={told}: give a finite number of requests above 0, such as 1_000_000")


def _can_be_told(row: dict[str, Any], thousands: float) -> bool:
    return all(isfinite(thousands * row[name]) for name in ("primary", "silent", "effect"))


def _saving(row: dict[str, Any], thousands: float) -> Saving:
    low, high = (None if row[end] is None else -thousands * row[end] for end in ("high", "low"))
    if low is None or high is None or not (isfinite(low) and isfinite(high)):
        low = high = None
    return Saving(
        row["arm"],
        1_000 * thousands,
        thousands * row["primary"],
        thousands * row["silent"],
        -thousands * row["effect"],
        low,
        high,
    )
