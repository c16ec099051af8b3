"""Silent over primary, percentile by percentile, with a band that holds at every look."""

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from mirrorkit.compare.metrics import usable
from mirrorkit.compare.statistics import betting
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures.parts import Part, silent_parts

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_TAIL = 10
"""A percentile is drawn where so many pairs lie on either side of it: p95 from 200 pairs, p99 from 1,000."""

_BANDS_SHOWN = 3
"""The most arms that have a band: more would hide each other."""

_CLOSE = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25)
_FEW = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 1.75, 2.0)
_MORE = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Line:
    """An arm's ratios at some percentiles, and its band at those where it is known, which are neighbours."""

    levels: tuple[int, ...]
    ratios: tuple[float, ...]
    band: dict[int, tuple[float, float]]
    independent: bool
    """whether no two pairs are of one conversation, without which there is no band"""


def ratios(figure: "Figure", at: theme.At, frame: pl.DataFrame, metric: str, alpha: float) -> None:
    """Draw the ratios of `latency` or `ttft`, arm by arm; a band is wrong with a chance of `alpha`."""
    lines = [(part, line_of(part.pairs, metric, alpha)) for part in silent_parts(frame)]
    lines = [(part, line) for part, line in lines if line.levels]
    if not lines:
        theme.say(figure, at, f"needs {2 * _TAIL} pairs")
        return
    with_band = lines if len(lines) <= _BANDS_SHOWN else []
    for part, line in with_band:
        theme.add(figure, at, _band(part, line))
    for part, line in lines:
        figure.add_trace(_line(part, line, bool(with_band)), row=at[0], col=at[1])
    figure.add_hline(y=1, line={"color": theme.TEXT, "width": 1, "dash": "dot"}, row=at[0], col=at[1])
    _axes(figure, at, lines, [line for _, line in with_band], f"{100 * (1 - alpha):g} %")


def line_of(pairs: pl.DataFrame, metric: str, alpha: float) -> Line:
    """The ratios of an arm's pairs, each of quantiles of type 7 (Hyndman and Fan 1996).

    The band at a percentile is what is left of the ratio if each side's quantile may be anywhere in its
    confidence sequence at `alpha` / 2: it holds at every look, for each percentile by itself, however the
    sides depend on each other. Pairs of the same conversation are not independent: then there is no band.

    >>> from mirrorkit.records import SCHEMA
    >>> line_of(SCHEMA.frame(), "latency", 0.05).levels
    ()
    """
    columns = [f"{side}_{metric}_s" for side in ("primary", "silent")]
    kept = usable(pairs, metric, [*columns, "cluster"]).pairs
    levels = [level for level in range(1, 100) if kept.height * min(level, 100 - level) >= 100 * _TAIL]
    if not levels:
        return Line((), (), {}, independent=True)
    primary, silent = (np.sort(kept[name].to_numpy()) for name in columns)
    shares = np.array(levels) / 100
    with np.errstate(all="ignore"):
        effects = np.quantile(silent, shares) / np.quantile(primary, shares)
    drawn = [(lv, float(e)) for lv, e in zip(levels, effects, strict=True) if np.isfinite(e) and e > 0]
    known = kept["cluster"].drop_nulls()
    independent = known.n_unique() == len(known)
    ranks = _ranks(kept.height, levels, alpha / 2) if independent else {}
    with np.errstate(all="ignore"):
        band = {
            level: (float(silent[low] / primary[high]), float(silent[high] / primary[low]))
            for level, (low, high) in ranks.items()
        }
    finite = {level: ends for level, ends in band.items() if ends[0] > 0 and np.isfinite(ends[1])}
    return Line(tuple(level for level, _ in drawn), tuple(effect for _, effect in drawn), finite, independent)


def _ranks(n: int, levels: list[int], alpha: float) -> dict[int, tuple[int, int]]:
    """Which of `n` sorted values, from 0 on, bound each percentile; none where an end is open."""
    found = {}
    for level in (level for level in levels if level <= 50):
        low, high = betting.quantile_ranks(n, level / 100, alpha)
        if low >= 1 and high <= n:
            found[level] = (low - 1, high - 1)
            # the other end of the values, counted from there
            found[100 - level] = (n - high, n - low)
    return dict(sorted(found.items()))


def _band(part: Part, line: Line) -> dict[str, Any]:
    levels = list(line.band)
    lows, highs = ([line.band[level][end] for level in levels] for end in (0, 1))
    return {
        "type": "scatter",
        "name": f"{part.label}, band",
        "legendgroup": part.label,
        "mode": "lines",
        "x": [*levels, *reversed(levels)],
        "y": [*highs, *reversed(lows)],
        "fill": "toself",
        "fillcolor": theme.faded(part.color, 0.15),
        "line": {"width": 0},
        "hoverinfo": "skip",
    }


def _line(part: Part, line: Line, has_band: bool) -> dict[str, Any]:
    ends = [line.band.get(level) if has_band else None for level in line.levels]
    return {
        **part.look(),
        "type": "scatter",
        "mode": "lines",
        "x": list(line.levels),
        "y": list(line.ratios),
        "line": part.line(),
        "customdata": ["" if end is None else f" (×{end[0]:.3g} to ×{end[1]:.3g})" for end in ends],
        "hovertemplate": "×%{y:.3g}%{customdata} at p%{x}<extra>%{fullData.name}</extra>",
    }


def _axes(
    figure: "Figure", at: theme.At, lines: list[tuple[Part, Line]], banded: list[Line], level: str
) -> None:
    told = ""
    if any(line.band for line in banded):
        told = f"<br>band: {level}, every look,<br>each percentile by itself"
    elif banded:
        independent = all(line.independent for line in banded)
        told = f"<br>{'no band yet' if independent else 'no band: pairs not independent'}"
    figure.update_xaxes(title_text=f"percentile{told}", range=[0, 100], row=at[0], col=at[1])
    ends = [end for line in banded for both in line.band.values() for end in both]
    every = [1.0, *ends, *(ratio for _, line in lines for ratio in line.ratios)]
    low, high = min(every), max(every)
    ticks = _ticks(low, high)
    figure.update_yaxes(
        title_text="silent ÷ primary (log)",
        type="log",
        range=_range(low, high),
        tickvals=ticks,
        ticktext=[f"×{tick:.6g}" for tick in ticks],
        row=at[0],
        col=at[1],
    )


def _range(low: float, high: float) -> tuple[float, float]:
    """As `theme.log_range`, but close to its ends: no difference, which has a tick, is among them."""
    first, last = log10(low), log10(high)
    room = max(0.06 * (last - first), (0.1 - (last - first)) / 2)
    return first - room, last + room


def _ticks(low: float, high: float) -> list[float]:
    if low >= 0.85 and high <= 1.2:
        return list(_CLOSE)
    if low >= 0.45 and high <= 2.2:
        return list(_FEW)
    if low >= 0.08 and high <= 12:
        return list(_MORE)
    return theme.log_ticks(low, high, "")[0]
