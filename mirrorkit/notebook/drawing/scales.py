"""The axes of a figure: where on the page a value is, whether numbers, logarithms, dates or names."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

_ROOM = 0.05
_MOST = 1e300


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: from `first` to `last` in its own measure, which lie at `start` and `end` on the page.

    The measure is the number itself, its power of ten, milliseconds since 1970, or the place in `names`.
    """

    name: str
    """as traces name it: "x", "y2" """
    kind: str
    """linear, log, date or category"""
    look: Mapping[str, Any]
    """what the figure's layout says of it"""
    first: float
    last: float
    names: Mapping[str, int] = field(default_factory=dict)
    start: float = 0.0
    end: float = 1.0

    @property
    def is_x(self) -> bool:
        """Whether it runs across the page."""
        return self.name.startswith("x")

    def measure(self, value: Any) -> float | None:
        """The value in the axis's measure; None for what has no place on it.

        >>> Axis("x", "log", {}, 0, 1).measure(1000), Axis("x", "log", {}, 0, 1).measure(-1)
        (3.0, None)
        """
        if self.kind == "category":
            return float(self.names[str(value)]) if str(value) in self.names else as_number(value)
        if self.kind == "date":
            return as_milliseconds(value)
        known = as_number(value)
        if self.kind == "log":
            return math.log10(known) if known is not None and known > 0 else None
        return known

    def at(self, measured: float | None) -> float | None:
        """Where a measure is on the page, in pixels."""
        if measured is None:
            return None
        span = self.last - self.first
        share = (measured - self.first) / span if span else 0.5
        place = self.start + share * (self.end - self.start)
        return place if math.isfinite(place) else None

    def place(self, value: Any) -> float | None:
        """Where a value is on the page, in pixels; None for what has no place.

        >>> Axis("x", "log", {}, 0, 2, start=100, end=300).place(10)
        200.0
        """
        return self.at(self.measure(value))

    def within(self, measured: float) -> bool:
        """Whether a measure lies on what is shown."""
        low, high = sorted((self.first, self.last))
        slack = 1e-6 * (high - low)
        return low - slack <= measured <= high + slack

    def placed(self, start: float, end: float) -> "Axis":
        """The same axis, from here to there on the page."""
        return replace(self, start=start, end=end)


def as_number(value: Any) -> float | None:
    """A number with which one can still reckon, or None.

    >>> as_number("1.5"), as_number(float("nan")), as_number("chat"), as_number(None)
    (1.5, None, None, None)
    """
    try:
        known = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return known if abs(known) < _MOST else None


def as_milliseconds(value: Any) -> float | None:
    """Milliseconds from 1970 to a date, be it a `datetime`, a `date`, NumPy's or text; None if it is none.

    >>> as_milliseconds("1970-01-01T00:00:01"), as_milliseconds("soon")
    (1000.0, None)
    """
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day)
    elif value is None or isinstance(value, int | float):
        return None if value is None else as_number(value)
    else:
        try:
            moment = datetime.fromisoformat(str(value)[:26].rstrip("Z"))
        except ValueError:
            return None
    # Plotly draws the clock's face, whatever its time zone
    return 1000 * moment.replace(tzinfo=UTC).timestamp()


def kind_of(look: Mapping[str, Any], values: Iterable[Any]) -> str:
    """What an axis measures: what its figure says, else what its values look like.

    >>> kind_of({}, [1, 2]), kind_of({}, ["2026-11-22"]), kind_of({}, ["chat", 1])
    ('linear', 'date', 'category')
    """
    said = look.get("type")
    if said in ("linear", "log", "date", "category"):
        return str(said)
    known = [value for value in values if value is not None]
    if all(as_number(value) is not None or isinstance(value, float) for value in known):
        return "linear"
    if all(not isinstance(value, int | float) and as_milliseconds(value) is not None for value in known):
        return "date"
    return "category"


def axis(
    name: str,
    look: Mapping[str, Any],
    values: Sequence[Any],
    *,
    also: Sequence[float] = (),
    tight: bool = False,
    from_zero: bool = False,
) -> Axis:
    """An axis that shows `values`, unless its figure says from where to where it goes.

    `also` are places in its measure that must be seen; `tight` leaves no room at the ends, and `from_zero`
    begins at 0, where bars do.

    >>> seen = axis("y", {}, [1, 9], from_zero=True)
    >>> seen.first, seen.last
    (0.0, 9.45)
    """
    kind = kind_of(look, values)
    names = _names(look, values) if kind == "category" else {}
    bare = Axis(name, kind, look, 0.0, 1.0, names)
    measured = [found for value in values if (found := bare.measure(value)) is not None]
    first, last = _span(bare, [*measured, *also], tight, from_zero or look.get("rangemode") == "tozero")
    said = look.get("range")
    if said is not None and len(said) == 2:
        start, end = (_said(kind, bound) for bound in said)
        return replace(bare, first=first if start is None else start, last=last if end is None else end)
    turned = look.get("autorange") in ("reversed", "min reversed", "max reversed")
    return replace(bare, first=last, last=first) if turned else replace(bare, first=first, last=last)


def _names(look: Mapping[str, Any], values: Sequence[Any]) -> dict[str, int]:
    ordered = [*(look.get("categoryarray") or ()), *values]
    if str(look.get("categoryorder", "")).startswith("category"):
        ordered = sorted(ordered, key=str, reverse="descending" in look["categoryorder"])
    # a number that is none has no name either
    named = dict.fromkeys(str(value) for value in ordered if value is not None and value == value)
    return {name: place for place, name in enumerate(named)}


def _said(kind: str, bound: Any) -> float | None:
    """An end of a range as the figure has it: a log axis's is a power of ten already."""
    return as_milliseconds(bound) if kind == "date" else as_number(bound)


def _span(bare: Axis, measured: Sequence[float], tight: bool, from_zero: bool) -> tuple[float, float]:
    if bare.kind == "category":
        return -0.5, max(len(bare.names), 1) - 0.5
    if not measured:
        return 0.0, 1.0
    low, high = min(measured), max(measured)
    if from_zero and bare.kind == "linear":
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return low - 0.5, high + 0.5
    room = 0.0 if tight else _ROOM * (high - low)
    at_zero = from_zero and bare.kind == "linear"
    return low - room * (not (at_zero and low == 0)), high + room * (not (at_zero and high == 0))
