"""Failed calls over time, by kind: a row for the primary side, and one for each arm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.selection import FAILED, FINISHED
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures.parts import Part, cut, each_call_once, silent_parts
from mirrorkit.notebook.figures.timeline import Timeline, timeline

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PANEL_PX = 170
"""How high each row is."""

ARMS_SHOWN = 4
KINDS_SHOWN = 6
OTHER = "other kinds"

# not the colours of the sides; light and dark in turn, so that they are told apart without colour, too
_COLORS = ("#CC79A7", "#7A4FA3", "#56B4E9", "#8C6D1F", "#E69F00", "#4D5D6C")
_OTHER_COLOR = "#A0A0A0"


@dataclass(frozen=True, slots=True)
class Side:
    """A side's finished calls: `bins` has `bin` and `calls`, `kinds` has `bin`, `kind` and `failed`."""

    name: str
    bins: pl.DataFrame
    kinds: pl.DataFrame

    @property
    def calls(self) -> int:
        """How many finished."""
        return int(self.bins["calls"].sum())

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return int(self.kinds["failed"].sum())


@dataclass(frozen=True, slots=True)
class Sides:
    """All rows on one timeline, and the kinds that are named, the most frequent first."""

    when: Timeline
    rows: tuple[Side, ...]
    kinds: tuple[str, ...]


def sides(frame: pl.DataFrame) -> Sides:
    """Count the failed calls of the primary side and of each arm, by bin of time and kind.

    >>> from mirrorkit.records import SCHEMA
    >>> [row.name for row in sides(SCHEMA.frame()).rows]
    ['Primary']
    """
    when = timeline(frame)
    columns = ["pair_id", "request_id", "arm", "started_at"]
    columns += [f"{side}_{name}" for side in ("primary", "silent") for name in ("status", "error_type")]
    binned = frame.select(when.bins(), *columns)
    primary = Part("Primary", "Primary", "primary", theme.PRIMARY, "solid", binned)
    rows = tuple(_side(part) for part in (primary, *silent_parts(binned, ARMS_SHOWN)))
    every = pl.concat([row.kinds for row in rows]).group_by("kind").agg(pl.col("failed").sum())
    common = every.sort(["failed", "kind"], descending=[True, False])["kind"].to_list()
    return Sides(when, rows, tuple(common if len(common) <= KINDS_SHOWN else common[: KINDS_SHOWN - 1]))


def _side(part: Part) -> Side:
    status = part.column("status")
    calls = each_call_once(part, part.pairs).filter(status.is_in(FINISHED) & pl.col("bin").is_not_null())
    kind = pl.coalesce(part.column("error_type"), status).alias("kind")
    return Side(
        "Primary" if part.side == "primary" else part.label,
        calls.group_by("bin").agg(pl.len().alias("calls")).sort("bin"),
        calls.filter(status.is_in(FAILED))
        .group_by("bin", kind)
        .agg(pl.len().alias("failed"))
        .sort("bin", "kind"),
    )


def title(side: Side) -> str:
    """A row's title: which side, of how many calls, and how many failed."""
    calls = f"n = {side.calls:,} finished call{'' if side.calls == 1 else 's'}"
    return f"{side.name}<br>{calls}, {_failed(side)}"


def _failed(side: Side) -> str:
    if not side.failed:
        return "none failed"
    return f"{side.failed:,} failed ({wording.quantity(side.failed / side.calls, 'share')})"


def sentence(sides: Sides) -> str:
    """What there is to see, where that is nothing."""
    if not any(side.calls for side in sides.rows):
        return "No finished call is on record."
    if not any(side.failed for side in sides.rows):
        return "No call failed on either side."
    bins = sides.when.length()
    return f"Failed calls in bins of {bins}, by request start; a dash: there were calls."


def draw(figure: "Figure", sides: Sides) -> None:
    """Draw the rows as panels one below the other, with the same axes."""
    most = max((_highest(side) for side in sides.rows), default=0)
    for row, side in enumerate(sides.rows, start=1):
        if not side.calls:
            theme.say(figure, (row, 1), "no finished calls")
            continue
        theme.add(figure, (row, 1), _ticks(side, sides.when))
        for trace in _stacked(side, sides):
            figure.add_trace(trace, row=row, col=1)
        if not side.failed:
            figure.add_annotation(
                text="no failed calls", x=0.5, y=0.5, xref="x domain", yref="y domain", showarrow=False,
                font={"size": 14, "color": theme.TEXT}, row=row, col=1,
            )  # fmt: skip
        sides.when.axis(figure, (row, 1), ticks=6)
        figure.update_yaxes(
            title_text=f"failed calls<br>in {sides.when.length()}",
            range=[-0.04 * max(most, 1), 1.08 * max(most, 1)],
            dtick=1 if most <= 4 else None,
            nticks=5,
            tickformat=",d",
            row=row,
            col=1,
        )
    figure.update_layout(barmode="stack")


def _highest(side: Side) -> int:
    totals = side.kinds.group_by("bin").agg(pl.col("failed").sum())["failed"]
    return int(totals.max() or 0)  # type: ignore[arg-type]


def _ticks(side: Side, when: Timeline) -> dict[str, Any]:
    """A point at the foot of each bin that has calls, which says how many, also where none failed."""
    failed = dict(side.kinds.group_by("bin").agg(pl.col("failed").sum()).rows())
    rows = side.bins.rows()
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [when.middle(number) for number, _ in rows],
        "y": [0] * len(rows),
        "text": [_of(failed.get(number, 0), calls, "failed", when.name(number)) for number, calls in rows],
        "marker": {"symbol": "line-ew", "size": 6, "line": {"width": 2, "color": theme.TEXT}},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _stacked(side: Side, sides: Sides) -> list[dict[str, Any]]:
    calls = dict(side.bins.rows())
    named = side.kinds.with_columns(kind=pl.when(pl.col("kind").is_in(sides.kinds)).then("kind"))
    counted = named.group_by("bin", "kind").agg(pl.col("failed").sum()).sort("bin")
    every: Sequence[str | None] = (*sides.kinds, None)
    colors = (*_COLORS[: len(sides.kinds)], _OTHER_COLOR)
    traces = []
    for kind, color in zip(every, colors, strict=True):
        rows = (
            counted.filter(pl.col("kind").eq_missing(pl.lit(kind, pl.String))).select("bin", "failed").rows()
        )
        if not rows:
            continue
        label = OTHER if kind is None else cut(kind, 32)
        traces.append(
            {
                "type": "bar",
                "name": label,
                "legendgroup": label,
                "x": [sides.when.middle(number) for number, _ in rows],
                "y": [failed for _, failed in rows],
                "width": sides.when.bar,
                "text": [
                    _of(failed, calls[number], label, sides.when.name(number)) for number, failed in rows
                ],
                "textposition": "none",
                "marker": {"color": color, "line": {"width": 0}},
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
    return traces


def _of(failed: int, calls: int, what: str, when: str) -> str:
    share = f" ({wording.quantity(failed / calls, 'share')})" if failed else ""
    return f"{what}: {failed:,} of {calls:,} calls{share}<br>{when}"
