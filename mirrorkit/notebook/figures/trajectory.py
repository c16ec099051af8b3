"""The trajectory of a metric as a panel: the estimate and its band over pairs, the margin, what decided."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, log10
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from mirrorkit.compare import wording
from mirrorkit.compare.plan import margin_words
from mirrorkit.compare.trajectory import Gate, Path
from mirrorkit.notebook import theme
from mirrorkit.records import CONTROL

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PANELS_SHOWN = 8
"""The most gates that are drawn."""
PANEL_PX = 420
"""How high a panel is that is alone."""

_STATES = {"passed": "✓ passed", "failed": "✗ failed"}
_POWERS = 300
"""Of ten: what a number can be, and a little less."""
_FEW = 10
"""Pairs that each have their tick."""
_NARROW = 30
"""Characters that fit into a panel of a narrow figure."""
_GAPS_TOLD = 2
"""Stretches of pairs without an interval that are each told."""
_CLOSE = 0.12
"""Within this share of an axis from the margin, a line would go through its name."""
_EARLY = 0.06
"""A decision before this share of the pairs is not seen on a linear axis."""


def title(path: Path, *, with_arm: bool = False) -> str:
    """What a panel shows, and of how many pairs."""
    arm = f"{theme.escape(path.arm, 24)}: " if with_arm else ""
    name = path.gate.words if path.gate else path.metric.name.replace("_", " ")
    state = ", still open" if path.gate and path.gate.state == "open" else ""
    return f"{arm}{theme.escape(name, 40)}{state}<br>n = {_pairs(path.n, path)}"


def _pairs(count: int, path: Path) -> str:
    return f"{count:,} {'labelled ' * path.of_labels}pair{'s' * (count != 1)}"


def draw(figure: "Figure", at: theme.At, path: Path, *, on_log: bool = False) -> None:
    """Draw a path as a panel of a figure; `on_log` is for its axis of pairs."""
    if not path.n:
        theme.say(
            figure, at, "<br>".join(theme.escape(line) for line in wrap(path.note, _NARROW, max_lines=6))
        )
        return
    scale = 100.0 if _is_share(path) else 1.0
    if not (np.isfinite(path.effect) & (path.effect >= 0 if _is_ratio(path) else True)).any():
        theme.say(figure, at, "no effect that can be drawn")
        return
    seen = _window(path, on_log)
    floor = seen[0] if _has_zero(path, on_log) else None
    color = theme.CONTROL if path.arm == CONTROL else theme.SILENT
    _band(figure, at, path, scale, color, floor)
    _estimate(figure, at, path, scale, color, floor)
    _axes(figure, at, path, scale, seen, on_log, floor)
    _margin(figure, at, path, scale, seen)
    _without(figure, at, path, on_log)
    if path.gate is not None:
        _decision(figure, at, path, path.gate, scale, on_log, floor)


def is_early(paths: Sequence[Path]) -> bool:
    """Whether a gate was decided so early that only a logarithmic axis of pairs shows when."""
    return any(
        path.gate.decided_after is not None and path.gate.decided_after < _EARLY * path.pairs[-1]
        for path in paths
        if path.gate and path.n
    )


def explained(paths: Sequence[Path]) -> str:
    """What the bands are, in a sentence."""
    gates = [path.gate for path in sorted(paths, key=lambda path: not path.n) if path.gate]
    if not gates:
        alpha = paths[0].alpha if paths else 0.05
        return f"The band holds at every look, at {_percent(alpha)}."
    passing, failing = _percent(gates[0].alpha_pass), _percent(gates[0].alpha_fail)
    return (
        "The band holds at every look. A gate passes at the first pair where the whole band is on the good "
        f"side of the margin (one-sided, {passing}), fails at the first where it is on the other "
        f"({failing}), and stays so."
    )


def _percent(alpha: float) -> str:
    return f"{100 * (1 - alpha):.3g} %"


def _is_ratio(path: Path) -> bool:
    return path.metric.kind in ("ratio", "median", "totals")


def _is_share(path: Path) -> bool:
    return path.metric.kind == "shares" or path.metric.unit == "share"


def _drawable(path: Path, values: Any) -> Any:
    return values > 0 if _is_ratio(path) else np.isfinite(values)


def _numbers(path: Path, values: Any, scale: float, floor: float | None = None) -> list[float | None]:
    """Six digits are more than a screen shows; a ratio of 0 has its place at `floor`, if there is one."""
    if floor is not None:
        values = np.where(values == 0, floor, values)
    kept = np.where(np.isfinite(values) & _drawable(path, values), values * scale, np.nan)
    return [None if not isfinite(value) else float(f"{value:.6g}") for value in kept.tolist()]


def _runs(known: Any) -> list[tuple[bool, int, int]]:
    """Neighbours that are alike: whether they are known, from where, and to where (not included).

    >>> _runs(np.array([True, False, False, True]))
    [(True, 0, 1), (False, 1, 3), (True, 3, 4)]
    """
    ends = [0, *(np.flatnonzero(known[1:] != known[:-1]) + 1).tolist(), len(known)]
    return [(bool(known[first]), first, last) for first, last in pairwise(ends)]


def _has_interval(path: Path) -> Any:
    return np.isfinite(path.low) | np.isfinite(path.high)


def _band(figure: "Figure", at: theme.At, path: Path, scale: float, color: str, floor: float | None) -> None:
    """Both ends, filled between, as far as there is an interval at each point.

    An end that is unknown is beyond all that is shown.
    """
    far = _far(path, scale)
    low, high = (
        [end if value is None else value for value in _numbers(path, values, scale, floor)]
        for values, end in ((path.low, far[0]), (path.high, far[1]))
    )
    shared = {"type": "scatter", "mode": "lines", "line": {"color": color, "width": 1}, "hoverinfo": "skip"}
    for known, first, last in _runs(_has_interval(path)):
        if not known:
            continue
        xs = path.pairs[first:last].tolist()
        if len(xs) == 1:  # no field, but a line
            theme.add(figure, at, {**shared, "x": xs * 2, "y": [low[first], high[first]]})
            continue
        theme.add(figure, at, {**shared, "x": xs, "y": low[first:last]})
        theme.add(figure, at, {**shared, "x": xs, "y": high[first:last], "fill": "tonexty",
                               "fillcolor": theme.faded(color, 0.22), "name": "band, holds at every look",
                               "showlegend": None})  # fmt: skip


def _far(path: Path, scale: float) -> tuple[float, float]:
    values = np.concatenate([path.effect, path.low, path.high])
    values = values[np.isfinite(values) & _drawable(path, values)] * scale
    if not len(values):
        values = np.array([path.gate.margin * scale if path.gate else scale])
    least, most = float(values.min()), float(values.max())
    if _is_ratio(path):
        return least / 10, most * 10
    return least - (most - least) - 1, most + (most - least) + 1


def _estimate(
    figure: "Figure", at: theme.At, path: Path, scale: float, color: str, floor: float | None
) -> None:
    estimand, unit = path.metric.estimand, path.metric.unit
    told = [
        f"{wording.effect(_or_none(effect), estimand, unit)}"
        f" ({wording.interval(_or_none(low), _or_none(high), estimand, unit)})"
        for effect, low, high in zip(path.effect, path.low, path.high, strict=True)
    ]
    theme.add(figure, at, {
        "type": "scatter",
        "mode": "lines" if len(path.pairs) > 1 else "markers",
        "name": "estimate",
        "x": path.pairs.tolist(),
        "y": _numbers(path, path.effect, scale, floor),
        "line": {"color": color, "width": 2.5},
        "marker": {"color": color, "size": 8},
        "customdata": [theme.escape(each, 60) for each in told],
        "hovertemplate": "after %{x:,} pairs: %{customdata}<extra></extra>",
        "showlegend": None,
    })  # fmt: skip


def _or_none(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _window(path: Path, on_log: bool) -> tuple[float, float]:
    """From where to where the axis of effects goes: what the later pairs show, and the margin."""
    late = _late(path, on_log)
    values = np.concatenate([path.low[late], path.high[late], path.effect[late]])
    values = values[np.isfinite(values) & _drawable(path, values)]
    marks = [path.gate.margin] if path.gate else []
    shown = [*values.tolist(), *marks] or [1.0]
    if _is_ratio(path):
        shown.append(1.0)
    # 0 has its place below all else
    return min(shown) / (10 if _has_zero(path, on_log) else 1), max(shown)


def _late(path: Path, on_log: bool) -> Any:
    start = 0.12 * path.pairs[-1]
    if path.gate and path.gate.decided_after:
        start = min(start, path.gate.decided_after * (0.7 if on_log else 1.0))
    return path.pairs >= start


def _has_zero(path: Path, on_log: bool) -> bool:
    """Whether a ratio of 0, which has no place on a logarithmic axis, is to be seen."""
    return _is_ratio(path) and bool((path.effect[_late(path, on_log)] == 0).any())


def _axes(
    figure: "Figure",
    at: theme.At,
    path: Path,
    scale: float,
    seen: tuple[float, float],
    on_log: bool,
    floor: float | None,
) -> None:
    row, column = at
    low, high = seen[0] * scale, seen[1] * scale
    last = int(path.pairs[-1])
    what = "pairs, in the order of labels" if path.of_labels else "pairs, in order of request"
    if on_log:
        first = _first_on_log(last)
        powers = [10**power for power in range(_POWERS) if first <= 10**power <= last]
        figure.update_xaxes(
            type="log", range=theme.log_range(first, last), tickvals=powers,
            ticktext=[_short(power) for power in powers], row=row, col=column,
        )  # fmt: skip
        what += " (log)"
    else:
        figure.update_xaxes(range=[0, max(1.02 * last, 2)], tickformat=",d", row=row, col=column)
        if last < _FEW:
            figure.update_xaxes(dtick=1, row=row, col=column)
    figure.update_xaxes(title_text=what, row=row, col=column)
    if _is_ratio(path):
        first, end = log10(low), log10(high)
        room = max(0.16 * (end - first), 0.01)
        # the label of what decided has its place above all
        first, end = max(first - room, -_POWERS), min(end + 1.7 * room, _POWERS)
        ticks, names = _ratio_ticks(10**first, 10**end)
        if floor is not None:
            above = [(tick, name) for tick, name in zip(ticks, names, strict=True) if tick > 2 * floor]
            ticks, names = [floor, *(tick for tick, _ in above)], ["×0", *(name for _, name in above)]
        figure.update_yaxes(
            type="log", range=[first, end], tickvals=ticks, ticktext=names,
            title_text="silent ÷ primary (log)", row=row, col=column,
        )  # fmt: skip
        return
    room = 0.16 * (high - low) or 1.0
    unit = "points" if path.metric.kind == "shares" else "%" if _is_share(path) else path.metric.unit
    name = "silent − primary, points" if unit == "points" else theme.escape(path.metric.name, 24)
    figure.update_yaxes(
        range=[low - room, high + 1.6 * room],
        title_text=name if unit in ("points", "") else f"{name}, {theme.escape(unit, 16)}",
        tickformat="+" if unit == "points" else "",
        row=row,
        col=column,
    )


def _short(count: int) -> str:
    """A power of ten that has its place in a narrow panel.

    >>> _short(1_000), _short(10_000), _short(1_000_000)
    ('1,000', '10k', '1M')
    """
    if count >= 1_000_000:
        return f"{count // 1_000_000:,}M"
    return f"{count // 1_000}k" if count >= 10_000 else f"{count:,}"


def _ratio_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks of a log axis of ratios: round steps where it is narrow, 1, 2, 5 where it is wide."""
    if high / low >= 5:
        ticks, _ = theme.log_ticks(low, high, "")
    else:
        step = _round_step((high - low) / 6)
        ticks = [step * number for number in range(int(low / step) - 1, int(high / step) + 3)]
    shown = [tick for tick in ticks if tick > 0]
    return shown, [f"×{tick:.4g}" for tick in shown]


def _round_step(step: float) -> float:
    """The next step of 1, 2, 5 or 10 times a power of ten.

    >>> [round(_round_step(each), 3) for each in (0.013, 0.04, 0.7)]
    [0.02, 0.05, 1.0]
    """
    power = 10.0 ** int(np.floor(log10(step))) if step > 0 else 1.0
    return next(nice * power for nice in (1, 2, 5, 10) if nice * power >= step * (1 - 1e-9))


def _margin(figure: "Figure", at: theme.At, path: Path, scale: float, seen: tuple[float, float]) -> None:
    """The margin and the side that passes, and where there would be no difference."""
    row, column = at
    none = 1.0 if _is_ratio(path) else 0.0 if path.metric.kind == "shares" else None
    if none is not None and not (path.gate and path.gate.margin == none):
        figure.add_hline(
            y=none * scale, line={"color": theme.TEXT, "width": 1, "dash": "dot"}, row=row, col=column
        )
    if path.gate is None:
        return
    margin = path.gate.margin * scale
    figure.add_hline(y=margin, line={"color": theme.TEXT, "width": 2, "dash": "dash"}, row=row, col=column)
    y = log10(margin) if _is_ratio(path) else margin
    arrow = "↓" if path.metric.better == "lower" else "↑"
    # away from the line of no difference, and from the estimate where that is nearer
    above = arrow == "↓" if none is None or path.gate.margin == none else path.gate.margin > none
    if none is None or _apart(path, none, seen) > _CLOSE:
        last = path.effect[-1]
        above = last < path.gate.margin if _apart(path, last, seen) <= _CLOSE else above
    figure.add_annotation(
        text=f"margin {theme.escape(margin_words(path.metric, path.gate.margin), 24)}, passes {arrow}",
        x=1, xref="x domain", xanchor="right", y=y, yanchor="bottom" if above else "top",
        showarrow=False, font={"size": 12, "color": theme.TEXT}, row=row, col=column,
    )  # fmt: skip


def _apart(path: Path, value: float, seen: tuple[float, float]) -> float:
    """How far a value is from the margin, as a share of the axis."""
    if path.gate is None or not isfinite(value) or (_is_ratio(path) and value <= 0):
        return 1.0
    ends = (value, path.gate.margin, *seen)
    value, margin, low, high = (log10(end) for end in ends) if _is_ratio(path) else ends
    return abs(value - margin) / ((high - low) or 1.0)


def _without(figure: "Figure", at: theme.At, path: Path, on_log: bool) -> None:
    """Where there is no interval: a grey field for each stretch of pairs, and its words."""
    row, column = at
    told, pairs = [], path.pairs.tolist()
    for known, first, last in _runs(_has_interval(path)):
        begin, end = pairs[first - 1] if first else 0, pairs[min(last, len(pairs) - 1)]
        if known or last - first == len(pairs) or (not first and end <= _FEW):
            continue
        figure.add_vrect(
            x0=max(begin, 0.1) if on_log else begin, x1=end, fillcolor=theme.TEXT, opacity=0.12, line_width=0,
            layer="below", row=row, col=column,
        )  # fmt: skip
        if not first:
            told.append(f"no interval before {end:,} pairs")
        elif last < len(pairs):
            told.append(f"no interval between {begin:,} and {end:,} pairs")
    if len(told) > _GAPS_TOLD:
        told = [*told[: _GAPS_TOLD - 1], "no interval where it is grey"]
    told += wrap(path.note, _NARROW, max_lines=3)
    if not told:
        return
    figure.add_annotation(
        text="<br>".join(theme.escape(line, 60) for line in told), x=0.01, xref="x domain", xanchor="left",
        y=0.01, yref="y domain", yanchor="bottom", align="left", showarrow=False,
        font={"size": 12, "color": theme.TEXT}, row=row, col=column,
    )  # fmt: skip


def _decision(
    figure: "Figure",
    at: theme.At,
    path: Path,
    gate: Gate,
    scale: float,
    on_log: bool,
    floor: float | None,
) -> None:
    """The pair at which the gate was decided, on the end of the band that decided it."""
    if gate.at is None or gate.decided_after is None:
        return
    row, column = at
    x, passed = int(path.pairs[gate.at]), gate.state == "passed"
    values = path.high if passed == (path.metric.better == "lower") else path.low
    y = _numbers(path, values, scale, floor)
    figure.add_vline(x=x, line={"color": theme.TEXT, "width": 1}, row=row, col=column)
    line = {"color": theme.CONTROL if path.arm == CONTROL else theme.SILENT, "width": 2}
    theme.add(figure, at, {"type": "scatter", "mode": "lines", "x": path.pairs.tolist(), "y": y,
                           "line": line, "hoverinfo": "skip"})  # fmt: skip
    said = f"{_STATES[gate.state]} after {_pairs(gate.decided_after, path)}"
    theme.add(figure, at, {
        "type": "scatter",
        "mode": "markers",
        "x": [x],
        "y": [gate.margin * scale if y[gate.at] is None else y[gate.at]],
        "marker": {"symbol": "circle" if passed else "x", "size": 12, "color": theme.TEXT},
        "hovertemplate": f"{said}<extra></extra>",
    })  # fmt: skip
    left = _share_of_axis(path, x, on_log) < 0.5
    figure.add_annotation(
        text=said.replace(" after ", "<br>after "), x=log10(x) if on_log else x, y=1, yref="y domain",
        xanchor="left" if left else "right", align="left" if left else "right", yanchor="top",
        showarrow=False, font={"size": 12, "color": theme.TEXT}, row=row, col=column,
    )  # fmt: skip


def _share_of_axis(path: Path, x: int, on_log: bool) -> float:
    """How far along its axis a number of pairs is."""
    last = int(path.pairs[-1])
    if not on_log:
        return x / last
    first = _first_on_log(last)
    return log10(x / first) / (log10(last / first) or 1.0)


def _first_on_log(last: int) -> float:
    return min(max(last / 2_000, 1), 10)
