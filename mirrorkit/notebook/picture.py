"""A figure as a picture that needs no script, no browser and no network: SVG, drawn from its numbers.

Code hosts show it, nbconvert keeps it, and a reader without JavaScript sees it. It holds what the figures of
this package use of Plotly; what it cannot draw it names, in a line under the picture.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mirrorkit.notebook import theme
from mirrorkit.notebook.drawing import blocks, furniture, legend, marks, panel, svg
from mirrorkit.notebook.drawing.panel import KNOWN, Page, on
from mirrorkit.notebook.drawing.reading import read
from mirrorkit.notebook.drawing.scales import Axis, as_number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

WIDTH = 980
"""How wide a picture is whose figure does not say, in pixels; it shrinks with the page."""

_HEIGHT = 450
_COLORWAY = (
    "#1f77b4",
    "#ff7f0e",
    "#2ca02c",
    "#d62728",
    "#9467bd",
    "#8c564b",
    "#e377c2",
    "#7f7f7f",
    "#bcbd22",
)

Layers = dict[tuple[str, str], list[str]]
"""What is drawn in each panel, by the names of its axes."""


def picture(figure: "Figure", width: float | None = None) -> str:
    """The figure as SVG text, `width` pixels wide; its own width or 980 if not said.

    Texts that came with the data are escaped, and colours are colours only, so that nothing in it runs or is
    fetched. A kind of trace that is not known, or a heat map whose `z` has no rows, is left out, and the
    picture says so.

    >>> from plotly.graph_objects import Figure
    >>> seen = picture(Figure({"data": [{"y": [1, 2, 4], "mode": "markers"}, {"type": "pie"}]}))
    >>> seen.count('class="point"'), "not in this picture: pie" in seen
    (3, True)
    """
    traces, layout = read(figure)
    wide = width or as_number(layout.get("width")) or WIDTH
    high = as_number(layout.get("height")) or _HEIGHT
    tinted = list(zip(traces, _tints(traces, layout), strict=True))
    known = [(trace, tint) for trace, tint in tinted if trace["type"] in KNOWN]
    named = legend.entries(known, layout)
    bare = panel.axes(traces, layout)
    aside, foot = legend.beside(named, layout), legend.below(named, layout, 0.85 * wide)
    page = panel.page(bare, layout, (wide, high), beside=aside, below=foot)
    axes = panel.placed(bare, page)
    return svg.tag(
        "svg",
        *_ground(layout, axes, page),
        *_panels(known, layout, axes, page),
        *furniture.shapes(layout, axes, page, "above"),
        *furniture.annotations(layout, axes, page),
        *furniture.title(layout, page),
        *legend.legend(named, layout, page),
        *_left_out(traces, page),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {svg.number(wide)} {svg.number(high)}",
        width=wide,
        height=high,
        role="img",
        aria_label=" ".join(svg.lines(_title(layout))),
        font_family=theme.FONT,
        style="max-width: 100%; height: auto",
    )


def _title(layout: Mapping[str, Any]) -> str:
    said = layout.get("title")
    return str((said.get("text") if isinstance(said, Mapping) else said) or "chart")


def _tints(traces: Sequence[marks.Trace], layout: Mapping[str, Any]) -> list[str]:
    """The colour of each trace that has none of its own."""
    colors = [svg.color(color) for color in layout.get("colorway") or _COLORWAY]
    return [colors[index % len(colors)] for index in range(len(traces))]


def _ground(layout: Mapping[str, Any], axes: Mapping[str, Axis], page: Page) -> list[str]:
    """What lies under everything: the paper, and the ground of each panel."""
    paper = svg.color(layout.get("paper_bgcolor"), "#ffffff")
    out = [svg.tag("rect", width=page.width, height=page.height, fill=paper)] if _is_seen(paper) else []
    ground = svg.color(layout.get("plot_bgcolor"), "#ffffff")
    if _is_seen(ground):
        for x in (axis for axis in axes.values() if axis.is_x):
            y = axes.get(str(x.look.get("anchor") or "y"))
            if y is not None:
                box = {"x": x.start, "y": y.end, "width": x.end - x.start, "height": y.start - y.end}
                out.append(svg.tag("rect", **box, fill=ground))
    return out


def _is_seen(color: str) -> bool:
    return color != theme.CLEAR and color not in ("transparent", "rgba(0,0,0,0)")


def _panels(
    known: Sequence[legend.Entry], layout: Mapping[str, Any], axes: Mapping[str, Axis], page: Page
) -> list[str]:
    frames = [panel.frame(axis, axes, layout, page) for axis in axes.values()]
    under, over, keys = _drawn(known, layout, axes)
    out = [*furniture.shapes(layout, axes, page, "below"), *(part for below, _ in frames for part in below)]
    for key in keys:
        x, y = axes[key[0]], axes[key[1]]
        out.append(svg.clipped(x.start, y.end, x.end - x.start, y.start - y.end, *under.get(key, ())))
    out += [part for _, above in frames for part in above]
    out += [part for key in keys for part in over.get(key, ())]
    bars = [trace for trace, _ in known if trace["type"] == "heatmap"]
    seen = [legend.color_bar(trace, _scale(trace, layout), layout, page) for trace in bars]
    return [*out, *(part for each in seen for part in each)]


def _drawn(
    known: Sequence[legend.Entry], layout: Mapping[str, Any], axes: Mapping[str, Axis]
) -> tuple[Layers, Layers, list[tuple[str, str]]]:
    """Each panel's marks: those that end at its edges, and those that may reach beyond."""
    within: Layers = {}
    beyond: Layers = {}
    font = layout.get("font") or {}
    rests: dict[tuple[str, str], list[marks.Point | None]] = {}
    placed = _bars(known, layout, axes)
    for index, (trace, tint) in sorted(enumerate(known), key=lambda one: KNOWN.index(one[1][0]["type"])):
        key = (on(trace, "x"), on(trace, "y"))
        x, y = axes[key[0]], axes[key[1]]
        over: list[str] = []
        if trace["type"] == "heatmap":
            under = blocks.heat(trace, _scale(trace, layout), x, y)
        elif trace["type"] == "bar":
            under, over = blocks.draw_bars(trace, placed[index], x, y, tint, font)
        else:
            under, over, rests[key] = marks.scatter(trace, x, y, tint, font, rests.get(key, ()))
        free = trace.get("cliponaxis") is False or trace["type"] == "bar"
        within.setdefault(key, []).extend(_group(trace, under if free else [*under, *over]))
        beyond.setdefault(key, []).extend(_group(trace, over if free else []))
    return within, beyond, list(within)


def _group(trace: marks.Trace, parts: Sequence[str]) -> list[str]:
    seen = as_number(trace.get("opacity"))
    opacity = None if seen in (None, 1) else f"{seen:.3g}"
    return [svg.tag("g", *parts, class_=f"trace {trace['type']}", opacity=opacity)] if parts else []


def _bars(
    known: Sequence[legend.Entry], layout: Mapping[str, Any], axes: Mapping[str, Axis]
) -> dict[int, list[blocks.Bar]]:
    """Where the bars of each trace are, which depends on the other bars of its panel."""
    beside: dict[tuple[str, str, bool], list[int]] = {}
    for index, (trace, _) in enumerate(known):
        if trace["type"] == "bar":
            beside.setdefault((on(trace, "x"), on(trace, "y"), blocks.is_flat(trace)), []).append(index)
    out: dict[int, list[blocks.Bar]] = {}
    for (x, y, _), indices in beside.items():
        found = blocks.bars([known[index][0] for index in indices], layout, axes[x], axes[y])
        out.update(zip(indices, found, strict=True))
    return out


def _scale(trace: marks.Trace, layout: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a heat map's colours are said: with itself, or for several together."""
    shared = trace.get("coloraxis")
    return layout.get(str(shared)) or {} if shared else trace


def _left_out(traces: Sequence[marks.Trace], page: Page) -> list[str]:
    unknown = sorted({str(trace["type"]) for trace in traces} - set(KNOWN))
    if not unknown:
        return []
    told = f"not in this picture: {', '.join(unknown)}"
    return [svg.label(told, page.width - 8, page.height - 4, size=11, across="end", down="bottom")]
