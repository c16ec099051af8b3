"""The gates as a forest plot: one line a gate, its interval beside its margin.

Ratios, shares and the user's own numbers have no scale in common, so each line has its own: the margin is in
the middle, and the end of the interval that is farthest from it is at 1. What passes is on the left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import copysign, inf, isfinite, log
from typing import TYPE_CHECKING, Any

from mirrorkit.notebook import theme, words
from mirrorkit.notebook.compared import Compared
from mirrorkit.notebook.words import GateLine

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LINES_SHOWN = 24
"""The most gates that are drawn."""

_EDGE = 1.15
_LINE_PX = 58
_MARK_PX = 18
"""How high a gate's line is, and the mark in it: its name stands above the mark, its effect below."""
_SYMBOLS = {"passed": "circle", "failed": "x", "open": "circle-open"}
_PASSES, _FAILS = "rgba(0, 158, 115, 0.13)", "rgba(213, 94, 0, 0.13)"


@dataclass(frozen=True, slots=True)
class Mark:
    """One gate's line: from -1 (farthest on the side that passes) to 1, 0 the margin; None is unknown.

    A ratio of 0, which is farther than any other, is at the panel's edge.
    """

    label: str
    text: str
    state: str
    effect: float | None
    every_look: tuple[float, float] | None
    one_look: tuple[float, float] | None
    no_effect: float | None


def marks(comparison: Compared) -> list[Mark]:
    """The gates' lines, in the order of `comparison.gates`."""
    rows = {(row["arm"], row["metric"]): row for row in words.main_rows(comparison.table)}
    gates = comparison.gates.to_dicts()
    several = comparison.gates["arm"].n_unique() > 1
    return [
        _mark(
            gate,
            line,
            rows.get((gate["arm"], gate["metric"]), {}),
            comparison.plan.metric(gate["metric"]).better == "lower",
            several,
        )
        for gate, line in zip(gates, words.gate_lines(comparison), strict=True)
    ]


def _mark(
    gate: Mapping[str, Any], line: GateLine, row: Mapping[str, Any], lower: bool, several: bool
) -> Mark:
    is_ratio = "ratio" in row.get("estimand", "")

    def beyond(value: float | None) -> float | None:
        if value is None or (is_ratio and value < 0):
            return None
        if is_ratio and value == 0:  # as far below the margin as can be
            return -inf if lower else inf
        distance = log(value) - log(gate["margin"]) if is_ratio else value - gate["margin"]
        return theme.finite(distance if lower else -distance)

    ends = [beyond(row.get(name)) for name in ("low", "high", "one_look_low", "one_look_high")]
    effect = beyond(gate["effect"])
    spans = [abs(end) for end in ends if end is not None and isfinite(end)]
    away = abs(theme.finite(effect) or 0.0)
    # with no interval there is nothing to say how far is far
    scale = max([*spans, away] if spans else [2 * away]) or 1.0
    known = bool(spans) or effect is not None

    def at(distance: float | None) -> float | None:
        if distance is None or isfinite(distance):
            return None if distance is None else theme.finite(distance / scale)
        return copysign(_EDGE, distance)

    no_effect = at(
        beyond(1.0 if is_ratio else 0.0 if row.get("estimand", "").startswith("difference") else None)
    )
    arm = f"{theme.escape(line.arm, 24)}: " if several else ""
    told = ", no interval yet" if line.every_look == "–" else f" ({line.every_look})"
    return Mark(
        f"{arm}{theme.escape(line.gate)} {_standing(gate, line)}",
        theme.escape(f"{line.effect}{told}", 80),
        gate["state"],
        at(effect),
        _span(at(ends[0]), at(ends[1]), lower),
        _span(at(ends[2]), at(ends[3]), lower),
        # where nothing is known, there is no scale
        no_effect if known and no_effect is not None and 0.02 < abs(no_effect) <= 1 else None,
    )


def _standing(gate: Mapping[str, Any], line: GateLine) -> str:
    if gate["state"] != "open":
        return f"{line.state} {line.pairs} pairs"
    is_count = not gate["note"] and gate["pairs_needed"] is not None
    return f"{line.state}, {theme.escape(line.pairs, 60)}{' pairs' * is_count}"


def _span(low: float | None, high: float | None, lower: bool) -> tuple[float, float] | None:
    """From left to right; an end that is unknown is beyond the edge."""
    if low is None and high is None:
        return None
    left, right = (low, high) if lower else (high, low)
    return (-_EDGE if left is None else left, _EDGE if right is None else right)


def height(gates: list[Mark]) -> int:
    """How high the panel is, in pixels."""
    return _LINE_PX * max(2, min(len(gates), LINES_SHOWN))


def draw(figure: "Figure", at: theme.At, gates: list[Mark], alpha: float) -> None:
    """Draw the gates as a panel of a figure."""
    if not gates:
        theme.say(figure, at, "no gates are set")
        return
    shown = gates[:LINES_SHOWN]
    row, column = at
    level = f"{100 * (1 - alpha):g} %"
    theme.add(figure, at, _spans([mark.every_look for mark in shown], f"{level}, every look", 11, 0.45))
    theme.add(figure, at, _spans([mark.one_look for mark in shown], f"{level}, one look", 3, 1.0))
    theme.add(figure, at, _dots(shown))
    theme.add(figure, at, _ticks(shown))
    for x0, x1, color in ((-_EDGE, 0, _PASSES), (0, _EDGE, _FAILS)):
        figure.add_vrect(x0=x0, x1=x1, fillcolor=color, line_width=0, layer="below", row=row, col=column)
    figure.add_vline(x=0, line={"color": theme.TEXT, "width": 2}, layer="below", row=row, col=column)
    more = f"<br>and {len(gates) - len(shown):,} more in .gates" if len(gates) > len(shown) else ""
    figure.update_xaxes(
        range=[-_EDGE, _EDGE],
        tickvals=[-0.6, 0, 0.6],
        ticktext=["← passes", "margin", "fails →"],
        showgrid=False,
        title_text=f"each gate on its own scale; thick: {level} at every look,<br>"
        f"thin: one look; │: no difference{more}",
        row=row,
        col=column,
    )
    tops = [y - _MARK_PX / 2 / _LINE_PX for y in range(len(shown))]
    theme.name_lines(figure, at, [mark.label for mark in shown], -_EDGE, tops)
    figure.update_yaxes(range=[len(shown) - 0.5, -0.5], row=row, col=column)


def _spans(spans: list[tuple[float, float] | None], name: str, width: int, opacity: float) -> dict[str, Any]:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for y, span in enumerate(spans):
        if span is not None:
            xs += [*span, None]
            ys += [y, y, None]
    return {
        "type": "scatter",
        "name": name,
        "mode": "lines",
        "x": xs,
        "y": ys,
        "line": {"color": theme.TEXT, "width": width},
        "opacity": opacity,
        "hoverinfo": "skip",
    }


def _dots(shown: list[Mark]) -> dict[str, Any]:
    known = [(y, mark) for y, mark in enumerate(shown) if mark.effect is not None]
    return {
        "type": "scatter",
        "name": "effect",
        "mode": "markers+text",
        "x": [mark.effect for _, mark in known],
        "y": [y for y, _ in known],
        "marker": {
            "symbol": [_SYMBOLS[mark.state] for _, mark in known],
            "size": 12,
            "color": theme.TEXT,
            "line": {"width": 2, "color": theme.TEXT},
        },
        "text": [mark.text for _, mark in known],
        "textposition": [_beside(mark.effect or 0.0) for _, mark in known],
        "cliponaxis": False,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _beside(place: float) -> str:
    """Texts stay within the panel."""
    return "bottom center" if abs(place) < 0.25 else "bottom left" if place > 0 else "bottom right"


def _ticks(shown: list[Mark]) -> dict[str, Any]:
    known = [(y, mark.no_effect) for y, mark in enumerate(shown) if mark.no_effect is not None]
    return {
        "type": "scatter",
        "name": "no difference",
        "mode": "markers",
        "x": [place for _, place in known],
        "y": [y for y, _ in known],
        "marker": {"symbol": "line-ns", "size": 8, "line": {"width": 2, "color": theme.TEXT}},
        "hovertemplate": "no difference<extra></extra>",
    }
