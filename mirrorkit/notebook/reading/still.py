"""The pair browser where nothing can be pressed: the shown pair as text and as HTML."""

import textwrap
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_WIDTH = 100
_LONGEST = 4_000
_HOW = (
    "This is a still picture: here is no kernel, or nothing that draws widgets. Run the cell in JupyterLab "
    "or Notebook 7 to go through the pairs and to vote."
)

_BOX = "border:1px solid rgba(127,127,127,.4);border-radius:4px;padding:.5em .8em;margin:.4em 0"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext;font:inherit;margin:0"
_MARK = "background:rgba(230,159,0,.28);color:inherit"


def text(view: Mapping[str, Any]) -> str:
    """The view of a `Reader` as plain text, in which nothing steers a terminal.

    >>> text({"count": {"all": 0, "shown": 0, "voted": 0}, "at": 0, "pair": None})
    'No pairs.'
    """
    pair = view["pair"]
    if pair is None:
        return _headline(view)
    blocks = [
        _headline(view),
        *(f"{role}: {_shortened(said)}" for role, said in pair["conversation"]["turns"][-3:]),
    ]
    for place in ("left", "right"):
        side = pair[place]
        told = "; ".join(f"{name} {value}" for name, value in side["facts"])
        head = f"{side['who']}  {told}".rstrip()
        blocks.append("\n".join([head, "-" * min(len(head), _WIDTH), *_said(side)]))
    if pair["unmarked"]:
        blocks.append(pair["unmarked"])
    if pair["calls"] is not None:
        calls = [f"{left or '–'}  |  {right or '–'}" for left, right, _ in pair["calls"]["rows"]]
        blocks.append("\n".join(["tool calls", *calls]))
    return "\n\n".join("\n".join(_wrapped(block)) for block in blocks)


def html(view: Mapping[str, Any]) -> str:
    """The view of a `Reader` as HTML without a script, everything in it escaped.

    >>> html({"count": {"all": 0, "shown": 0, "voted": 0}, "at": 0, "pair": None})
    '<div class="mirrorkit-still mathjax_ignore"><p>No pairs.</p></div>'
    """
    return f'<div class="mirrorkit-still mathjax_ignore">{"".join(_blocks(view))}</div>'


def _blocks(view: Mapping[str, Any]) -> Iterator[str]:
    yield f"<p>{escape(_headline(view))}</p>"
    pair = view["pair"]
    if pair is None:
        return
    yield f"<p><small>{escape(_HOW)}</small></p>"
    for role, said in pair["conversation"]["turns"]:
        yield f'<div style="{_BOX}"><strong>{escape(role)}</strong>{_pre(escape(_shortened(said)))}</div>'
    for place in ("left", "right"):
        side = pair[place]
        facts = "".join(f"<br><small>{escape(f'{name}: {value}')}</small>" for name, value in side["facts"])
        said = "".join(
            f'<mark style="{_MARK}">{escape(part)}</mark>' if kind == "only" else escape(part)
            for kind, part in side["segments"]
        )
        failure = _pre(escape(side["failure"])) if side["failure"] else ""
        told = failure + _pre(said) if said else failure or _pre("no text on record")
        yield f'<div style="{_BOX}"><strong>{escape(side["who"])}</strong>{facts}{told}</div>'
    if pair["unmarked"]:
        yield f"<p><small>{escape(pair['unmarked'])}</small></p>"
    if pair["calls"] is not None:
        rows = "".join(
            f"<tr><td>{escape(left or '–')}</td><td>{escape(right or '–')}</td></tr>"
            for left, right, _ in pair["calls"]["rows"]
        )
        yield f"<table><thead><tr><th>A calls</th><th>B calls</th></tr></thead>{rows}</table>"


def _pre(inner: str) -> str:
    return f'<pre dir="auto" style="{_TEXT}">{inner}</pre>'


def _headline(view: Mapping[str, Any]) -> str:
    count, left_out = view["count"], view.get("left_out")
    left_out = f" {left_out[0].upper()}{left_out[1:]}." if left_out else ""
    if not count["all"]:
        return f"No pairs.{left_out}"
    if not count["shown"]:
        none = "The one pair" if count["all"] == 1 else f"None of the {count['all']:,} pairs"
        return f"{none} {'does not fit' if count['all'] == 1 else 'fits'} the filter.{left_out}"
    which = f"Pair {view['at'] + 1:,} of {count['shown']:,}"
    return f"{which}, {count['voted']:,} voted, {count['shown'] - count['voted']:,} left.{left_out}"


def _said(side: Mapping[str, Any]) -> list[str]:
    said = "".join(part for _, part in side["segments"])
    return [part for part in (side["failure"], _shortened(said)) if part] or ["no text on record"]


def _shortened(said: str) -> str:
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} … {len(said) - _LONGEST:,} more characters"


def _wrapped(block: str) -> list[str]:
    return [
        line
        for long in block.split("\n")
        for line in textwrap.wrap(long, _WIDTH, drop_whitespace=False, replace_whitespace=False) or [""]
    ]
