"""What says which colour is what: the legend of a picture, and the bars of its colour scales."""

from collections.abc import Mapping, Sequence
from typing import Any

from mirrorkit.notebook.drawing import svg
from mirrorkit.notebook.drawing.blocks import bounds, hatched, shading
from mirrorkit.notebook.drawing.furniture import font
from mirrorkit.notebook.drawing.marks import Trace, dashes, each, mode, symbol
from mirrorkit.notebook.drawing.panel import Page
from mirrorkit.notebook.drawing.scales import Axis, as_number
from mirrorkit.notebook.drawing.ticks import ticks, written

Layout = Mapping[str, Any]
Entry = tuple[Trace, str]
"""A trace of the legend and its colour."""

_SWATCH = 30
_NEXT = 22
_ROW = 21
_BAR = 16


def entries(traces: Sequence[Entry], layout: Layout) -> list[Entry]:
    """The traces that the legend names, in its order."""
    said = layout.get("showlegend")
    named = [
        one for one in traces if one[0].get("showlegend", True) is not False and one[0]["type"] != "heatmap"
    ]
    wanted = len(named) > 1 or any(trace.get("showlegend") for trace, _ in named) if said is None else said
    named = [one for one in named if one[0].get("name")] if wanted else []
    named.sort(key=lambda one: as_number(one[0].get("legendrank")) or 1000)
    upwards = "reversed" in str((layout.get("legend") or {}).get("traceorder") or _order(traces, layout))
    groups = _grouped(named)
    if len(groups) == len(named) and not any(trace.get("legendgroup") for trace, _ in named):
        return named[::-1] if upwards else named
    return [one for group in groups for one in (group[::-1] if upwards else group)]


def _order(traces: Sequence[Entry], layout: Layout) -> str:
    """Plotly names first what lies on top, where things lie on top of each other."""
    heaped = any(
        str(trace.get("fill")).startswith("tonext")
        or (trace["type"] == "bar" and layout.get("barmode") == "stack")
        for trace, _ in traces
    )
    return "reversed" if heaped else "normal"


def _grouped(named: Sequence[Entry]) -> list[list[Entry]]:
    """What belongs together stands together: one under the other, in rows."""
    groups: dict[Any, list[Entry]] = {}
    for index, one in enumerate(named):
        groups.setdefault(one[0].get("legendgroup") or index, []).append(one)
    return list(groups.values())


def beside(named: Sequence[Entry], layout: Layout) -> float:
    """How wide the legend is that stands at the right of the panels, if it does."""
    legend = layout.get("legend") or {}
    if not named or legend.get("orientation") == "h" or as_number(legend.get("x")) is not None:
        return 0.0
    size = font(layout, legend.get("font"))["size"]
    return 30 + _SWATCH + max(svg.width(trace["name"], size) for trace, _ in named)


def below(named: Sequence[Entry], layout: Layout, room: float) -> float:
    """How high the legend is that stands at the foot of the figure, in `room` pixels, if it does."""
    said = layout.get("legend") or {}
    at_foot = said.get("yref") == "container" and (as_number(said.get("y")) or 0) < 0.5
    if not named or said.get("orientation") != "h" or not at_foot:
        return 0.0
    _, _, rows = _laid(named, layout, room)
    return rows * _ROW


def legend(named: Sequence[Entry], layout: Layout, page: Page) -> list[str]:
    """What the colours and dashes mean: in rows, or in a column at the right."""
    if not named:
        return []
    said = layout.get("legend") or {}
    level = said.get("orientation") == "h"
    x = as_number(said.get("x"))
    x = (0.0 if level else 1.02) if x is None else x
    left = x * page.width if said.get("xref") == "container" else page.across(x)
    look = font(layout, said.get("font"))
    groups, spots, rows = _laid(named, layout, page.width - left - 8)
    top = _top(said, level, rows * _ROW, page)
    out = []
    for group, (away, row) in zip(groups, spots, strict=True):
        for number, (trace, tint) in enumerate(group):
            at, middle = left + away, top + (row + number + 0.5) * _ROW
            out += _swatch(trace, tint, at, middle)
            out.append(svg.label(trace["name"], at + _SWATCH + 5, middle, across="start", **look))
    return [svg.tag("g", *out, class_="legend")]


def _laid(
    named: Sequence[Entry], layout: Layout, room: float
) -> tuple[list[list[Entry]], list[tuple[float, int]], int]:
    """The groups of a legend, where each begins and in which row, none beyond the room; how many rows."""
    said = layout.get("legend") or {}
    groups = _grouped(named) if said.get("orientation") == "h" else [list(named)]
    size = font(layout, said.get("font"))["size"]
    wide = [
        _SWATCH + 5 + max(svg.width(trace["name"], size) for trace, _ in group) + _NEXT for group in groups
    ]
    if sum(wide) - _NEXT > room:
        wide = [max(wide)] * len(wide)
    high = max(map(len, groups))
    spots, away, row = [], 0.0, 0
    for own in wide:
        if away and away + own - _NEXT > room:
            away, row = 0.0, row + high
        spots.append((away, row))
        away += own
    return groups, spots, row + high


def _top(said: Mapping[str, Any], level: bool, high: float, page: Page) -> float:
    y = as_number(said.get("y"))
    y = (-0.1 if level else 1.0) if y is None else y
    at = (1 - y) * page.height if said.get("yref") == "container" else page.up(y)
    anchor = said.get("yanchor") or ("top" if level or y > 2 / 3 else "middle" if y > 1 / 3 else "bottom")
    return min(at - high * {"top": 0.0, "middle": 0.5}.get(str(anchor), 1.0), page.height - high)


def _swatch(trace: Trace, tint: str, x: float, y: float) -> list[str]:
    marker = trace.get("marker") or {}
    own = marker.get("color")
    opacity = as_number(trace.get("opacity"))
    faint = None if opacity in (None, 1) else f"{opacity:.3g}"
    if trace["type"] == "bar":
        fill = svg.color(each(own, 0, None), tint)
        edge = marker.get("line") or {}
        rim = svg.color(each(edge.get("color"), 0, None), fill) if each(edge.get("width"), 0, 0) else None
        box = {"x": x + 9, "y": y - 6, "width": 12.0, "height": 12.0}
        return [svg.tag("rect", **box, fill=fill, stroke=rim, opacity=faint), *hatched(marker, 0, box)]
    line = trace.get("line") or {}
    stroke = svg.color(line.get("color") or own, tint)
    drawn = mode(trace)
    out = []
    if str(trace.get("fill") or "none") != "none":
        inside = svg.color(trace.get("fillcolor"), stroke)
        paler = None if trace.get("fillcolor") else "0.5"
        box = {"x": x + 3, "y": y - 4, "width": _SWATCH - 6, "height": 10}
        out.append(svg.tag("rect", **box, fill=inside, fill_opacity=paler))
    if "lines" in drawn and line.get("width") != 0:
        thick = min(float(line.get("width") or 2), 10.0)
        out.append(
            svg.tag("line", x1=x + 3, x2=x + _SWATCH - 3, y1=y, y2=y, stroke=stroke, stroke_width=thick,
                    stroke_dasharray=dashes(line.get("dash"), thick), opacity=faint)
        )  # fmt: skip
    if "markers" in drawn:
        edge = marker.get("line") or {}
        color = svg.color(each(own, 0, None), stroke)
        radius = min(float(each(marker.get("size"), 0, 6)), 16.0) / 2
        rim = svg.color(each(edge.get("color"), 0, None), color)
        shape = str(each(marker.get("symbol"), 0, "circle"))
        out.append(
            symbol(
                shape, (x + _SWATCH / 2, y), radius, color, rim, float(each(edge.get("width"), 0, 0)), faint
            )
        )
    return out


def color_bar(trace: Trace, scale: Mapping[str, Any], layout: Layout, page: Page) -> list[str]:
    """What the shades of a heat map mean."""
    said = scale.get("colorbar") or {}
    if scale.get("showscale") is False:
        return []
    share, long = as_number(said.get("x")), as_number(said.get("len"))
    middle = as_number(said.get("y"))
    high = (1.0 if long is None else long) * (page.up(0) - page.up(1))
    if said.get("lenmode") == "pixels" and long is not None:
        high = long
    left = page.across(1.02 if share is None else share) + 8
    top = page.up(0.5 if middle is None else middle) - high / 2
    colors = shading(scale.get("colorscale"), bool(scale.get("reversescale")))
    step = high / len(colors)
    out = [
        svg.tag("rect", x=left, y=top + high - (index + 1) * step, width=_BAR, height=step + 0.3, fill=color)
        for index, color in enumerate(colors)
    ]
    look = font(layout, said.get("tickfont"))
    low, most = bounds(trace, scale)
    for at, text in _marks(said, low, most):
        if low <= at <= most:
            y = top + high - (high * (at - low) / (most - low) if most > low else 0)
            out.append(svg.label(text, left + _BAR + 4, y, across="start", **look))
    told = said.get("title")
    name = told.get("text") if isinstance(told, Mapping) else told
    if name:
        out.append(svg.label(name, left, top - 4, across="start", down="bottom", **look))
    return [svg.tag("g", *out, class_="colorbar")]


def _marks(said: Mapping[str, Any], low: float, high: float) -> list[tuple[float, str]]:
    values, texts = said.get("tickvals"), said.get("ticktext")
    if values is None:
        axis = Axis("y", "linear", {"tickformat": said.get("tickformat")}, low, high, end=160)
        return [(tick.at, tick.text) for tick in ticks(axis, 12)]
    out = []
    for index, value in enumerate(values):
        at = as_number(value)
        if at is not None:
            text = texts[index] if texts and index < len(texts) else written(at, said.get("tickformat"), 0)
            out.append((at, f"{said.get('tickprefix') or ''}{text}{said.get('ticksuffix') or ''}"))
    return out
