"""The panels of a picture: each axis where it belongs, with its grid, its ticks and its title."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mirrorkit.notebook.drawing import svg
from mirrorkit.notebook.drawing.blocks import bars, edges, is_flat
from mirrorkit.notebook.drawing.marks import Trace, coordinates, mode
from mirrorkit.notebook.drawing.scales import Axis, as_number, axis
from mirrorkit.notebook.drawing.ticks import Tick, ticks

_AXIS = re.compile(r"[xy]axis\d*")
_TICK_PX = 5
_GAP_PX = 4
KNOWN = ("heatmap", "bar", "scatter")
"""The traces that a picture draws, from the lowest to the uppermost."""


@dataclass(frozen=True, slots=True)
class Page:
    """How large the picture is, and how far in its panels begin, in pixels."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float

    def across(self, share: float) -> float:
        """Where a share of the way from the panels' left to their right is."""
        return self.left + share * (self.width - self.left - self.right)

    def up(self, share: float) -> float:
        """Where a share of the way from the panels' bottom to their top is."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


def on(trace: Trace, letter: str) -> str:
    """The name of a trace's axis."""
    return str(trace.get(f"{letter}axis") or letter)


def axes(traces: Sequence[Trace], layout: Mapping[str, Any]) -> dict[str, Axis]:
    """Every axis of a figure by its name, not yet placed on the page."""
    names = {key.replace("axis", "") for key in layout if _AXIS.fullmatch(key)}
    drawn = [trace for trace in traces if trace["type"] in KNOWN]
    names |= {on(trace, letter) for trace in drawn for letter in "xy"}
    looks = {name: layout.get(f"{name[0]}axis{name[1:]}") or {} for name in sorted(names)}
    return {name: _axis(name, looks, drawn, layout) for name in looks}


def _axis(
    name: str, looks: Mapping[str, Mapping[str, Any]], traces: Sequence[Trace], layout: Mapping[str, Any]
) -> Axis:
    leader = str(looks[name].get("matches") or name)
    look = {**{key: looks.get(leader, {}).get(key) for key in ("type", "range")}, **looks[name]}
    fellows = {other for other, said in looks.items() if other == leader or said.get("matches") == leader}
    mine = [trace for trace in traces if on(trace, name[0]) in fellows | {name}]
    bare = axis(name, look, [value for trace in mine for value in _values(trace, name[0])])
    also = [place for trace in mine for place in _beyond(trace, bare)]
    also += _of_bars(mine, layout, bare)
    also += [place for shape in layout.get("shapes") or () for place in _of_shape(shape, bare)]
    kinds = {trace["type"] for trace in mine}
    tight = kinds <= {"heatmap"} or (
        name[0] == "x"
        and all(t["type"] == "heatmap" or mode(t) == "lines" for t in mine if t["type"] != "bar")
    )
    lengthwise = any(t["type"] == "bar" and is_flat(t) == (name[0] == "x") for t in mine)
    filled = any(str(t.get("fill")) == f"tozero{name[0]}" for t in mine)
    return axis(
        name, look, [value for trace in mine for value in _values(trace, name[0])],
        also=also, tight=tight and not lengthwise, from_zero=lengthwise or filled,
    )  # fmt: skip


def _values(trace: Trace, letter: str) -> Sequence[Any]:
    if trace["type"] == "scatter":
        return coordinates(trace)["xy".index(letter)]
    if trace["type"] == "bar":
        given = trace.get(letter)
        return range(len(trace.get("y" if letter == "x" else "x") or ())) if given is None else given
    return trace.get(letter) or ()


def _beyond(trace: Trace, bare: Axis) -> list[float]:
    """The outer edges of a heat map's cells."""
    if trace["type"] != "heatmap":
        return []
    rows = trace.get("z") or []
    count = max((len(row) for row in rows), default=0) if bare.is_x else len(rows)
    return [edge for edge in edges(trace.get(bare.name[0]), count, bare) if edge is not None]


def _of_bars(traces: Sequence[Trace], layout: Mapping[str, Any], bare: Axis) -> list[float]:
    """The sides of bars, or the ends of those that stand on one another."""
    shown = [trace for trace in traces if trace["type"] == "bar"]
    if not shown or bare.kind == "log":
        return []
    lying = [trace for trace in shown if is_flat(trace) == bare.is_x]
    out = []
    if lying:  # its lengths lie along this axis; where its places are does not matter
        other = axis(
            "y" if bare.is_x else "x", {}, [v for t in lying for v in _values(t, "y" if bare.is_x else "x")]
        )
        pair = (bare, other) if bare.is_x else (other, bare)
        out += [end for found in bars(lying, layout, *pair) for bar in found for end in (bar.base, bar.top)]
    standing = [trace for trace in shown if trace not in lying]
    if standing and bare.kind != "category":
        other = axis("y" if bare.is_x else "x", {}, [])
        pair = (bare, other) if bare.is_x else (other, bare)
        out += [
            end
            for found in bars(standing, layout, *pair)
            for bar in found
            for end in (bar.side, bar.side_end)
        ]
    return out


def _of_shape(shape: Mapping[str, Any], bare: Axis) -> list[float]:
    letter = bare.name[0]
    if shape.get(f"{letter}ref", letter) != bare.name:
        return []
    return [at for end in "01" if (at := bare.measure(shape.get(f"{letter}{end}"))) is not None]


def placed(every: Mapping[str, Axis], page: Page) -> dict[str, Axis]:
    """The axes where they lie on the page."""
    out = {}
    for name, each in every.items():
        host = every.get(str(each.look.get("overlaying")), each)
        low, high = host.look.get("domain") or (0, 1)
        to_page = page.across if each.is_x else page.up
        out[name] = each.placed(to_page(low), to_page(high))
    return out


def page(
    every: Mapping[str, Axis],
    layout: Mapping[str, Any],
    size: tuple[float, float],
    *,
    beside: float = 0.0,
    below: float = 0.0,
) -> Page:
    """The page of a size, its margins as wide as the labels of the axes need.

    `beside` and `below` are what the legend takes at the right and at the foot, in pixels.
    """
    width, height = size
    said = layout.get("margin") or {}
    margin = [as_number(said.get(key)) for key in ("l", "r", "t", "b")]
    left, right, top, bottom = (
        otherwise if given is None else given
        for given, otherwise in zip(margin, (80, 80, 100, 80), strict=True)
    )
    right = max(right, beside)
    first = Page(width, height, left, right, top, bottom)
    for each in placed(every, first).values():
        if each.look.get("visible") is False or not each.look.get("automargin"):
            continue
        need, share = depth(each, layout), _where(each, every)
        if each.is_x:
            right = max(right, _overhang(each, layout, width - right))
            bottom = max(bottom, need + below) if share == 0 else bottom
        elif not each.is_x and share == 0:
            left = max(left, need)
        elif not each.is_x and share == 1:
            right = max(right, need)
    return Page(width, height, left, min(right, width / 2), top, bottom)


def _overhang(each: Axis, layout: Mapping[str, Any], edge: float) -> float:
    """How far the last label of an axis reaches beyond the panels' right edge."""
    size = _size(each, layout, "ticks")
    ends = [
        (each.at(tick.at) or 0) + svg.width(tick.text, size) / 2 for tick in ticks(each, size) if tick.text
    ]
    return max(ends, default=0.0) + 2 - edge


def _where(each: Axis, every: Mapping[str, Axis]) -> float:
    """Where an axis crosses the page, as a share of it: at the start or end of the axis it is anchored to."""
    anchor = str(each.look.get("anchor") or ("y" if each.is_x else "x"))
    if anchor == "free" or anchor not in every:
        return float(each.look.get("position") or 0)
    domain = every[anchor].look.get("domain") or (0, 1)
    return float(domain[each.look.get("side") in ("right", "top")])


def _size(each: Axis, layout: Mapping[str, Any], what: str) -> float:
    own = (each.look.get("title") or {}).get("font") if what == "title" else each.look.get("tickfont")
    return float((own or {}).get("size") or (layout.get("font") or {}).get("size") or 12)


def _reach(each: Axis, found: Sequence[Tick], layout: Mapping[str, Any]) -> float:
    """How far the tick labels reach out from the axis."""
    size = _size(each, layout, "ticks")
    measure = svg.height if each.is_x else svg.width
    widest = max((measure(tick.text, size) for tick in found if tick.text), default=0.0)
    widest -= 0.3 * size * (each.is_x and widest > 0)  # the last line has none below it
    return widest + (_TICK_PX if each.look.get("ticks") == "outside" else 0) + (_GAP_PX if widest else 0)


def _title(each: Axis) -> tuple[str, float]:
    said = each.look.get("title") or {}
    said = said if isinstance(said, Mapping) else {"text": said}
    standoff = as_number(said.get("standoff"))
    return str(said.get("text") or ""), 10.0 if standoff is None else standoff


def depth(each: Axis, layout: Mapping[str, Any]) -> float:
    """How much room an axis takes at the panel's side, its labels and its title, in pixels."""
    reach = _reach(each, ticks(each, _size(each, layout, "ticks")), layout)
    text, standoff = _title(each)
    return reach + (standoff + svg.height(text, _size(each, layout, "title")) + 4 if text else 0)


def frame(
    each: Axis, every: Mapping[str, Axis], layout: Mapping[str, Any], page: Page
) -> tuple[list[str], list[str]]:
    """What of an axis lies under the marks, its grid, and what lies over them: line, ticks, labels, title."""
    if each.look.get("visible") is False:
        return [], []
    tick_size = _size(each, layout, "ticks")
    found = ticks(each, tick_size)
    share = _where(each, every)
    side = page.up(share) if each.is_x else page.across(share)
    outward = 1.0 if each.look.get("side") in (None, "bottom", "right") else -1.0
    if not each.is_x and each.look.get("side") is None:
        outward = -1.0
    other = _crossing(each, every)
    grid = [
        _rule(each, at, other, each.look, "grid", "#eee")
        for tick in found
        if (at := each.at(tick.at)) is not None
    ]
    under = grid if each.look.get("showgrid", not each.look.get("overlaying")) else []
    zero = each.at(0.0)
    if each.look.get("zeroline", True) and each.kind == "linear" and each.within(0.0) and zero is not None:
        under.append(_rule(each, zero, other, each.look, "zeroline", "#444"))
    over = _line(each, side)
    for tick in found:
        over += _tick(each, tick, side, outward, tick_size, layout)
    return under, over + _titled(each, side, outward, _reach(each, found, layout), layout)


def _crossing(each: Axis, every: Mapping[str, Axis]) -> tuple[float, float]:
    """From where to where its grid goes: along the axis it is anchored to."""
    fellow = every.get(str(each.look.get("anchor") or ("y" if each.is_x else "x")))
    return (0.0, 0.0) if fellow is None else (fellow.start, fellow.end)


def _rule(
    each: Axis, at: float, other: tuple[float, float], look: Mapping[str, Any], what: str, otherwise: str
) -> str:
    width = float(look.get(f"{what}width") or 1)
    ends = _ends(each, at, other)
    return svg.tag(
        "line", class_=what, **ends, stroke=svg.color(look.get(f"{what}color"), otherwise), stroke_width=width
    )


def _ends(each: Axis, at: float, other: tuple[float, float]) -> dict[str, float]:
    keys = ("x1", "x2", "y1", "y2") if each.is_x else ("y1", "y2", "x1", "x2")
    return dict(zip(keys, (at, at, *other), strict=True))


def _line(each: Axis, side: float) -> list[str]:
    if not each.look.get("showline"):
        return []
    keys = ("y1", "y2", "x1", "x2") if each.is_x else ("x1", "x2", "y1", "y2")
    ends = dict(zip(keys, (side, side, each.start, each.end), strict=True))
    return [svg.tag("line", class_="axis", **ends, stroke=svg.color(each.look.get("linecolor"), "#444"))]


def _tick(
    each: Axis, tick: Tick, side: float, outward: float, size: float, layout: Mapping[str, Any]
) -> list[str]:
    at = each.at(tick.at)
    if at is None:
        return []
    long = _TICK_PX if each.look.get("ticks") == "outside" else 0
    out = []
    if long:
        color = svg.color(each.look.get("tickcolor"), "#444")
        out.append(
            svg.tag("line", class_="tick", **_ends(each, at, (side, side + outward * long)), stroke=color)
        )
    if tick.text:
        away = side + outward * (long + _GAP_PX)
        fill = (each.look.get("tickfont") or {}).get("color") or (layout.get("font") or {}).get("color")
        look: dict[str, Any] = {"size": size, "fill": svg.color(fill)}
        if each.is_x:
            out.append(svg.label(tick.text, at, away, down="top" if outward > 0 else "bottom", **look))
        else:
            out.append(svg.label(tick.text, away, at, across="start" if outward > 0 else "end", **look))
    return out


def _titled(each: Axis, side: float, outward: float, reach: float, layout: Mapping[str, Any]) -> list[str]:
    text, standoff = _title(each)
    if not text:
        return []
    size = _size(each, layout, "title")
    said = each.look.get("title")
    own = (said.get("font") or {}).get("color") if isinstance(said, Mapping) else None
    fill = svg.color(own or (layout.get("font") or {}).get("color"))
    away, middle = side + outward * (reach + standoff), (each.start + each.end) / 2
    if each.is_x:
        return [svg.label(text, middle, away, size=size, fill=fill, down="top" if outward > 0 else "bottom")]
    # turned to read upwards, its lower edge is on the right
    down = "bottom" if outward < 0 else "top"
    return [svg.label(text, away, middle, size=size, fill=fill, down=down, turn=-90)]
