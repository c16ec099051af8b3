"""What was seen in the pairs, metric by metric: the table of a comparison."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from mirrorkit.compare.outputs import identical
from mirrorkit.compare.selection import FAILED, SIDES, Selection, arms, of_arm, usable

METRICS = (
    "latency",
    "ttft",
    "cost",
    "input_tokens",
    "output_tokens",
    "errors",
    "output_length",
    "identical",
)

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

PAIRS_FOR_P95 = 200

_PER_CALL = {
    "cost": ("USD", "cost_usd"),
    "input_tokens": ("tokens", "input_tokens"),
    "output_tokens": ("tokens", "output_tokens"),
    "output_length": ("characters", "output"),
}


def estimate(frame: pl.DataFrame, metrics: Sequence[str] = METRICS) -> pl.DataFrame:
    """The table of a comparison: for each arm, one row per metric and estimand.

    `frame` has one row a pair, with the columns of `mirrorkit.records.SCHEMA`. Arms come in order of
    first appearance, `control` last. `primary` and `silent` are in `unit`; `effect` is silent over primary,
    but for `errors` silent minus primary, and for `identical` the share itself. For latency and ttft it is
    the ratio of the two sides' quantiles (type 7, Hyndman and Fan 1996), for cost, tokens and length the
    ratio of totals. What cannot be told is null, and the note says why; which pairs a metric rests on is
    told by `mirrorkit.compare.selection.usable`. `ttft` has rows only in arms with streams.

    >>> from mirrorkit.records import SCHEMA
    >>> estimate(SCHEMA.frame()).columns[:6]
    ['arm', 'metric', 'estimand', 'unit', 'n', 'primary']
    """
    rows = [
        {"arm": arm, "metric": metric, **row}
        for arm in arms(frame)
        for pairs in [of_arm(frame, arm)]
        for metric in metrics
        for row in _rows(pairs, metric)
    ]
    return pl.DataFrame([[row.get(name) for name in TABLE] for row in rows], schema=TABLE, orient="row")


def _rows(pairs: pl.DataFrame, metric: str) -> Iterator[dict[str, Any]]:
    if metric == "ttft" and not pairs["stream"].any():
        return
    chosen = usable(pairs, metric)
    if metric in ("latency", "ttft"):
        for level in (0.5, 0.95):
            yield _quantile(chosen, f"{metric}_s", level)
    elif metric in _PER_CALL:
        yield _per_call(chosen, metric)
    elif metric == "errors":
        yield _errors(chosen)
    else:
        yield _identical(chosen)


def _quantile(chosen: Selection, column: str, level: float) -> dict[str, Any]:
    pairs = chosen.pairs
    name = f"p{level * 100:.0f}"
    if level > 0.5 and 0 < pairs.height < PAIRS_FOR_P95:
        return _row(
            name, "s", chosen, None, None, None, f"{name} needs {PAIRS_FOR_P95} pairs, has {pairs.height}"
        )
    sides = [pairs[f"{side}_{column}"].quantile(level, interpolation="linear") for side in SIDES]
    return _row(
        name,
        "s",
        chosen,
        *_ratio(*sides),
        _tally("retries are in the time", pairs, {side: pl.col(f"{side}_attempts") > 1 for side in SIDES}),
        _tally("fell back to another group", pairs, {side: pl.col(f"{side}_fell_back") for side in SIDES}),
    )


def _per_call(chosen: Selection, metric: str) -> dict[str, Any]:
    unit, column = _PER_CALL[metric]
    pairs = chosen.pairs
    values = {side: pl.col(f"{side}_{column}") for side in SIDES}
    if metric == "output_length":
        values = {side: text.str.len_chars() for side, text in values.items()}
    # Over the same pairs, the ratio of means is the ratio of totals.
    sides = pairs.select(**{side: value.cast(pl.Float64).mean() for side, value in values.items()}).row(0)
    estimated = {side: pl.col(f"{side}_usage_source") == "estimated" for side in SIDES}
    return _row(
        "mean per call",
        unit,
        chosen,
        *_ratio(*sides),
        "" if metric == "output_length" else _tally("tokens estimated, not reported", pairs, estimated),
    )


def _errors(chosen: Selection) -> dict[str, Any]:
    failed = {side: pl.col(f"{side}_status").is_in(FAILED).mean() for side in SIDES}
    primary, silent = chosen.pairs.select(**failed).row(0)
    return _row("share", "share", chosen, primary, silent, None if primary is None else silent - primary)


def _identical(chosen: Selection) -> dict[str, Any]:
    share = chosen.pairs.select(identical().mean()).item()
    return _row("share", "share", chosen, None, None, share)


def _row(
    estimand: str,
    unit: str,
    chosen: Selection,
    primary: float | None,
    silent: float | None,
    effect: float | None,
    *notes: str,
) -> dict[str, Any]:
    none = "" if chosen.pairs.height else "no usable pair"
    return {
        "estimand": estimand,
        "unit": unit,
        "n": chosen.pairs.height,
        "primary": primary,
        "silent": silent,
        "effect": effect,
        "note": "; ".join(note for note in (none, *notes, *chosen.left_out) if note) or None,
    }


def _ratio(
    primary: float | None, silent: float | None
) -> tuple[float | None, float | None, float | None, str]:
    """Both sides, silent over primary, and a note where there is none although there are pairs."""
    if primary is None or silent is None:
        return None, None, None, ""
    if not (math.isfinite(primary) and math.isfinite(silent)):
        return None, None, None, "the values are too large to add up"
    if primary == 0:
        return primary, silent, None, "no ratio: the primary side is 0"
    if not math.isfinite(silent / primary):
        return primary, silent, None, "no ratio: it is too large"
    return primary, silent, silent / primary, ""


def _tally(words: str, pairs: pl.DataFrame, holds: dict[str, pl.Expr]) -> str:
    """How often something holds on each side; nothing where it never does."""
    primary, silent = pairs.select(**{side: test.fill_null(False).sum() for side, test in holds.items()}).row(
        0
    )
    return f"{words} (primary {primary:,}, silent {silent:,})" if primary or silent else ""
