"""Panels of horizontal bars, one under the other, with their intervals as whiskers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from mirrorkit.compare import wording
from mirrorkit.compare.prices import Saving, Split
from mirrorkit.compare.selection import SIDES
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures.parts import chosen, cut
from mirrorkit.records import CONTROL

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ARMS_SHOWN = 4
"""The most arms that have bars."""

_NAME = 18
_ABOVE_PX = 3
_LABEL_PX = 21
"""How high a name above its bars is, and how far above them it begins."""
_APART_PX = 4
_BAR_PX = 30
"""How high a bar is that has room."""
_MOST_OF_IT = 0.6
"""Beyond this share, the whole is worth a tick."""
_FIELDS_SHOWN = 12
_PATH = 44
_PARTS = {
    "input": ("input tokens", "", 0.85),
    "cached_input": ("cached input tokens", "/", 0.3),
    "output": ("output tokens", "", 0.3),
    "unsplit": ("not split", "x", 0.15),
}
"""What is paid for: its name, its hatching and how dense its colour is."""
_READINGS = {"differs": "✗ differs", "noise": "≈ noise", "open": "○ open"}


def cost_bars(
    figure: "Figure",
    at: theme.At,
    rows: list[dict[str, Any]],
    splits: Mapping[tuple[str, str], Split] | None = None,
) -> None:
    """What 1,000 requests cost on each side of each arm, from the table's rows on cost.

    With `splits`, by arm and side, the bars are of the parts that were paid for.
    """
    bars, of_bars = [], []
    for row in _usable(rows):
        primary = _times(row["primary"], 1000)
        ends = [
            None if row[end] is None or primary is None else row[end] * primary for end in ("low", "high")
        ]
        bars += _sides_of(row, primary, _times(row["silent"], 1000), ends, "USD")
        of_bars += [(splits or {}).get((row["arm"], side)) for side in SIDES]
    stacks = None if splits is None else _stacks(of_bars)
    _bars(figure, at, bars, "USD per 1,000 requests", "no priced calls", stacks=stacks)


def _stacks(splits: list[Split | None]) -> "list[_Stack]":
    """The parts of each bar that any of them has, in US dollars per 1,000 requests."""
    stacks = []
    for name, (label, shape, opacity) in _PARTS.items():
        lengths = [0.0 if split is None else _per_thousand(split, name) for split in splits]
        if any(lengths):
            stacks.append(_Stack(label, shape, opacity, lengths))
    # where nothing is split, a bar is a bar
    return stacks if any(split.prices for split in splits if split) else []


def _per_thousand(split: Split, part: str) -> float:
    cost = split.unsplit if part == "unsplit" else split.parts[part]
    return theme.finite(1_000 * cost / split.calls) or 0.0 if split.calls else 0.0


def split_notes(splits: Iterable[Split]) -> list[str]:
    """Where the parts of the bars come from, and why some have none; not escaped."""
    known = [split for split in splits if split.total]
    why = dict.fromkeys(reason for split in known for reason in split.why)
    notes = (
        ["Split by token prices worked out from the record."] if any(split.prices for split in known) else []
    )
    return notes + ([f"Not split: {'; '.join(why)}."] if why else [])


def saving(told: Saving, of_what: str = "requests") -> str:
    """What a switch would save at a number of requests, or `of_what` they are, in a sentence; not escaped.

    >>> saving(Saving("mini", 1e6, 1230.0, 410.0, 820.0, 800.0, 840.0))
    'At 1,000,000 requests: primary $1,230, mini $410; a switch saves $820 ($800 to $840, at every look).'
    """
    sign = 1 if told.saved >= 0 else -1
    saved = wording.quantity(sign * told.saved, "USD")
    ends = sorted(sign * end for end in (told.low, told.high) if end is not None)
    low_high = " to ".join(wording.effect(end, "difference", "USD").lstrip("+") for end in ends)
    holds = f"{low_high}, at every look" if len(ends) == 2 else "no interval yet"
    return (
        f"At {told.requests:,.10g} {of_what}: primary {wording.quantity(told.primary, 'USD')}, "
        f"{wording.name(told.arm, 24)} {wording.quantity(told.silent, 'USD')}; "
        f"a switch {'saves' if sign > 0 else 'costs'} {saved}{' more' * (sign < 0)} ({holds})."
    )


def error_bars(figure: "Figure", at: theme.At, rows: list[dict[str, Any]]) -> None:
    """The share of failed calls on each side of each arm, from the table's rows on errors."""
    _share_bars(figure, at, rows, "errors and time-outs, share", "no finished calls")


def _share_bars(figure: "Figure", at: theme.At, rows: list[dict[str, Any]], title: str, none: str) -> None:
    """A share on each side of each arm."""
    bars = []
    for row in _usable(rows):
        primary = row["primary"]
        ends = [
            None if row[end] is None or primary is None else primary + row[end] for end in ("low", "high")
        ]
        bars += _sides_of(row, primary, row["silent"], ends, "share")
    _bars(figure, at, bars, title, none, tickformat=".3~%")


def refusal_bars(figure: "Figure", at: theme.At, rows: list[dict[str, Any]]) -> None:
    """The share of answers that refuse, on each side of each arm, from the table's rows on refusals."""
    _share_bars(figure, at, rows, "refusals, share of ok answers", "no answers on record")


def identical_bars(figure: "Figure", at: theme.At, rows: list[dict[str, Any]]) -> None:
    """The share of pairs with identical answers in each arm, from the table's rows."""
    bars = [
        _bar(
            cut(row["arm"], _NAME),
            _color(row["arm"]),
            row["effect"],
            [row["low"], row["high"]],
            "share",
        )
        for row in _usable(rows)
    ]
    _bars(figure, at, bars, "share of pairs", "no answers on record", tickformat=".3~%")


@dataclass(frozen=True, slots=True)
class _Bar:
    """A horizontal bar with its interval, all at 0 or above."""

    label: str
    color: str
    length: float
    low: float
    high: float
    hover: str


@dataclass(frozen=True, slots=True)
class _Stack:
    """One part of several bars: its name, its look, and how long it is in each."""

    name: str
    shape: str
    opacity: float
    lengths: list[float]


def _bar(
    label: str, color: str, length: float | None, ends: list[float | None], unit: str, hover: str = ""
) -> _Bar:
    """An end that is unknown, or too large to be drawn, is where the bar ends.

    The value stands with the name: at the end of the whisker it would be read as that end's.
    """
    known = theme.finite(length) or 0.0
    told = theme.escape(wording.quantity(theme.finite(length), unit))
    low, high = (theme.finite(end) for end in ends)
    return _Bar(
        f"{label}: {told}",
        color,
        known,
        known if low is None else min(max(low, 0.0), known),
        known if high is None else max(high, known),
        hover or f"{label}: {told}",
    )


def _sides_of(
    row: dict[str, Any],
    primary: float | None,
    silent: float | None,
    ends: list[float | None],
    unit: str,
) -> list[_Bar]:
    """Both sides of an arm; the interval of their difference is drawn at the silent one."""
    arm, again = cut(row["arm"], _NAME), row["arm"] == CONTROL
    return [
        _bar(f"{arm}, primary", theme.PRIMARY, primary, [None, None], unit),
        _bar(f"{arm}, {'again' if again else 'silent'}", _color(row["arm"]), silent, ends, unit),
    ]


def _color(arm: str) -> str:
    return theme.CONTROL if arm == CONTROL else theme.SILENT


def drawn(rows: list[dict[str, Any]], most: int = ARMS_SHOWN) -> list[dict[str, Any]]:
    """The rows of the arms that are drawn, at most so many, of those of a metric in the table."""
    shown = chosen(list(dict.fromkeys(row["arm"] for row in rows)), most)
    return [row for row in rows if row["arm"] in shown]


def _usable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in drawn(rows) if row["n"] > 0]


def _times(value: float | None, factor: float) -> float | None:
    return theme.finite(None if value is None else value * factor)


def _bars(
    figure: "Figure",
    at: theme.At,
    bars: list[_Bar],
    title: str,
    none: str,
    *,
    stacks: list[_Stack] | None = None,
    panel_px: int = theme.PANEL_PX,
    **axis: Any,
) -> None:
    """Horizontal bars, one under the other, each with its interval, its name and its value."""
    if not bars:
        theme.say(figure, at, none)
        return
    high = thickness(len(bars), panel_px=panel_px)
    if stacks:
        for stack in stacks:
            theme.add(figure, at, {**_stacked(bars, stack), "width": high})
    else:
        theme.add(figure, at, {
            "type": "bar",
            "orientation": "h",
            "x": [bar.length for bar in bars],
            "y": list(range(len(bars))),
            "width": high,
            "marker": {"color": [bar.color for bar in bars]},
            "opacity": 0.75,
            "customdata": [bar.hover for bar in bars],
            "hovertemplate": "%{customdata}<extra></extra>",
        })  # fmt: skip
    whiskers = [(y, bar) for y, bar in enumerate(bars) if bar.low < bar.high]
    theme.add(figure, at, {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [end for _, bar in whiskers for end in (bar.low, bar.high, None)],
        "y": [y for y, _ in whiskers for _ in range(3)],
        "line": {"color": theme.TEXT, "width": 2},
        "marker": {"symbol": "line-ns", "size": 10, "line": {"color": theme.TEXT, "width": 2}},
        "hoverinfo": "skip",
    })  # fmt: skip
    noted = f"{title}<br>whisker: every look" if whiskers else title
    longest = max(bar.high for bar in bars)
    figure.update_xaxes(
        title_text=noted, range=[0, longest * 1.05 if longest else 0.05], row=at[0], col=at[1], **axis
    )
    if "tickformat" in axis and longest > _MOST_OF_IT:
        figure.update_xaxes(tickvals=[0, 0.5, 1], row=at[0], col=at[1])
    name_places(figure, at, [bar.label for bar in bars], high, panel_px=panel_px)


def thickness(places: int, bars: int = 1, *, panel_px: int = theme.PANEL_PX) -> float:
    """How much of its place the bars take, with room for a name above them: `bars` beside each other.

    >>> thickness(2), thickness(6)
    (0.2, 0.5)
    """
    place_px = panel_px / places
    most = _BAR_PX if bars == 1 else bars * _BAR_PX / 2
    return max(min(most, place_px - _LABEL_PX - _APART_PX), 1.0) / place_px


def name_places(
    figure: "Figure", at: theme.At, names: list[str], high: float, *, panel_px: int = theme.PANEL_PX
) -> None:
    """Name what lies at 0, 1, 2 … from above, each name above its bars, which are so `high`.

    There a name has the panel's whole width. Names that are alike after a cut stay two places.
    """
    pixel = len(names) / panel_px
    label = _LABEL_PX * pixel
    tops = [place - high / 2 - _ABOVE_PX * pixel for place in range(len(names))]
    theme.name_lines(figure, at, names, 0, tops)
    figure.update_yaxes(range=[len(names) - (1 + label) / 2, -(1 + label) / 2], row=at[0], col=at[1])


def _stacked(bars: list[_Bar], stack: _Stack) -> dict[str, Any]:
    """One part of all bars, after those before it."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": stack.name,
        "showlegend": None,
        "x": stack.lengths,
        "y": list(range(len(bars))),
        "marker": {
            "color": [theme.faded(bar.color, stack.opacity) for bar in bars],
            "line": {"color": [bar.color for bar in bars], "width": 1},
            "pattern": {"shape": stack.shape, "fgcolor": [bar.color for bar in bars], "solidity": 0.35},
        },
        "customdata": [theme.escape(wording.quantity(length, "USD")) for length in stack.lengths],
        "hovertemplate": f"{stack.name}: %{{customdata}} per 1,000 requests<extra></extra>",
    }


def differing(fields: pl.DataFrame) -> list[dict[str, Any]]:
    """The fields to show, of `mirrorkit.compare.answers.fields.fields`'s: the most frequent of each arm.

    >>> fields = pl.DataFrame({"arm": ["a"] * 20 + ["b"] * 20, "differs": [0.5] * 40})
    >>> [row["arm"] for row in differing(fields)]
    ['a', 'a', 'a', 'a', 'a', 'a', 'b', 'b', 'b', 'b', 'b', 'b']
    """
    some = fields.filter(pl.col("differs") > 0)
    each = max(1, _FIELDS_SHOWN // max(1, some["arm"].n_unique()))
    return some.filter(pl.int_range(pl.len()).over("arm") < each).head(_FIELDS_SHOWN).to_dicts()


def fields_not_drawn(fields: pl.DataFrame) -> list[str]:
    """How many fields differ beyond those that are shown: a note, if any."""
    more = fields.filter(pl.col("differs") > 0).height - len(differing(fields))
    return [f"JSON fields: {more:,} more differ, not drawn; .fields has them all."] if more else []


def fields_title(rows: list[dict[str, Any]]) -> str:
    """The panel's title: of how many pairs the shares are, which differs from field to field."""
    few, many = min(row["n"] for row in rows), max(row["n"] for row in rows)
    told = f"{many:,}" if few == many else f"{few:,} to {many:,}"
    return f"JSON fields and tool calls that differ<br>n = {told} pair{'' if told == '1' else 's'} a field"


def fields_height(rows: list[dict[str, Any]]) -> int:
    """How high the panel of fields is, in pixels."""
    return 20 + 52 * max(3, len(rows))


def field_bars(figure: "Figure", at: theme.At, rows: list[dict[str, Any]]) -> None:
    """In which share of pairs each field differs, beside how often it does in the control."""
    several = len({row["arm"] for row in rows}) > 1
    labels = [_field_label(row, several) for row in rows]
    bars = [_field_bar(row, label) for row, label in zip(rows, labels, strict=True)]
    again = [(y, row["control"]) for y, row in enumerate(rows) if row["control"] is not None]
    told = "; green: the control's; sorted by what exceeds it" if again else ""
    panel_px = fields_height(rows)
    _bars(figure, at, bars, f"share of pairs{told}", "", panel_px=panel_px, tickformat=".3~%")
    theme.add(figure, at, {
        "type": "scatter",
        "mode": "markers",
        "x": [share for _, share in again],
        "y": [y for y, _ in again],
        "marker": {"symbol": "line-ns", "size": 26, "line": {"color": theme.CONTROL, "width": 5}},
        "hovertemplate": "control: %{x:.3~%}<extra></extra>",
    })  # fmt: skip


def _field_bar(row: dict[str, Any], label: str) -> _Bar:
    """The interval is of how much more often the field differs than in the control, and drawn from there."""
    again, ends = row["control"], (row["low"], row["high"])
    whisker = [None if end is None or again is None else min(again + end, 1.0) for end in ends]
    share = wording.quantity(row["differs"], "share")
    hover = theme.escape(f"{row['path']}: {share} of {row['n']:,} pairs", 300)
    return _bar(label, _color(row["arm"]), row["differs"], whisker, "share", hover)


def _field_label(row: dict[str, Any], several: bool) -> str:
    arm = f"{cut(row['arm'], _NAME)}: " if several else ""
    return f"{arm}{cut(row['path'], _PATH)} {_READINGS[row['reading']]}"
