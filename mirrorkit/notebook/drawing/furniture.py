"""What stands around and over the panels of a picture: titles, shapes, annotations."""

from collections.abc import Mapping, Sequence
from typing import Any

from mirrorkit.notebook.drawing import svg
from mirrorkit.notebook.drawing.marks import dashes
from mirrorkit.notebook.drawing.panel import Page
from mirrorkit.notebook.drawing.scales import Axis, as_number

Layout = Mapping[str, Any]


def font(layout: Layout, own: Any = None) -> dict[str, Any]:
    """The size and colour of a text: its own, or the figure's."""
    base = layout.get("font") or {}
    said = own if isinstance(own, Mapping) else {}
    return {
        "size": float(said.get("size") or base.get("size") or 12),
        "fill": svg.color(said.get("color"), svg.color(base.get("color"), "#444444")),
    }


def title(layout: Layout, page: Page) -> list[str]:
    """The figure's title and subtitle."""
    said = layout.get("title") or {}
    said = said if isinstance(said, Mapping) else {"text": said}
    if not said.get("text"):
        return []
    share = as_number(said.get("x"))
    share = 0.5 if share is None else share
    pad = said.get("pad") or {}
    whole = said.get("xref", "container") == "container"
    x = (
        (share * page.width if whole else page.across(share))
        + float(pad.get("l") or 0)
        - float(pad.get("r") or 0)
    )
    anchor = said.get("xanchor")
    across = {"left": "start", "center": "middle", "right": "end"}.get(
        str(anchor), "start" if share < 1 / 3 else "middle" if share < 2 / 3 else "end"
    )
    look = font(layout, {"size": 17, **(said.get("font") or {})})
    top = _title_top(said, page, look["size"]) + float(pad.get("t") or 0)
    out = [svg.label(said["text"], x, top, across=across, down="top", **look)]
    below = said.get("subtitle") or {}
    if below.get("text"):
        at = top + svg.height(said["text"], look["size"]) + 2
        out.append(
            svg.label(below["text"], x, at, across=across, down="top", **font(layout, below.get("font")))
        )
    return out


def _title_top(said: Mapping[str, Any], page: Page, size: float) -> float:
    height = as_number(said.get("y"))
    if height is None:
        return max(8.0, page.top / 2 - size)
    return (
        (1 - height) * page.height if said.get("yref", "container") == "container" else page.up(height) - size
    )


def shapes(layout: Layout, axes: Mapping[str, Axis], page: Page, layer: str) -> list[str]:
    """The lines and rectangles that the figure draws `below` or `above` its marks."""
    out = []
    for shape in layout.get("shapes") or ():
        if shape.get("visible") is False or (shape.get("layer") or "above") != layer:
            continue
        ends = [_of_shape(shape, axes, page, letter, end) for letter in "xy" for end in "01"]
        if None not in ends:
            out += _shape(shape, [end for end in ends if end is not None], layout)
    return out


def _of_shape(
    shape: Mapping[str, Any], axes: Mapping[str, Axis], page: Page, letter: str, end: str
) -> float | None:
    value, ref = shape.get(f"{letter}{end}"), str(shape.get(f"{letter}ref") or letter)
    place, axis = _at(value, ref, axes, page, letter, measured=False), axes.get(ref)
    if place is None or axis is None:
        return place
    # what is drawn on an axis ends where the panel does
    first, last = sorted((axis.start, axis.end))
    return min(max(place, first), last)


def _at(
    value: Any, ref: str, axes: Mapping[str, Axis], page: Page, letter: str, *, measured: bool
) -> float | None:
    """A place on the page: a share of the panels or of one panel, or a value on an axis."""
    share = as_number(value)
    if ref == "paper":
        return None if share is None else page.across(share) if letter == "x" else page.up(share)
    name, _, domain = ref.partition(" ")
    axis = axes.get(name)
    if axis is None:
        return None
    if domain:
        return None if share is None else axis.start + share * (axis.end - axis.start)
    if measured and axis.kind == "log":  # an annotation's place on a log axis is a power of ten
        return axis.at(share)
    return axis.place(value)


def _shape(shape: Mapping[str, Any], ends: Sequence[float], layout: Layout) -> list[str]:
    x0, x1, y0, y1 = ends
    line = shape.get("line") or {}
    wide = as_number(line.get("width"))
    wide = 2.0 if wide is None else wide
    seen = as_number(shape.get("opacity"))
    look = {
        "class_": "shape",
        "stroke": svg.color(line.get("color"), "#444444") if wide else None,
        "stroke_width": wide or None,
        "stroke_dasharray": dashes(line.get("dash"), wide),
        "opacity": None if seen in (None, 1) else f"{seen:.3g}",
    }
    box = {"x": min(x0, x1), "y": min(y0, y1), "width": abs(x1 - x0), "height": abs(y1 - y0)}
    fill = svg.color(shape.get("fillcolor"), "none")
    kind = shape.get("type")
    out = []
    if kind == "line":
        out.append(svg.tag("line", x1=x0, x2=x1, y1=y0, y2=y1, **look))
    elif kind == "rect":
        out.append(svg.tag("rect", **box, fill=fill, **look))
    elif kind == "circle":
        half = {"rx": box["width"] / 2, "ry": box["height"] / 2}
        out.append(svg.tag("ellipse", cx=(x0 + x1) / 2, cy=(y0 + y1) / 2, **half, fill=fill, **look))
    told = (shape.get("label") or {}).get("text")
    if told:
        own = font(layout, (shape.get("label") or {}).get("font"))
        out.append(svg.label(told, (x0 + x1) / 2, (y0 + y1) / 2 - 3, down="bottom", **own))
    return out


def annotations(layout: Layout, axes: Mapping[str, Axis], page: Page) -> list[str]:
    """The figure's texts at places of their own, and the arrows from them."""
    out = []
    for note in layout.get("annotations") or ():
        refs = [str(note.get(f"{letter}ref") or letter) for letter in "xy"]
        places = [
            _at(note.get(letter), ref, axes, page, letter, measured=True)
            for letter, ref in zip("xy", refs, strict=True)
        ]
        x, y = places
        if x is None or y is None or note.get("visible") is False:
            continue
        x, y = x + float(note.get("xshift") or 0), y - float(note.get("yshift") or 0)
        out += _note(note, x, y, refs, layout)
    return out


def _note(note: Mapping[str, Any], x: float, y: float, refs: Sequence[str], layout: Layout) -> list[str]:
    look = font(layout, note.get("font"))
    arrow = note.get("showarrow", True)
    out = []
    if arrow:
        ax, ay = as_number(note.get("ax")), as_number(note.get("ay"))
        far = (x + (-10 if ax is None else ax), y + (-30 if ay is None else ay))
        color = svg.color(note.get("arrowcolor"), look["fill"])
        wide = as_number(note.get("arrowwidth")) or 1.0
        out.append(
            svg.tag("line", class_="arrow", x1=x, y1=y, x2=far[0], y2=far[1], stroke=color, stroke_width=wide)
        )
        lift = 0.7 * look["size"]  # the arrow ends where the text begins
        x, y = far[0], far[1] + (lift if far[1] > y else -lift)
    across = _anchor(note.get("xanchor"), note.get("x"), refs[0], bool(arrow), ("left", "center", "right"))
    down = _anchor(note.get("yanchor"), note.get("y"), refs[1], bool(arrow), ("bottom", "middle", "top"))
    wide, high = svg.width(note.get("text"), look["size"]), svg.height(note.get("text"), look["size"])
    ground = svg.color(note.get("bgcolor"), "none")
    if ground != "none":
        left = x - wide * {"left": 0, "center": 0.5, "right": 1}[across] - 3
        top = y - high * {"top": 0, "middle": 0.5, "bottom": 1}[down]
        out.append(svg.tag("rect", x=left, y=top, width=wide + 6, height=high, fill=ground))
    anchor = {"left": "start", "center": "middle", "right": "end"}[across]
    turn = as_number(note.get("textangle")) or 0.0
    return [*out, svg.label(note.get("text"), x, y, across=anchor, down=down, turn=turn, **look)]


def _anchor(given: Any, value: Any, ref: str, arrow: bool, thirds: tuple[str, str, str]) -> str:
    """As Plotly chooses: the middle, but for a text at the figure's edge that of the edge."""
    if given in thirds:
        return str(given)
    share = as_number(value)
    if arrow or share is None or not (ref == "paper" or ref.endswith("domain")):
        return thirds[1]
    return thirds[0] if share <= 1 / 3 else thirds[1] if share < 2 / 3 else thirds[2]
