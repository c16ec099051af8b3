"""A Plotly figure as plain lists and dicts, its template filled in: what a picture is drawn from."""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mirrorkit.notebook.drawing.scales import as_number

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Plain = dict[str, Any]


def read(figure: "Figure") -> tuple[list[Plain], Plain]:
    """The traces that are seen, and the layout.

    >>> from plotly.graph_objects import Figure
    >>> traces, layout = read(Figure({"data": [{"y": [1, 2]}, {"y": [3], "visible": False}]}))
    >>> [trace["y"] for trace in traces]
    [[1, 2]]
    """
    told = _plain(figure.to_plotly_json())
    layout = told.get("layout") or {}
    template = layout.get("template") or {}
    looks = template.get("data") or {}
    data = [_dressed(trace, looks, number) for number, trace in enumerate(told.get("data") or [])]
    seen = [trace for trace in data if trace.get("visible", True) is True]
    return _heaped(seen), _over(_layout(template.get("layout") or {}, layout), layout)


def _plain(value: Any) -> Any:
    """Lists for tuples, arrays, and what Plotly makes of arrays."""
    if isinstance(value, Mapping):
        if isinstance(value.get("bdata"), str):
            return _unpacked(value)
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind == "M":
        return value.astype("datetime64[us]").tolist()
    return value.tolist() if kind is not None else value


def _unpacked(packed: Mapping[str, Any]) -> list[Any]:
    import numpy as np

    try:
        array = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=str(packed.get("dtype")))
        shape = [int(size) for size in str(packed.get("shape") or array.size).split(",")]
        return list(array.reshape(shape).tolist())
    except (ValueError, TypeError):
        return []


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> Plain:
    """What is said above, and below where nothing is said above."""
    out = dict(below)
    for key, value in above.items():
        under = out.get(key)
        both = isinstance(value, Mapping) and isinstance(under, Mapping)
        out[key] = _over(under, value) if both and isinstance(under, Mapping) else value
    return out


def _dressed(trace: Plain, templates: Mapping[str, Any], number: int) -> Plain:
    kind = {"scattergl": "scatter"}.get(trace.get("type") or "scatter", trace.get("type") or "scatter")
    looks = templates.get(kind) or [{}]
    if kind == "heatmap" and not all(isinstance(row, list) for row in trace.get("z") or []):
        kind = "heatmap of points"
    return {"name": f"trace {number}", **_over(looks[0], trace), "type": kind}


def _layout(template: Mapping[str, Any], layout: Mapping[str, Any]) -> Plain:
    """The template's layout, what it says of the axes said of each of them."""
    axes = [key for key in layout if key.startswith(("xaxis", "yaxis"))]
    each = {key: template.get(key[:5]) or {} for key in axes}
    return {**template, **each}


def _heaped(traces: list[Plain]) -> list[Plain]:
    """Lines that are to be stacked, added up."""
    sums: dict[Any, list[float]] = {}
    out = []
    for trace in traces:
        group = trace.get("stackgroup")
        if group and trace["type"] == "scatter":
            key = (group, trace.get("xaxis"), trace.get("yaxis"))
            own = [as_number(value) or 0.0 for value in trace.get("y") or []]
            below = sums.get(key, [0.0] * len(own))
            total = [low + value for low, value in zip(below, own, strict=False)]
            fill = trace.get("fill") or ("tonexty" if key in sums else "tozeroy")
            sums[key] = total
            trace = {**trace, "y": total, "fill": fill, "mode": trace.get("mode") or "lines"}
        out.append(trace)
    return out
