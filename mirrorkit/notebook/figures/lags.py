"""Whether this process was the bottleneck: when silent calls were sent, and LiteLLM's share of latency."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.evidence import Floats
from mirrorkit.compare.selection import SIDES
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures import panels
from mirrorkit.notebook.figures.parts import Part, both_sides, each_call_once, silent_parts
from mirrorkit.notebook.figures.timeline import MOST, Timeline, timeline

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_ENOUGH = 20
"""A bin's p95 is drawn from so many calls on; bins are as wide as to have them, if there are enough."""
_LEAST_BINS = 10
_ENOUGH_FOR_P95 = 200
"""Calls from which on the p95 of all is told, as in a comparison's table."""

Values = list[tuple[Part, pl.DataFrame]]
"""Each part's calls: `value` and `bin`."""

_NO_LAG, _NO_SHARE = "no lag on record", "LiteLLM did not say"


@dataclass(frozen=True, slots=True)
class Lags:
    """The lag of each arm's calls, in seconds, and LiteLLM's share of each latency, in per cent."""

    when: Timeline
    lags: Values
    shares: Values


def lags(frame: pl.DataFrame) -> Lags:
    """What the figure on lag shows of a frame.

    >>> from mirrorkit.records import SCHEMA
    >>> titles(lags(SCHEMA.frame()))[0]
    'Lag of silent calls<br>n = 0 calls'
    """
    when = timeline(frame, min(MOST, max(_LEAST_BINS, frame.height // _ENOUGH)))
    columns = ["pair_id", "request_id", "arm", "started_at", "model_group", "lag_s"]
    columns += [f"{side}_{name}" for side in SIDES for name in ("overhead_s", "latency_s")]
    binned = frame.select(when.bins(), *columns)
    return Lags(
        when,
        [(part, _known(part, pl.col("lag_s").abs())) for part in silent_parts(binned)],
        [
            (part, _known(part, 100 * part.column("overhead_s") / part.column("latency_s")))
            for part in both_sides(binned)
        ],
    )


def _known(part: Part, value: pl.Expr) -> pl.DataFrame:
    calls = each_call_once(part, part.pairs).select("bin", value.cast(pl.Float64).alias("value"))
    return calls.filter(pl.col("value").is_finite() & (pl.col("value") >= 0))


def titles(of: Lags) -> list[str]:
    """The titles of the four panels, with the number of calls."""
    sent, told = _n(of.lags), _n(of.shares)
    return [
        f"Lag of silent calls<br>{sent}",
        f"Lag over time<br>{sent}",
        f"LiteLLM's own share of latency<br>{told}",
        f"LiteLLM's share over time<br>{told}",
    ]


def sentences(of: Lags) -> list[str]:
    """What is to be read off, in words."""
    sent = _together(of.lags)
    told = "When silent calls were sent is not on record."
    if len(sent):
        half = wording.quantity(float(np.median(sent)), "s")
        told = f"Half of the silent calls were sent within {half} of the primary's."
        if len(sent) >= _ENOUGH_FOR_P95:
            most = wording.quantity(float(np.quantile(sent, 0.95)), "s")
            told = f"{told[:-1]}, 95 % within {most}."
    shares = [
        f"{wording.three_digits(float(np.median(values)))} % of {side} latency"
        for side in SIDES
        if len(values := _together(of.shares, side))
    ]
    return [told, *([f"LiteLLM itself took {' and '.join(shares)} (medians)."] if shares else [])]


def _together(values: Values, side: str = "silent") -> Floats:
    return np.concatenate(
        [np.empty(0), *(calls["value"].to_numpy() for part, calls in values if part.side == side)]
    )


def draw(figure: "Figure", at: Sequence[theme.At], of: Lags) -> None:
    """Draw the four panels."""
    _distribution(figure, at[0], of.lags, "s", "sent apart by, seconds", _NO_LAG)
    _over_time(figure, at[1], of.lags, of.when, "s", "lag", "seconds", _NO_LAG)
    _distribution(figure, at[2], of.shares, "%", "share of latency, per cent", _NO_SHARE)
    _over_time(figure, at[3], of.shares, of.when, "%", "share", "per cent", _NO_SHARE)


def _n(values: Values) -> str:
    counts = [calls.height for _, calls in values]
    listed = " + ".join(f"{count:,}" for count in counts) if len(counts) <= 3 else f"{sum(counts):,}"
    return f"n = {listed or 0} call{'' if listed == '1' else 's'}"


def _distribution(figure: "Figure", at: theme.At, values: Values, unit: str, title: str, none: str) -> None:
    shown = [(part, calls["value"]) for part, calls in values]
    # nothing at 0 has a place on a log axis
    scale = " (log)" if any((values > 0).any() for _, values in shown) else ""
    panels.distributions(figure, at, shown, unit, f"{title}{scale}", none)
    panels.log_x(figure, at, shown, unit)


def _over_time(
    figure: "Figure",
    at: theme.At,
    values: Values,
    when: Timeline,
    unit: str,
    what: str,
    title: str,
    none: str,
) -> None:
    """The median of each bin as a thick line, its p95 as a thin one."""
    binned = [(part, _by_bin(calls)) for part, calls in values]
    # nothing at or below 0 has a place on a log axis
    heights = [
        value
        for _, bins in binned
        for name in ("median", "p95")
        for value in bins[name].drop_nulls()
        if value > 0
    ]
    if not heights:
        known = any(bins.height for _, bins in binned)
        theme.say(figure, at, f"no {what} above 0" if known else none)
        return
    for part, bins in binned:
        figure.add_trace(_trace(part, bins, "median", when, unit), row=at[0], col=at[1])
        if bins["p95"].count():
            theme.add(figure, at, _trace(part, bins, "p95", when, unit))
    when.axis(figure, at)
    ticks, texts = theme.log_ticks(min(heights), max(heights), unit)
    figure.update_yaxes(
        title_text=f"{title} (log)<br>thick: median, thin: p95",
        type="log",
        range=theme.log_range(min(heights), max(heights)),
        tickvals=ticks,
        ticktext=texts,
        row=at[0],
        col=at[1],
    )


def _by_bin(calls: pl.DataFrame) -> pl.DataFrame:
    p95 = pl.when(pl.len() >= _ENOUGH).then(pl.col("value").quantile(0.95, "linear"))
    of_bin = (
        calls.drop_nulls("bin")
        .group_by("bin")
        .agg(pl.len().alias("calls"), pl.col("value").median().alias("median"), p95.alias("p95"))
    )
    return of_bin.sort("bin")


def _trace(part: Part, bins: pl.DataFrame, name: str, when: Timeline, unit: str) -> dict[str, Any]:
    rows = bins.select("bin", "calls", name).drop_nulls().rows()
    is_thin = name == "p95"
    return {
        **part.look(),
        **({"name": f"{part.label}, p95"} if is_thin else {}),
        "type": "scatter",
        "mode": "lines" if len(rows) > 1 else "markers",
        "x": [when.middle(number) for number, _, _ in rows],
        "y": [theme.finite(value) for _, _, value in rows],
        "line": part.line(1 if is_thin else 2.5),
        "marker": {"color": part.color, "size": 5 if is_thin else 8},
        "text": [f"{calls:,} calls<br>{when.name(number)}" for number, calls, _ in rows],
        "hovertemplate": f"{name} %{{y:.3g}} {unit} of %{{text}}<extra>%{{fullData.name}}</extra>",
    }
