"""SVG as text: elements, colours and labels, with nothing in them that a viewer could run or fetch."""

import math
import re
from html import unescape
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from mirrorkit.notebook import theme

_MARKUP = re.compile(r"(<[^<>]*>)")
_SAFE_COLOR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,24}|(?:rgb|hsl)a?\([\d\s.,%+-]{1,60}\)")
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_EM = 1.3
_FAR = 99_999.0
_NARROW, _WIDE = set("iIjl.,:;'|!()[]ft "), set("mwMW@%—…→←×÷✗")


def tag(name: str, *children: str, **attributes: Any) -> str:
    """One element; `stroke_width` is written `stroke-width`, numbers to a tenth, None not at all.

    >>> tag("line", x1=0.04, y1=1 / 3, stroke_width=2, stroke=None)
    '<line x1="0" y1="0.3" stroke-width="2"/>'
    """
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_value(value))}"
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(children)}</{name}>" if children else f"<{name}{given}/>"


def _value(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else _NO_XML.sub("�", str(value))


def number(value: float) -> str:
    """A length in pixels, to a tenth, as short as it goes.

    >>> number(10.0), number(0.26), number(-0.01), number(1e300)
    ('10', '0.3', '0', '99999')
    """
    bound = max(-_FAR, min(_FAR, float(value))) if math.isfinite(value) else 0.0
    shown = f"{bound:.1f}".removesuffix(".0")
    return "0" if shown == "-0" else shown


def color(given: Any, otherwise: str = theme.TEXT) -> str:
    """The colour if it is only a colour: an address in its place would be fetched.

    >>> color("#0072B2"), color("url(http://example.com)")
    ('#0072B2', '#777777')
    """
    return given if isinstance(given, str) and _SAFE_COLOR.fullmatch(given.strip()) else otherwise


def lines(text: Any) -> list[str]:
    """A text as Plotly reads it, its line breaks taken and its other markup left out, as plain text.

    >>> lines("n = 2<br><b>a &lt; b</b>")
    ['n = 2', 'a < b']
    """
    out = [""]
    for part in _MARKUP.split("" if text is None else str(text)):
        if part.lower().startswith("<br"):
            out.append("")
        elif not _MARKUP.fullmatch(part):
            out[-1] += _NO_XML.sub("�", unescape(part))
    return out


def width(text: Any, size: float) -> float:
    """How wide a label is, nearly, in pixels: what fonts there are is not known here.

    >>> width("mm", 10) > width("ii", 10)
    True
    """
    return max(size * sum(_em(char) for char in line) for line in lines(text))


def _em(char: str) -> float:
    if char in _NARROW:
        return 0.38
    if char in _WIDE:
        return 0.92
    return 0.62 if char < "ⵀ" else 1.0


def height(text: Any, size: float) -> float:
    """How high a label is, in pixels.

    >>> height("a<br>b", 10)
    26.0
    """
    return len(lines(text)) * size * _LINE_EM


def label(
    text: Any,
    x: float,
    y: float,
    *,
    size: float = 12,
    fill: str = theme.TEXT,
    across: str = "middle",
    down: str = "middle",
    turn: float = 0,
    weight: str | None = None,
) -> str:
    """A text of one or more lines; (x, y) is its `across` start, middle or end, and its `down` top, ….

    >>> label("a < b", 0, 10, down="bottom")
    '<text x="0" y="7.1" font-size="12" fill="#777777" text-anchor="middle">a &lt; b</text>'
    """
    shown = [escape(_spaced(line)) for line in lines(text)]
    step = size * _LINE_EM
    more = (len(shown) - 1) * step
    first = y + {"top": 0.95 * size, "bottom": -0.24 * size - more}.get(down, 0.35 * size - more / 2)
    spans = (
        shown
        if len(shown) == 1
        else [tag("tspan", line, x=x, dy=step if index else 0) for index, line in enumerate(shown)]
    )
    return tag(
        "text", *spans, x=x, y=first, font_size=size, fill=color(fill), text_anchor=across,
        font_weight=weight, transform=f"rotate({number(turn)} {number(x)} {number(y)})" if turn else None,
    )  # fmt: skip


def _spaced(line: str) -> str:
    """Spaces at the start, which keep a text off its mark, are not to be swallowed."""
    bare = line.lstrip(" ")
    return "\u00a0" * (len(line) - len(bare)) + bare


def drawn(points: list[tuple[float, float] | None], *, closed: bool = False) -> str:
    """The `d` of a path through points; None is a gap.

    >>> drawn([(0, 0), (1, 2.25), None, (3, 3)])
    'M0 0L1 2.2M3 3'
    """
    out, pen = [], "M"
    for point in points:
        if point is None:
            out.append("Z" * (closed and pen == "L"))
            pen = "M"
            continue
        out.append(f"{pen}{number(point[0])} {number(point[1])}")
        pen = "L"
    return "".join(out) + "Z" * (closed and pen == "L")


def clipped(left: float, top: float, across: float, down: float, *children: str) -> str:
    """Children, and nothing of them beyond a rectangle: with no id, which two pictures could share."""
    if not children:
        return ""
    box = " ".join(number(edge) for edge in (left, top, across, down))
    return tag("svg", *children, x=left, y=top, width=across, height=down, viewBox=box, overflow="hidden")
