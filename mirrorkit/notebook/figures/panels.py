"""How one panel of a figure is drawn: lines or bars, added to a figure at a row and column.

Everything is added up in Polars: a line holds at most a few hundred points, however many pairs there are.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from mirrorkit.compare.metrics import usable
from mirrorkit.compare.selection import FAILED, FINISHED
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures.bars import name_places, thickness
from mirrorkit.notebook.figures.parts import Part, both_sides, cut, each_call_once, silent_parts

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

POINTS = 200
"""The most points a line has."""

_KINDS_SHOWN = 6


_IDENTITY = ("pair_id", "request_id", "arm", "started_at")


def _values(part: Part, metric: str, value: pl.Expr) -> pl.Series:
    # the other columns are not copied: texts are long
    keep = dict.fromkeys((*_IDENTITY, *value.meta.root_names()))
    pairs = each_call_once(part, usable(part.pairs, metric, keep).pairs)
    return pairs.sort("started_at", maintain_order=True).select(value.cast(pl.Float64)).to_series()


def spread(n: int, most: int = POINTS) -> list[int]:
    """At most `most` of the indices 0 … n−1, evenly spread, both ends among them."""
    if n <= most:
        return list(range(n))
    return [round(step * (n - 1) / (most - 1)) for step in range(most)]


def distributions(
    figure: "Figure",
    at: theme.At,
    parts: list[tuple[Part, pl.Series]],
    unit: str,
    title: str,
    none: str,
    of_what: str = "calls",
) -> None:
    """Empirical distribution functions."""
    row, column = at
    shown = [(part, values.sort()) for part, values in parts if len(values)]
    if not shown:
        theme.say(figure, at, none)
        return
    for part, values in shown:
        chosen = spread(len(values), POINTS - 1)
        points = values.gather(chosen).to_list()
        figure.add_trace(
            {
                **part.look(),
                "type": "scatter",
                "mode": "lines",
                "x": [points[0], *points],
                "y": [0.0, *((index + 1) / len(values) for index in chosen)],
                "line": {"color": part.color, "dash": part.dash, "width": 2, "shape": "hv"},
                "hovertemplate": f"%{{y:.1%}} within %{{x:.3g}} {unit}<extra>%{{fullData.name}}</extra>",
            },
            row=row,
            col=column,
        )
    figure.update_xaxes(title_text=title, row=row, col=column)
    figure.update_yaxes(
        title_text=f"share of {of_what}", tickformat=".0%", range=[0, 1.02], row=row, col=column
    )


def log_x(figure: "Figure", at: theme.At, parts: list[tuple[Part, pl.Series]], unit: str) -> None:
    """Make the x axis of distributions logarithmic, if any value is above 0."""
    positive = pl.concat(
        [pl.Series([], dtype=pl.Float64), *(values.filter(values > 0) for _, values in parts)]
    ).sort()
    if not len(positive):
        return
    low, high = float(positive[0]), float(positive[-1])
    ticks, texts = theme.log_ticks(low, high, unit)
    figure.update_xaxes(
        type="log", range=theme.log_range(low, high), tickvals=ticks, ticktext=texts, row=at[0], col=at[1]
    )


def distribution(figure: "Figure", at: theme.At, frame: pl.DataFrame, metric: str, title: str) -> None:
    """How `latency` or `ttft`, in seconds, is distributed on each side."""
    parts = [(part, _values(part, metric, part.column(f"{metric}_s"))) for part in both_sides(frame)]
    distributions(figure, at, parts, "s", f"{title}, seconds (log)", f"no pair with {title} on both sides")
    log_x(figure, at, parts, "s")


def lengths(figure: "Figure", at: theme.At, frame: pl.DataFrame) -> None:
    """How many characters the answers of each side have."""
    value = "output_length"
    parts = [(part, _values(part, value, part.column(value))) for part in both_sides(frame)]
    distributions(figure, at, parts, "", "answer length, characters (log)", "no text answers")
    log_x(figure, at, parts, "")


def similarities(figure: "Figure", at: theme.At, pairs: pl.DataFrame) -> None:
    """How alike the answers of each arm are to the primary's: the silent ones beside the control's."""
    parts = [(part, _values(part, "similarity", pl.col("similarity"))) for part in silent_parts(pairs)]
    title = "similarity, 1 is the same text"
    distributions(figure, at, parts, "", title, "no text answers", "pairs")
    if any(len(values) for _, values in parts):
        figure.update_xaxes(range=[-0.02, 1.02], row=at[0], col=at[1])


def bills(figure: "Figure", at: theme.At, frame: pl.DataFrame) -> None:
    """What each side's priced requests cost up to each of them."""
    row, column = at
    every = [(part, _values(part, "cost", part.column("cost_usd")).cum_sum()) for part in both_sides(frame)]
    shown = [(part, bill) for part, bill in every if len(bill)]
    if not shown:
        theme.say(figure, at, "no priced calls")
        return
    for part, bill in shown:
        chosen = spread(len(bill), POINTS - 1)
        figure.add_trace(
            {
                **part.look(),
                "type": "scatter",
                "mode": "lines",
                "x": [0, *(index + 1 for index in chosen)],
                "y": [0.0, *bill.gather(chosen).to_list()],
                "line": {"color": part.color, "dash": part.dash, "width": 2},
                "hovertemplate": "USD %{y:.3g} after %{x:,} requests<extra>%{fullData.name}</extra>",
            },
            row=row,
            col=column,
        )
    most = max(len(bill) for _, bill in shown)
    figure.update_xaxes(
        title_text="priced requests", range=[0, 1.03 * most], tickformat=",d", row=row, col=column
    )
    figure.update_yaxes(title_text="USD", rangemode="tozero", row=row, col=column)


def finish_reasons(figure: "Figure", at: theme.At, frame: pl.DataFrame) -> None:
    """Why each side's answers ended, as shares of its ok calls."""
    _kinds(figure, at, frame, _finish_reasons_of, "share of ok calls", "no finish reasons on record")


def error_kinds(figure: "Figure", at: theme.At, frame: pl.DataFrame) -> None:
    """Which errors each side had, as shares of its finished calls."""
    _kinds(figure, at, frame, _error_kinds_of, "share of finished calls", "no failed calls")


def ok_calls(frame: pl.DataFrame) -> list[int]:
    """How many calls `finish_reasons` rests on, side by side as it is drawn."""
    return [_finish_reasons_of(part)[1] for part in both_sides(frame)]


def finished_calls(frame: pl.DataFrame) -> list[int]:
    """How many calls `error_kinds` rests on, side by side as it is drawn."""
    return [_error_kinds_of(part)[1] for part in both_sides(frame)]


def _finish_reasons_of(part: Part) -> tuple[pl.Series, int]:
    calls = each_call_once(part, part.pairs).filter(part.column("status") == "ok")
    return calls[f"{part.side}_finish_reason"].drop_nulls(), calls.height


def _error_kinds_of(part: Part) -> tuple[pl.Series, int]:
    calls = each_call_once(part, part.pairs).filter(part.column("status").is_in(FINISHED))
    failed = calls.filter(part.column("status").is_in(FAILED))
    return failed.select(
        pl.coalesce(part.column("error_type"), part.column("status"))
    ).to_series(), calls.height


def _kinds(
    figure: "Figure",
    at: theme.At,
    frame: pl.DataFrame,
    kinds_of: Callable[[Part], tuple[pl.Series, int]],
    title: str,
    none: str,
) -> None:
    """Horizontal bars: how often each kind occurs, as a share of each side's calls."""
    parts = [(part, *kinds_of(part)) for part in both_sides(frame)]
    every = pl.concat([kinds for _, kinds, _ in parts]) if parts else pl.Series([], dtype=pl.String)
    if not len(every):
        theme.say(figure, at, none)
        return
    common = every.value_counts(sort=True, name="n").head(_KINDS_SHOWN).to_series(0).to_list()
    has_others = every.n_unique() > len(common)
    labels = [cut(kind, 28) for kind in common] + ["other kinds"] * has_others
    drawn = [each for each in parts if each[2]]
    high = thickness(len(labels), len(drawn))
    for place, (part, kinds, calls) in enumerate(drawn):
        counts = [(kinds == kind).sum() for kind in common]
        counts += [len(kinds) - sum(counts)] * has_others
        figure.add_trace(
            {
                **part.look(),
                "type": "bar",
                "orientation": "h",
                "x": [count / calls for count in counts],
                "y": list(range(len(labels))),
                "width": high / len(drawn),
                "offset": high * (place / len(drawn) - 0.5),
                "customdata": [
                    f"{label}: {count:,} calls" for label, count in zip(labels, counts, strict=True)
                ],
                "marker": {"color": part.color},
                "opacity": 0.7 ** theme.DASHES.index(part.dash),
                "hovertemplate": "%{customdata}, %{x:.3~%}<extra>%{fullData.name}</extra>",
            },
            row=at[0],
            col=at[1],
        )
    figure.update_xaxes(title_text=title, tickformat=".3~%", rangemode="tozero", row=at[0], col=at[1])
    name_places(figure, at, labels, high)
