"""How every figure looks: colours, text, axes; and how names that came with the data get into one."""

import math
from collections.abc import Mapping, Sequence
from html import escape as escape_html
from html import unescape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mirrorkit.compare import wording

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Okabe and Ito's palette: told apart by colour-blind readers, at least 3:1 on white and on near-black.
PRIMARY = "#0072B2"
SILENT = "#D55E00"
CONTROL = "#009E73"

TEXT = "#777777"
GRID = "rgba(127, 127, 127, 0.22)"
CLEAR = "rgba(0, 0, 0, 0)"
NAMES = "names"
"""The trace of names that stand above what they name."""
At = tuple[int, int]
"""A panel's row and column, from 1."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"

PANEL_PX = 300
"""How high a panel is, unless told otherwise."""
_ABOVE_PX = 112
_BELOW_PX = 100
_GAP_PX = 125
_LINE_PX = 18
_NARROW_PX = 600
_SWATCH_PX = 45
_LETTER_PX = 7.5
_LEGEND_LINE_PX = 20
_LEGEND_LINES = 2
"""Lines of a legend that have room without more."""
_STEPS = ((0.5, (1, 1.5, 2, 3, 4, 5, 7)), (1.2, (1, 2, 5)), (2.4, (1, 3)))
"""Ticks in a decade where an axis shows so many decades, which a narrow panel has room for."""
_DECADES = 6
"""The most decades that have a tick."""
_LINE = 88
"""Characters of a subtitle's line."""


def escape(text: str | None, limit: int = 40) -> str:
    """A text that came with the data, so that Plotly draws it and runs nothing in it.

    Plotly reads some HTML in texts, and a pair of dollar signs as mathematics where MathJax is loaded.

    >>> escape('<a href="x">gpt</a>'), escape("$x$"), escape("a\\nb")
    ('&lt;a href=&quot;x&quot;&gt;gpt&lt;/a&gt;', '&#36;x&#36;', 'a�b')
    """
    return escape_html(wording.name(text, limit)).replace("$", "&#36;")


def lines(text: str, most: int = 4) -> str:
    """A sentence from the data, cut into at most `most` lines that fit a narrow figure; escaped.

    >>> lines("word " * 40, most=2)[-8:], lines("a < b")
    ('word […]', 'a &lt; b')
    """
    cut = wrap(wording.name(text, 1_000), _LINE, max_lines=most, placeholder=" […]")
    return "<br>".join(escape(line, 2 * _LINE) for line in cut)


def places(count: int, *, top: bool = False, columns: int = 2) -> list[At]:
    """Where `count` panels are: row and column from 1, `columns` in a row, the first alone in it if `top`.

    >>> places(3), places(3, top=True)
    ([(1, 1), (1, 2), (2, 1)], [(1, 1), (2, 1), (2, 2)])
    """
    alone = [(1, 1)] * top
    rest = count - len(alone)
    return alone + [(len(alone) + 1 + number // columns, 1 + number % columns) for number in range(rest)]


def grid(
    panels: Sequence[str],
    *,
    title: str,
    subtitle: str,
    top_px: int = 0,
    columns: int = 2,
    panel_px: int = PANEL_PX,
) -> "Figure":
    """An empty figure with one panel per title in `panels`, where `places` says; texts are escaped already.

    Panels are `panel_px` pixels high. With `top_px` the first is that high, and as wide as the figure; so is
    a last panel that is alone.

    >>> len(grid(["Latency", "Cost"], title="Both sides", subtitle="2 pairs").layout.annotations)
    2
    """
    from plotly.subplots import make_subplots

    from mirrorkit.notebook.chart import Chart

    at = places(len(panels), top=top_px > 0, columns=columns)
    rows = at[-1][0]
    columns = min(columns, len(panels))
    heights = [top_px] * (top_px > 0) + [panel_px] * (rows - (top_px > 0))
    plots = sum(heights) + _GAP_PX * (rows - 1)
    above = _ABOVE_PX + _LINE_PX * subtitle.count("<br>")
    figure = make_subplots(
        rows=rows,
        cols=columns,
        specs=[_row(at, row, columns) for row in range(1, rows + 1)],
        row_heights=heights,
        subplot_titles=list(panels),
        horizontal_spacing=0.18,
        figure=Chart(),
        vertical_spacing=_GAP_PX / plots if rows > 1 else 0,
    )
    figure.update_layout(
        template="none",
        height=above + plots + _BELOW_PX,
        title={"text": title, "x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top",
               "pad": {"t": 14, "l": 12}, "font": {"size": 18},
               "subtitle": {"text": subtitle, "font": {"size": 13, "color": TEXT}}},
        font={"family": FONT, "size": 13, "color": TEXT},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        margin={"l": 70, "r": 24, "t": above, "b": _BELOW_PX},
        legend={"orientation": "h", "x": 0.01, "xref": "container", "xanchor": "left", "y": 0,
                "yref": "container", "yanchor": "bottom", "tracegroupgap": 0},
        bargap=0.35,
        barmode="group",
        hoverlabel={"namelength": -1},
        modebar={"bgcolor": CLEAR, "color": TEXT, "activecolor": PRIMARY},
    )  # fmt: skip
    axes = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "showline": True, "automargin": True,
            "ticks": "outside", "tickcolor": GRID, "title_standoff": 10, "title_font": {"size": 13},
            "tickfont": {"size": 12}}  # fmt: skip
    figure.update_xaxes(**axes)
    figure.update_yaxes(**axes)
    figure.update_annotations(font={"size": 13, "color": TEXT}, yshift=4)
    return figure


def _row(at: Sequence[At], row: int, columns: int) -> list[dict[str, int] | None]:
    """How `make_subplots` wants to be told that a panel has its row for itself."""
    if columns == 2 and (row, 2) not in at:
        return [{"colspan": 2}, None]
    return [{}] * columns


def add(figure: "Figure", at: At, trace: Mapping[str, Any]) -> None:
    """Draw in a panel what its axes name, and so has no place in the legend."""
    figure.add_trace({"showlegend": False, **trace}, row=at[0], col=at[1])


def name_lines(figure: "Figure", at: At, names: Sequence[str], x: float, tops: Sequence[float]) -> None:
    """Write a name above what begins at `x` and has its upper edge at each of `tops`, and no ticks beside it.

    Tick labels within a panel would do, but Plotly takes away the other axis' labels that are below them.
    """
    add(figure, at, {
        "type": "scatter",
        "mode": "text",
        "name": NAMES,
        "x": [x] * len(names),
        "y": list(tops),
        "text": list(names),
        "textposition": "top right",
        "textfont": {"size": 12},
        "cliponaxis": False,
        "hoverinfo": "skip",
    })  # fmt: skip
    figure.update_yaxes(showticklabels=False, ticks="", showgrid=False, row=at[0], col=at[1])


def say(figure: "Figure", at: At, message: str) -> None:
    """Put a message in place of a panel that has nothing to show."""
    row, column = at
    figure.update_xaxes(visible=False, row=row, col=column)
    figure.update_yaxes(visible=False, row=row, col=column)
    # An empty panel has no axes on the page: an unseen point gives the message its place.
    figure.add_trace(
        {"type": "scatter", "x": [0], "y": [0], "mode": "markers", "marker": {"opacity": 0},
         "showlegend": False, "hoverinfo": "skip"},
        row=row,
        col=column,
    )  # fmt: skip
    figure.add_annotation(
        text=message, x=0, y=0, showarrow=False, font={"size": 14, "color": TEXT}, row=row, col=column
    )


def with_room_for_legend(figure: "Figure") -> "Figure":
    """Make a figure so much higher that its legend has room below, also where it is narrow."""
    groups: dict[str, list[str]] = {}
    for trace in figure.data:
        if trace.showlegend:
            groups.setdefault(trace.legendgroup or trace.name, []).append(trace.name)
    if not groups:
        return figure
    longest = max(len(unescape(name)) for names in groups.values() for name in names)
    beside = max(1, _NARROW_PX // (_SWATCH_PX + _LETTER_PX * longest))
    rows = math.ceil(len(groups) / beside) * max(map(len, groups.values()))
    more = _LEGEND_LINE_PX * max(0, rows - _LEGEND_LINES)
    figure.layout.height += more
    figure.layout.margin.b += more
    return figure


def faded(color: str, opacity: float) -> str:
    """A colour, as `#rrggbb`, that lets through what is behind it.

    >>> faded("#0072B2", 0.2)
    'rgba(0, 114, 178, 0.2)'
    """
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def finite(value: float | None) -> float | None:
    """The number if it can be drawn, else None.

    >>> finite(1.5), finite(float("inf")), finite(None)
    (1.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None


def log_range(low: float, high: float) -> tuple[float, float]:
    """From where to where a log axis shows `low` to `high` (both > 0), as powers of ten, as Plotly takes it.

    There is a little room on both sides, and always enough for a tick: the widest gap is from 2 to 5.

    >>> log_range(1, 100)
    (-0.08, 2.08)
    """
    first, last = math.log10(low), math.log10(high)
    room = max(0.04 * (last - first), (0.4 - (last - first)) / 2)
    return first - room, last + room


def log_ticks(low: float, high: float, unit: str) -> tuple[list[float], list[str]]:
    """Where a log axis from `low` to `high` (both > 0) has its ticks, and their texts with the unit.

    >>> log_ticks(0.5, 4, "s")
    ([0.5, 1.0, 2.0, 5.0], ['0.5 s', '1 s', '2 s', '5 s'])
    """
    # Python cannot write powers of ten beyond these.
    first, last = max(-300, math.floor(math.log10(low))), min(300, math.ceil(math.log10(high)))
    decades = range(first, last + 1)
    steps = next((steps for width, steps in _STEPS if math.log10(high) - math.log10(low) <= width), (1,))
    stride = max(1, math.ceil(len(decades) / _DECADES))
    ticks = [step * 10.0**decade for decade in decades[::stride] for step in steps]
    shown = [float(f"{tick:.6g}") for tick in ticks if low / 2 <= tick <= high * 2]
    return shown, [f"{tick:,.6g} {unit}".strip() for tick in shown]
