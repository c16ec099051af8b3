"""A run cut into bins of time, each as long as people count: 5 s, 15 min, 6 h."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from mirrorkit.notebook import theme

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 60
"""The most bins of a run."""

_SECOND, _MINUTE, _HOUR, _DAY = 10**6, 60 * 10**6, 3_600 * 10**6, 86_400 * 10**6
_WIDTHS = (
    *(count * _SECOND for count in (1, 2, 5, 10, 15, 30)),
    *(count * _MINUTE for count in (1, 2, 5, 10, 15, 30)),
    *(count * _HOUR for count in (1, 2, 3, 6, 12)),
    *(count * _DAY for count in (1, 2, 7, 14, 28)),
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The bins: where the first starts, how wide each is and how many there are.

    In microseconds since 1970 if `dated`; otherwise, where no start is known, in rows of the frame.
    """

    first: int
    width: int
    count: int
    dated: bool

    def bins(self) -> pl.Expr:
        """The bin of a row of the frame, from 0 on; null where its start is unknown."""
        place = pl.col("started_at").dt.epoch("us") if self.dated else pl.int_range(pl.len(), dtype=pl.Int64)
        return ((place - self.first) // self.width).alias("bin")

    def middle(self, number: int) -> str | float:
        """Where a bin's middle is on the axis, as Plotly takes it."""
        if self.dated:
            return _written(self.first + number * self.width + self.width // 2)
        return self.first + (number + 0.5) * self.width

    def name(self, number: int) -> str:
        """A bin for a hover: when it starts and how long it is."""
        if not self.dated:
            start = self.first + number * self.width
            return f"pairs {start + 1:,} to {start + self.width:,}"
        return f"{_moment(self.first + number * self.width):%Y-%m-%d %H:%M:%S} UTC, {self.length()}"

    def length(self) -> str:
        """How long a bin is.

        >>> Timeline(0, 300_000_000, 12, dated=True).length(), Timeline(0, 20, 12, dated=False).length()
        ('5 min', '20 pairs')
        """
        if not self.dated:
            return f"{self.width:,} pair{'' if self.width == 1 else 's'}"
        units = {"d": _DAY, "h": _HOUR, "min": _MINUTE, "s": _SECOND}
        name, unit = next(each for each in units.items() if self.width % each[1] == 0)
        return f"{self.width // unit:,} {name}"

    @property
    def bar(self) -> float:
        """How wide a bar is, as Plotly takes it: milliseconds on an axis of time."""
        return 0.9 * self.width / (1_000 if self.dated else 1)

    def axis(self, figure: "Figure", at: theme.At, ticks: int = 4) -> None:
        """Make a panel's x axis one of this time, with about so many ticks."""
        ends: list[Any] = [self.first, self.first + self.count * self.width]
        title = "pairs, in the order of the frame"
        if self.dated:
            ends = [_written(end) for end in ends]
            title = "request started, UTC"
        kind = "date" if self.dated else "linear"
        figure.update_xaxes(
            type=kind, range=ends, title_text=title, nticks=ticks, tickangle=0, row=at[0], col=at[1]
        )


def _moment(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return _LAST if microseconds > 0 else _FIRST


def _written(microseconds: int) -> str:
    return _moment(microseconds).replace(tzinfo=None).isoformat(" ")


def timeline(frame: pl.DataFrame, most: int = MOST) -> Timeline:
    """Cut the time from the first request of a frame to the last into at most so many bins.

    >>> from mirrorkit.records import SCHEMA
    >>> timeline(SCHEMA.frame()).count
    1
    """
    first, last = frame.select(
        pl.col("started_at").min().dt.epoch("us").alias("first"),
        pl.col("started_at").max().dt.epoch("us").alias("last"),
    ).row(0)
    if first is None:
        width = max(1, -(-frame.height // most))
        return Timeline(0, width, max(1, -(-frame.height // width)), dated=False)
    widths = (width for width in _widths() if last // width - first // width < most)
    width = next(widths)
    return Timeline(first // width * width, width, last // width - first // width + 1, dated=True)


def _widths() -> Any:
    yield from _WIDTHS
    width = _WIDTHS[-1]
    while True:
        width *= 2
        yield width
