"""Lines, areas, points and texts of a picture: what Plotly calls a scatter trace."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mirrorkit.notebook.drawing import svg
from mirrorkit.notebook.drawing.scales import Axis, as_number

MOST = 3_000
"""The most points that a picture shows of one trace."""

Point = tuple[float, float]
Trace = Mapping[str, Any]

_DASHES = {
    "dot": (1, 1), "dash": (3, 3), "longdash": (5, 5), "dashdot": (3, 1, 1, 1), "longdashdot": (5, 2, 1, 2)
}  # fmt: skip
_OWN_DASH = re.compile(r"[\d.]+(px|%)?([ ,]+[\d.]+(px|%)?)*")
_CLOSED = {
    "square": ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),
    "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    "triangle-up": ((0, -1.1), (1, 0.65), (-1, 0.65)),
    "triangle-down": ((0, 1.1), (1, -0.65), (-1, -0.65)),
    "triangle-left": ((-1.1, 0), (0.65, 1), (0.65, -1)),
    "triangle-right": ((1.1, 0), (-0.65, 1), (-0.65, -1)),
}
_STROKES = {
    "line-ns": ((0, -1.3), (0, 1.3)),
    "line-ew": ((-1.3, 0), (1.3, 0)),
    "cross-thin": ((0, -1.3), (0, 1.3), None, (-1.3, 0), (1.3, 0)),
    "x-thin": ((-1, -1), (1, 1), None, (-1, 1), (1, -1)),
}
_STROKES |= {"cross": _STROKES["cross-thin"], "x": _STROKES["x-thin"]}


def dashes(dash: Any, width: float) -> str | None:
    """A line's pattern, as SVG wants it; None is solid.

    >>> dashes("dash", 2), dashes("solid", 2), dashes("5px,2px", 2)
    ('9,9', None, '5px,2px')
    """
    if dash in _DASHES:
        unit = max(3.0, width)
        return ",".join(svg.number(part * unit) for part in _DASHES[dash])
    return dash if isinstance(dash, str) and dash != "solid" and _OWN_DASH.fullmatch(dash) else None


def each(given: Any, index: int, otherwise: Any) -> Any:
    """The setting of one point, where a setting is one for all or a list."""
    if isinstance(given, list):
        return given[index % len(given)] if given and given[index % len(given)] is not None else otherwise
    return otherwise if given is None else given


def points(trace: Trace, x: Axis, y: Axis) -> list[Point | None]:
    """Where a trace's points are on the page; None for those that have no place."""
    found: list[Point | None] = []
    for left, top in zip(*coordinates(trace), strict=False):
        across, down = x.place(left), y.place(top)
        found.append(None if across is None or down is None else (across, down))
    return found


def coordinates(trace: Trace) -> tuple[list[Any], list[Any]]:
    """The values of a trace along x and along y; counted from 0 where it has only one of them."""
    xs, ys = trace.get("x"), trace.get("y")
    if xs is None:
        xs = _counted(trace, "x", len(ys or ()))
    if ys is None:
        ys = _counted(trace, "y", len(xs))
    return xs, ys


def _counted(trace: Trace, letter: str, count: int) -> list[float]:
    first, step = (as_number(trace.get(name)) for name in (f"{letter}0", f"d{letter}"))
    return [(first or 0.0) + index * (1.0 if step is None else step) for index in range(count)]


def mode(trace: Trace) -> str:
    """What of a trace is drawn: lines, markers, text; as Plotly chooses, where the trace does not say."""
    said = trace.get("mode")
    if said is not None:
        return str(said)
    return "lines+markers" if len(coordinates(trace)[0]) < 20 else "lines"


def scatter(
    trace: Trace, x: Axis, y: Axis, tint: str, font: Mapping[str, Any], before: Sequence[Point | None]
) -> tuple[list[str], list[str], list[Point | None]]:
    """A trace's area and line, its points and texts, and the line's corners on the page.

    `tint` is its colour if it has none of its own, `before` the corners of the line it fills up to.
    """
    at = points(trace, x, y)
    line = trace.get("line") or {}
    stroke = svg.color(line.get("color") or _one_color(trace), tint)
    corners = _cornered(_joined(at) if trace.get("connectgaps") else at, line.get("shape"))
    drawn = mode(trace)
    has_lines = "lines" in drawn
    under = [
        *_area(trace, corners, before, y, x, stroke),
        *([_line(corners, stroke, line)] if has_lines and len(at) > 1 and line.get("width") != 0 else []),
    ]
    kept = [index for index, point in enumerate(at) if point is not None][:: max(1, -(-len(at) // MOST))]
    over: list[str] = []
    if "markers" in drawn:
        over += _markers(trace, at, kept, stroke)
    if "text" in drawn:
        over += _texts(trace, at, kept, font)
    return under, over, corners


def _one_color(trace: Trace) -> Any:
    given = (trace.get("marker") or {}).get("color")
    return given if isinstance(given, str) else None


def _joined(at: Sequence[Point | None]) -> list[Point | None]:
    return [point for point in at if point is not None]


def _cornered(at: Sequence[Point | None], shape: Any) -> list[Point | None]:
    """The corners of a line that goes in steps, first across ("hv") or first up ("vh")."""
    at = at[:: max(1, -(-len(at) // MOST))]
    if shape not in ("hv", "vh"):
        return list(at)
    out: list[Point | None] = []
    for point in at:
        last = out[-1] if out else None
        if point is not None and last is not None:
            out.append((point[0], last[1]) if shape == "hv" else (last[0], point[1]))
        out.append(point)
    return out


def _line(corners: list[Point | None], stroke: str, line: Mapping[str, Any]) -> str:
    width = float(line.get("width") or 2)
    return svg.tag(
        "path", class_="line", d=svg.drawn(corners), fill="none", stroke=stroke, stroke_width=width,
        stroke_dasharray=dashes(line.get("dash"), width), stroke_linejoin="round",
    )  # fmt: skip


def _area(
    trace: Trace, corners: list[Point | None], before: Sequence[Point | None], y: Axis, x: Axis, stroke: str
) -> list[str]:
    fill = trace.get("fill") or ("none" if not trace.get("stackgroup") else "tonexty")
    known = [point for point in corners if point is not None]
    if fill == "none" or len(known) < 2:
        return []
    back = [point for point in before if point is not None][::-1]
    around: list[Point | None] = list(known)
    if fill == "toself" or (fill == "tonext" and not back):
        around = corners
    elif fill.startswith("tonext") and back:
        around += back
    elif fill.endswith("x"):
        zero = x.start if x.kind == "log" else x.place(0) or x.start
        around += [(zero, known[-1][1]), (zero, known[0][1])]
    else:
        zero = y.start if y.kind == "log" else y.place(0) or y.start
        around += [(known[-1][0], zero), (known[0][0], zero)]
    said = trace.get("fillcolor")
    look = {"fill": svg.color(said, stroke), "fill_opacity": None if said else "0.5"}
    return [svg.tag("path", class_="area", d=svg.drawn(around, closed=True), **look)]


def _markers(trace: Trace, at: Sequence[Point | None], kept: list[int], stroke: str) -> list[str]:
    marker = trace.get("marker") or {}
    edge = marker.get("line") or {}
    out = []
    for index in kept:
        point = at[index]
        seen = each(marker.get("opacity"), index, 1)
        if point is None or seen == 0:
            continue
        tint = each(marker.get("color"), index, stroke)
        out.append(
            symbol(
                str(each(marker.get("symbol"), index, "circle")),
                point,
                float(each(marker.get("size"), index, 6)) / 2,
                svg.color(tint, stroke),
                svg.color(each(edge.get("color"), index, None), svg.color(tint, stroke)),
                float(each(edge.get("width"), index, 0)),
                None if seen == 1 else f"{seen:.3g}",
            )
        )
    return out


def symbol(
    shape: str, at: Point, radius: float, fill: str, stroke: str, width: float, opacity: str | None = None
) -> str:
    """One mark; a shape that is not known here is a circle."""
    bare = shape.removesuffix("-dot").removesuffix("-open")
    hollow = bare != shape.removesuffix("-dot")
    if bare in _STROKES:
        thick = bare in ("x", "cross")
        return svg.tag(
            "path", class_="point", d=_around(at, radius * (0.75 if thick else 1), _STROKES[bare]),
            fill="none", stroke=fill if thick else stroke, opacity=opacity,
            stroke_width=max(width, radius * 0.55) if thick else max(width, 1.0),
        )  # fmt: skip
    look = {
        "class_": "point",
        "fill": "none" if hollow else fill,
        "stroke": fill if hollow else stroke if width else None,
        "stroke_width": max(width, 1.0) if hollow else width or None,
        "opacity": opacity,
    }
    if bare in _CLOSED:
        return svg.tag("path", d=_around(at, radius, (*_CLOSED[bare], None), closed=True), **look)
    return svg.tag("circle", cx=at[0], cy=at[1], r=radius, **look)


def _around(
    at: Point, radius: float, corners: Sequence[tuple[float, float] | None], *, closed: bool = False
) -> str:
    return svg.drawn(
        [None if c is None else (at[0] + radius * c[0], at[1] + radius * c[1]) for c in corners],
        closed=closed,
    )


def _texts(trace: Trace, at: Sequence[Point | None], kept: list[int], font: Mapping[str, Any]) -> list[str]:
    own = trace.get("textfont") or {}
    radius = float(each((trace.get("marker") or {}).get("size"), 0, 6)) / 2 if "markers" in mode(trace) else 0
    out = []
    for index in kept:
        point, text = at[index], each(trace.get("text"), index, "")
        if point is None or text == "":
            continue
        down, _, across = str(each(trace.get("textposition"), index, "middle center")).partition(" ")
        shift = {"left": -radius - 3, "right": radius + 3}.get(across, 0) if down == "middle" else 0
        lift = {"top": -radius - 2, "bottom": radius + 2}.get(down, 0)
        out.append(
            svg.label(
                text,
                point[0] + shift,
                point[1] + lift,
                size=float(each(own.get("size"), index, font.get("size") or 12)),
                fill=svg.color(each(own.get("color"), index, None), svg.color(font.get("color"))),
                across={"left": "end", "right": "start"}.get(across, "middle"),
                down={"top": "bottom", "bottom": "top"}.get(down, "middle"),
            )
        )
    return out
