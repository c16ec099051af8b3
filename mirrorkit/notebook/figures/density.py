"""The pairs as a density: the primary's time across, the silent one's up, both the same on the diagonal."""

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.metrics import usable
from mirrorkit.compare.selection import SIDES
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures.parts import Part, silent_parts
from mirrorkit.notebook.figures.prompts import last_prompt

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ARMS_SHOWN = 4
"""The most arms whose pairs are drawn as a density."""

_FINE, _COARSE = 32, 16
"""Cells along an axis: of one arm, and of each of several."""

_PROMPT = 60
"""Characters of a prompt that a hover shows."""


@dataclass(frozen=True, slots=True)
class Density:
    """An arm's pairs counted in cells, which have `x` and `y` (from 0), `pairs` and one pair's `messages`."""

    part: Part
    cells: pl.DataFrame
    n: int
    slower: int
    """pairs whose silent side was slower"""
    faster: int


@dataclass(frozen=True, slots=True)
class Densities:
    """Those of all arms on one metric, on one scale: both axes have the same cells."""

    first: float
    """where the axes start, as a power of ten of seconds, as Plotly takes it"""
    last: float
    count: int
    """of cells along an axis"""
    arms: tuple[Density, ...]

    def edge(self, cell: int) -> float:
        """Where a cell starts, in seconds."""
        power = self.first + cell * (self.last - self.first) / self.count
        # beyond these a number is 0 or infinite
        return float(f"{10.0 ** min(max(power, -307.0), 308.0):.6g}")


def densities(frame: pl.DataFrame, metric: str) -> Densities:
    """Count the pairs of each arm, by the `latency` or `ttft` of both sides, in cells alike on a log scale.

    >>> from mirrorkit.records import SCHEMA
    >>> densities(SCHEMA.frame(), "latency").arms
    ()
    """
    columns = [f"{side}_{metric}_s" for side in SIDES]
    keep = [name for name in (*columns, "messages") if name in frame.columns]
    every = [(part, usable(part.pairs, metric, keep).pairs) for part in silent_parts(frame, ARMS_SHOWN)]
    shown = [(part, pairs) for part, pairs in every if pairs.height]
    if not shown:
        return Densities(0.0, 0.0, 0, ())
    ends = [end for _, pairs in shown for name in columns for end in _ends(pairs[name])]
    first, last = theme.log_range(min(ends), max(ends))
    count = _FINE if len(every) == 1 else _COARSE

    def cell(name: str) -> pl.Expr:
        place = (pl.col(name).log10() - first) / (last - first) * count
        return place.floor().clip(0, count - 1).cast(pl.Int32)

    return Densities(
        first,
        last,
        count,
        tuple(_counted(part, pairs, columns, cell(columns[0]), cell(columns[1])) for part, pairs in shown),
    )


def _ends(values: pl.Series) -> tuple[float, float]:
    ordered = values.sort()
    return float(ordered[0]), float(ordered[-1])


def _counted(part: Part, pairs: pl.DataFrame, columns: list[str], x: pl.Expr, y: pl.Expr) -> Density:
    # the shortest of a cell is the one that is soonest read
    shortest = pl.col("messages").sort_by(pl.col("messages").str.len_bytes(), nulls_last=True).first()
    told = [shortest] if "messages" in pairs.columns else [pl.lit(None, pl.String).alias("messages")]
    cells = pairs.group_by(x.alias("x"), y.alias("y")).agg(pl.len().alias("pairs"), *told).sort("y", "x")
    slower, faster = (
        (pairs[columns[1]] > pairs[columns[0]]).sum(),
        (pairs[columns[1]] < pairs[columns[0]]).sum(),
    )
    return Density(part, cells, pairs.height, int(slower), int(faster))


def title(density: Density, what: str, *, several: bool) -> str:
    """What an arm's density is of, and how many pairs."""
    which = density.part.short if several else "pair by pair"
    return f"{what}, {which}<br>n = {density.n:,} pair{'' if density.n == 1 else 's'}"


def draw(figure: "Figure", at: theme.At, scale: Densities, density: Density) -> None:
    """Draw an arm's density, and in which share of the pairs the silent side was slower, and faster."""
    most = int(density.cells["pairs"].max())  # type: ignore[arg-type]
    theme.add(figure, at, _heatmap(scale, density, most))
    row, column = at
    first, last = scale.edge(0), scale.edge(scale.count)
    # where the silent side is as the primary
    diagonal = {"color": theme.PRIMARY, "width": 2, "dash": "dash"}
    figure.add_shape(type="line", x0=first, y0=first, x1=last, y1=last, line=diagonal, row=row, col=column)
    slower, faster = (
        wording.quantity(count / density.n, "share") for count in (density.slower, density.faster)
    )
    for text, x, y, anchor in (
        (f"silent slower<br>{slower}", 0.02, 0.98, "left"),
        ("same", 0.88, 0.98, "right"),
        (f"silent faster<br>{faster}", 0.98, 0.02, "right"),
    ):
        figure.add_annotation(
            text=text, x=x, y=y, xref="x domain", yref="y domain", xanchor=anchor, align=anchor,
            yanchor="top" if y > x else "bottom", showarrow=False, font={"size": 12, "color": theme.TEXT},
            row=row, col=column,
        )  # fmt: skip
    ticks, texts = theme.log_ticks(first, last, "s")
    axis = {"type": "log", "range": [scale.first, scale.last], "tickvals": ticks, "ticktext": texts}
    shade = f"a cell: 1 to {most:,} pairs" if most > 1 else "a cell: 1 pair"
    figure.update_xaxes(title_text=f"primary, seconds (log)<br>{shade}", **axis, row=row, col=column)
    figure.update_yaxes(title_text="silent, seconds (log)", **axis, row=row, col=column)


def _heatmap(scale: Densities, density: Density, most: int) -> dict[str, Any]:
    shades: list[list[float | None]] = [[None] * scale.count for _ in range(scale.count)]
    texts: list[list[str | None]] = [[None] * scale.count for _ in range(scale.count)]
    for x, y, pairs, messages in density.cells.select("x", "y", "pairs", "messages").rows():
        shades[y][x] = round(log(pairs), 2)
        texts[y][x] = _hover(scale, x, y, pairs, messages)
    edges = [scale.edge(cell) for cell in range(scale.count + 1)]
    return {
        "type": "heatmap",
        "name": density.part.label,
        "x": edges,
        "y": edges,
        "z": shades,
        "text": texts,
        "zmin": 0 if most > 1 else -1,
        "zmax": round(log(most), 2) if most > 1 else 0,
        # what is behind shows through: pale on a light page, dim on a dark one
        "colorscale": [[0, theme.faded(density.part.color, 0.25)], [1, theme.faded(density.part.color, 1)]],
        "showscale": False,
        "hoverongaps": False,
        "hovertemplate": "%{text}<extra></extra>",
    }


def _hover(scale: Densities, x: int, y: int, pairs: int, messages: str | None) -> str:
    lines = [f"{pairs:,} pair{'' if pairs == 1 else 's'}"]
    for side, cell in (("primary", x), ("silent", y)):
        ends = (wording.three_digits(scale.edge(end)) for end in (cell, cell + 1))
        lines.append(f"{side} {' to '.join(ends)} s")
    prompt = last_prompt(messages)
    if prompt is not None:
        lines.append(f"{'such as: ' if pairs > 1 else ''}{theme.escape(prompt, _PROMPT)}")
    return "<br>".join(lines)
