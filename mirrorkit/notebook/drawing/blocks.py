"""The rectangles of a picture: bars, side by side or on top of each other, and the cells of heat maps."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from mirrorkit.notebook.drawing import svg
from mirrorkit.notebook.drawing.marks import Trace, each
from mirrorkit.notebook.drawing.scales import Axis, as_number

_SHADES = 24
_CELLS = 20_000
_NUMBERS = re.compile(r"[\d.]+")
_CONTRAST = "rgba(255, 255, 255, 0.6)"
_HATCHES = {"/": "/", "\\": "\\", "x": "/\\", "-": "-", "|": "|", "+": "-|"}
_RAMP = ((0.0, "rgba(0, 114, 178, 0.05)"), (1.0, "rgb(0, 114, 178)"))


class Bar(NamedTuple):
    """One bar in the measures of its axes: across its length from `side` to `side_end`."""

    place: int
    side: float
    side_end: float
    base: float
    top: float


def is_flat(trace: Trace) -> bool:
    """Whether bars lie on their side."""
    return trace.get("orientation") == "h"


def stacked(traces: Sequence[Trace], layout: Mapping[str, Any]) -> bool:
    """Whether bars at one place stand on top of each other."""
    return layout.get("barmode") in ("stack", "relative")


def bars(traces: Sequence[Trace], layout: Mapping[str, Any], x: Axis, y: Axis) -> list[list[Bar]]:
    """Where each bar of the bar traces of one panel is; the traces are as they are drawn, in order."""
    placed = [_placed(trace, x, y) for trace in traces]
    room = _room(at for found in placed for _, at, _ in found) * (1 - _share(layout.get("bargap"), 0.2))
    beside = layout.get("barmode", "group") == "group" and len(traces) > 1
    groups = list(dict.fromkeys(_group(trace, index) for index, trace in enumerate(traces)))
    breadth = room / len(groups) if beside else room
    heaps: dict[tuple[float, bool], float] = {}
    out = []
    for number, (trace, found) in enumerate(zip(traces, placed, strict=True)):
        first = -room / 2 + (groups.index(_group(trace, number)) * breadth if beside else 0.0)
        inner = breadth * _share(layout.get("bargroupgap"), 0.0) / 2
        row = []
        for index, at, length in found:
            own = as_number(each(trace.get("width"), index, None))
            shift = as_number(each(trace.get("offset"), index, None))
            start = at + (shift if shift is not None else first + inner if own is None else -own / 2)
            base = as_number(each(trace.get("base"), index, None)) or 0.0
            if stacked(traces, layout):
                base = heaps.get((at, length < 0), base)
                heaps[(at, length < 0)] = base + length
            row.append(
                Bar(index, start, start + (breadth - 2 * inner if own is None else own), base, base + length)
            )
        out.append(row)
    return out


def _group(trace: Trace, index: int) -> Any:
    return trace.get("offsetgroup") or index


def _share(given: Any, otherwise: float) -> float:
    known = as_number(given)
    return otherwise if known is None else known


def _placed(trace: Trace, x: Axis, y: Axis) -> list[tuple[int, float, float]]:
    flat = is_flat(trace)
    axis, values = (y, trace.get("y")) if flat else (x, trace.get("x"))
    lengths = trace.get("x" if flat else "y") or []
    found = []
    for index, length in enumerate(lengths):
        at = axis.measure(values[index]) if values is not None and index < len(values) else float(index)
        known = as_number(length)
        if at is not None and known is not None:
            found.append((index, at, known))
    return found


def _room(places: Iterator[float]) -> float:
    """The least distance between two bars' places."""
    ordered = sorted(set(places))
    return min((right - left for left, right in pairwise(ordered)), default=1.0)


def draw_bars(
    trace: Trace, found: Sequence[Bar], x: Axis, y: Axis, tint: str, font: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """The bars of a trace, and their texts."""
    marker = trace.get("marker") or {}
    edge = marker.get("line") or {}
    shapes, texts = [], []
    for bar in found:
        sides, ends = _edges(trace, bar, x, y)
        if sides is None or ends is None:
            continue
        (left, right), (top, bottom) = (ends, sides) if is_flat(trace) else (sides, ends)
        fill = svg.color(each(marker.get("color"), bar.place, None), tint)
        rim = each(edge.get("width"), bar.place, 0) or None
        seen = as_number(each(marker.get("opacity"), bar.place, 1))
        box = _box(left, right, top, bottom)
        shapes.append(
            svg.tag(
                "rect", class_="bar", **box, fill=fill, opacity=None if seen in (1, None) else f"{seen:.3g}",
                stroke=svg.color(each(edge.get("color"), bar.place, None), fill) if rim else None,
                stroke_width=rim,
            )
        )  # fmt: skip
        shapes += hatched(marker, bar.place, box)
        texts += _text(trace, bar, (left, right, top, bottom), font)
    return shapes, texts


def hatched(marker: Mapping[str, Any], index: int, box: Mapping[str, float]) -> list[str]:
    """The strokes over a bar that has a pattern."""
    pattern = marker.get("pattern") or {}
    strokes = _HATCHES.get(str(each(pattern.get("shape"), index, "")), ())
    if not strokes or box["width"] * box["height"] == 0:
        return []
    across, down = box["width"], box["height"]
    step = max(float(each(pattern.get("size"), index, 8)), 3.0, (across + down) / 200)
    points: list[tuple[float, float] | None] = []
    for stroke in strokes:
        for number in range(int((across + down) / step) + 1):
            away = number * step
            ends = {
                "/": ((away, 0.0), (away - down, down)),
                "\\": ((away - down, 0.0), (away, down)),
                "-": ((0.0, away), (across, away)),
                "|": ((away, 0.0), (away, down)),
            }[stroke]
            points += [*((box["x"] + x, box["y"] + y) for x, y in ends), None]
    stroke = svg.color(each(pattern.get("fgcolor"), index, None), _CONTRAST)
    path = svg.tag("path", class_="hatch", d=svg.drawn(points), stroke=stroke, stroke_width=1.5, fill="none")
    return [svg.clipped(box["x"], box["y"], across, down, path)]


def _edges(
    trace: Trace, bar: Bar, x: Axis, y: Axis
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    along, across = (x, y) if is_flat(trace) else (y, x)
    base = along.start if along.kind == "log" and bar.base <= 0 else along.place(bar.base)
    top = along.place(bar.top)
    low, high = across.at(bar.side), across.at(bar.side_end)
    ends = None if base is None or top is None else (base, top)
    return None if low is None or high is None else (low, high), ends


def _box(x0: float, x1: float, y0: float, y1: float) -> dict[str, float]:
    return {"x": min(x0, x1), "y": min(y0, y1), "width": abs(x1 - x0), "height": abs(y1 - y0)}


def _text(
    trace: Trace, bar: Bar, box: tuple[float, float, float, float], font: Mapping[str, Any]
) -> list[str]:
    text, place = each(trace.get("text"), bar.place, ""), each(trace.get("textposition"), bar.place, "auto")
    if text == "" or place == "none":
        return []
    left, right, top, bottom = box
    own = trace.get("textfont") or {}
    size = float(own.get("size") or font.get("size") or 12)
    flat = is_flat(trace)
    room = (
        abs(right - left) - 4 - svg.width(text, size) if flat else abs(bottom - top) - svg.height(text, size)
    )
    within = place == "inside" or (place == "auto" and room > 0)
    fill = svg.color(own.get("color"), "#ffffff" if within else svg.color(font.get("color")))
    if within and room < 0:
        return []
    if flat:
        at, across = (right - 4, "end") if within else (right + 4, "start")
        return [svg.label(text, at, (top + bottom) / 2, size=size, fill=fill, across=across)]
    at, down = (bottom + 3, "top") if within else (bottom - 3, "bottom")
    return [svg.label(text, (left + right) / 2, at, size=size, fill=fill, down=down)]


def edges(values: Sequence[Any] | None, count: int, axis: Axis) -> list[float | None]:
    """The bounds of `count` cells in an axis's measure: half-way between their middles, if not given.

    >>> edges([1, 2, 4], 3, Axis("x", "linear", {}, 0, 1))
    [0.5, 1.5, 3.0, 5.0]
    """
    at = [axis.measure(value) for value in (range(count) if values is None else values)]
    if len(at) == count + 1:
        return at
    known = [place for place in at[:count] if place is not None]
    if len(known) < count or not known:
        return [None] * (count + 1)
    if count == 1:
        return [known[0] - 0.5, known[0] + 0.5]
    between: list[float | None] = [(left + right) / 2 for left, right in pairwise(known)]
    return [1.5 * known[0] - known[1] / 2, *between, 1.5 * known[-1] - known[-2] / 2]


def heat(trace: Trace, scale: Mapping[str, Any], x: Axis, y: Axis) -> list[str]:
    """The cells of a heat map: one path for each shade, neighbours in a row drawn as one."""
    rows = trace.get("z") or []
    count = max((len(row) for row in rows), default=0)
    if not count or count * len(rows) > _CELLS:
        return []
    across = [x.at(edge) for edge in edges(trace.get("x"), count, x)]
    down = [y.at(edge) for edge in edges(trace.get("y"), len(rows), y)]
    low, high = bounds(trace, scale)
    shades: dict[int, list[str]] = {}
    for number, row in enumerate(rows):
        top, bottom = down[number], down[number + 1]
        if top is None or bottom is None:
            continue
        for first, last, shade in _runs(row, low, high):
            left, right = across[first], across[last]
            if left is not None and right is not None:
                path = f"M{svg.number(left)} {svg.number(top)}H{svg.number(right)}V{svg.number(bottom)}"
                shades.setdefault(shade, []).append(f"{path}H{svg.number(left)}Z")
    colors = shading(scale.get("colorscale"), bool(scale.get("reversescale")))
    return [
        svg.tag("path", class_="cells", d="".join(paths), fill=colors[shade], shape_rendering="crispEdges")
        for shade, paths in sorted(shades.items())
    ]


def bounds(trace: Trace, scale: Mapping[str, Any]) -> tuple[float, float]:
    """The lowest and the highest number that a heat map tells apart."""
    known = [
        found for row in trace.get("z") or [] for value in row if (found := as_number(value)) is not None
    ]
    given = [as_number(scale.get(name, scale.get(f"c{name[1:]}"))) for name in ("zmin", "zmax")]
    low = min(known, default=0.0) if given[0] is None else given[0]
    return low, max(known, default=1.0) if given[1] is None else given[1]


def _runs(row: Sequence[Any], low: float, high: float) -> Iterator[tuple[int, int, int]]:
    """From which cell to which a row has one shade; cells that are unknown have none."""
    before, begin = None, 0
    for index, value in enumerate([*row, None]):
        known = as_number(value)
        shade = None if known is None else _shade(known, low, high)
        if shade != before:
            if before is not None:
                yield begin, index, before
            before, begin = shade, index


def _shade(value: float, low: float, high: float) -> int:
    share = (value - low) / (high - low) if high > low else 0.5
    return round(max(0.0, min(1.0, share)) * (_SHADES - 1))


def shading(given: Any, turned: bool = False) -> list[str]:
    """A colour scale as a list of colours, from the lowest to the highest.

    >>> shading([[0, "#000000"], [1, "#ffffff"]])[::23]
    ['rgb(0,0,0)', 'rgb(255,255,255)']
    """
    stops = [(float(at), _channels(tint)) for at, tint in given] if isinstance(given, list) and given else []
    if len(stops) < 2 or any(channels is None for _, channels in stops):
        stops = [(at, _channels(tint)) for at, tint in _RAMP]
    out = [_between(stops, step / (_SHADES - 1)) for step in range(_SHADES)]
    return out[::-1] if turned else out


def _channels(tint: Any) -> list[float] | None:
    """Red, green and blue of 255, and how opaque of 1."""
    if isinstance(tint, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", tint):
        return [*(float(int(tint[at : at + 2], 16)) for at in (1, 3, 5)), 1.0]
    found = [float(part) for part in _NUMBERS.findall(tint)] if str(tint).startswith("rgb") else []
    return [*found, 1.0][:4] if len(found) >= 3 else None


def _between(stops: Sequence[tuple[float, Any]], share: float) -> str:
    later = next((index for index, stop in enumerate(stops) if stop[0] >= share and index), len(stops) - 1)
    (start, low), (end, high) = stops[later - 1], stops[later]
    part = max(0.0, min(1.0, (share - start) / (end - start))) if end > start else 1.0
    red, green, blue, opaque = (a + part * (b - a) for a, b in zip(low, high, strict=True))
    body = f"{red:.0f},{green:.0f},{blue:.0f}"
    return f"rgb({body})" if opaque >= 1 else f"rgba({body},{opaque:.2f})"
