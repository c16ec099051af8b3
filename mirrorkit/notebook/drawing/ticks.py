"""Where an axis has its ticks, and how numbers and dates are written at them."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from mirrorkit.notebook.drawing import svg
from mirrorkit.notebook.drawing.scales import Axis, as_number

_FORMAT = re.compile(
    r"(?P<plus>\+)?(?P<money>\$)?(?P<comma>,)?(?:\.(?P<places>\d+))?(?P<trim>~)?(?P<kind>[%fgesdr]?)"
)
_MOST = 60
_DAY = 86_400
_STEPS_S = (
    1e-3,
    2e-3,
    5e-3,
    1e-2,
    2e-2,
    5e-2,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10_800,
    21_600,
    43_200,
    _DAY,
    2 * _DAY,
    7 * _DAY,
    14 * _DAY,
)
_POWERS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))


class Tick(NamedTuple):
    """A tick: where, in the axis's measure, and what is written there."""

    at: float
    text: str


def ticks(axis: Axis, size: float) -> list[Tick]:
    """The ticks of an axis that is placed on the page; `size` is that of their letters, in pixels.

    >>> [tick.text for tick in ticks(Axis("y", "linear", {"tickformat": ".0%"}, 0, 1, end=100), 12)]
    ['0%', '20%', '40%', '60%', '80%', '100%']
    """
    found = [tick for tick in _every(axis) if axis.within(tick.at)][:_MOST]
    if axis.look.get("showticklabels") is False:
        return [Tick(tick.at, "") for tick in found]
    affixes = (axis.look.get("tickprefix") or "", axis.look.get("ticksuffix") or "")
    found = [Tick(tick.at, f"{affixes[0]}{tick.text}{affixes[1]}" if tick.text else "") for tick in found]
    return _thinned(axis, found, size)


def _every(axis: Axis) -> Iterator[Tick]:
    values = axis.look.get("tickvals")
    if values is not None and axis.look.get("tickmode", "array") == "array":
        texts = axis.look.get("ticktext") or ()
        for index, value in enumerate(values):
            at = axis.measure(value)
            if at is not None:
                yield Tick(at, str(texts[index]) if index < len(texts) else _written(axis, value))
    elif axis.kind == "category":
        yield from (Tick(place, name) for name, place in axis.names.items())
    elif axis.kind == "date":
        yield from _dates(axis)
    elif axis.kind == "log":
        yield from _decades(axis)
    else:
        yield from _round(axis)


def _written(axis: Axis, value: Any) -> str:
    known = as_number(value)
    if axis.kind == "date" or known is None:
        return str(value)
    return written(known, axis.look.get("tickformat"), 0)


def _count(axis: Axis) -> float:
    """How many ticks are wanted, as Plotly reckons; a date's label is long."""
    asked = as_number(axis.look.get("nticks"))
    if axis.kind == "date" and not asked:
        return max(2.0, abs(axis.end - axis.start) / 110)
    return asked or 1 + max(4.0, min(9.0, abs(axis.end - axis.start) / (80 if axis.is_x else 40)))


def _ends(axis: Axis) -> tuple[float, float]:
    return min(axis.first, axis.last), max(axis.first, axis.last)


def _round(axis: Axis) -> Iterator[Tick]:
    low, high = _ends(axis)
    step = as_number(axis.look.get("dtick")) or _step((high - low) / _count(axis))
    origin = as_number(axis.look.get("tick0")) or 0.0
    if not math.isfinite(step) or step <= 0 or (high - low) / step > _MOST:
        return
    begin = math.ceil((low - origin) / step - 1e-6)
    for number in range(begin, begin + _MOST):
        at = origin + number * step
        if at > high + 1e-6 * step:
            return
        yield Tick(at, written(at, axis.look.get("tickformat"), step))


def _step(rough: float) -> float:
    if rough <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)


def _decades(axis: Axis) -> Iterator[Tick]:
    low, high = _ends(axis)
    within = (1, 2, 5) if high - low < 2.5 else (1,)
    stride = max(1, round((high - low) / _count(axis)))
    for decade in range(max(-300, math.floor(low)), min(300, math.ceil(high)) + 1, stride):
        for step in within:
            value = step * 10.0**decade
            yield Tick(math.log10(value), written(value, axis.look.get("tickformat"), value))


def _dates(axis: Axis) -> Iterator[Tick]:
    low, high = (end / 1000 for end in _ends(axis))
    rough = (high - low) / _count(axis)
    step = next((step for step in _STEPS_S if step >= rough), None)
    moments = _months(low, high, rough) if step is None else _clock(low, high, step)
    before = None
    for moment in moments:
        try:
            then = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment)
        except OverflowError:
            return
        asked = axis.look.get("tickformat")
        text, context = (then.strftime(asked), "") if asked else _moment(then, step)
        yield Tick(1000 * moment, f"{text}<br>{context}" if context and context != before else text)
        before = context


def _clock(low: float, high: float, step: float) -> Iterator[float]:
    first = math.ceil(low / step - 1e-9)
    yield from (number * step for number in range(first, math.floor(high / step + 1e-9) + 1))


def _months(low: float, high: float, rough: float) -> Iterator[float]:
    every = next((m for m in (1, 2, 3, 6, 12, 24, 60, 120, 240, 600) if m * 30 * _DAY >= rough), 1200)
    try:
        begin, end = (datetime.fromtimestamp(edge, UTC) for edge in (low, high))
    except (ValueError, OverflowError, OSError):
        return
    for month in range(begin.year * 12 // every * every, end.year * 12 + 13, every):
        if 0 < month // 12 < 10_000:
            yield datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()


def _moment(then: datetime, step: float | None) -> tuple[str, str]:
    """What is written at a moment, and the day or year that stands under the first of its kind."""
    if step is None:
        return f"{then:%b %Y}", ""
    if step >= _DAY:
        return f"{then:%b} {then.day}", f"{then.year}"
    day = f"{then:%b} {then.day}, {then.year}"
    if step >= 60:
        return f"{then:%H:%M}", day
    return (f"{then:%H:%M:%S}" if step >= 1 else f"{then:%H:%M:%S.%f}"[:-3]), day


def written(value: float, form: str | None, step: float) -> str:
    """A number at a tick: in d3's format if one is asked for, else as fine as its step.

    >>> written(0.25, ".0%", 0), written(1234.5, ",.1f", 0), written(-0.5, None, 0.25)
    ('25%', '1,234.5', '−0.5')
    """
    asked = _FORMAT.fullmatch(form) if form else None
    number = _plain(abs(value), step) if asked is None else _formatted(abs(value), asked)
    money, plus = ("", "") if asked is None else (asked["money"] or "", asked["plus"] or "")
    return f"{'−' if value < 0 and number.strip('0.%') else plus}{money}{number}"


def _formatted(value: float, asked: re.Match[str]) -> str:
    kind, places, trim = asked["kind"], asked["places"], bool(asked["trim"])
    if kind == "s":
        return _with_power(value, int(places or 3))
    if kind in ("", "r", "g"):
        kind, trim = "g", True
    digits = "0" if kind == "d" else places or "6"
    number = f"{value:{asked['comma'] or ''}.{digits}{'f' if kind == 'd' else kind}}"
    return _trimmed(number) if trim else number


def _trimmed(number: str) -> str:
    tail = "%" if number.endswith("%") else ""
    body = number.removesuffix("%")
    return (body.rstrip("0").rstrip(".") if "." in body and "e" not in body else body) + tail


def _plain(value: float, step: float) -> str:
    if value >= 10_000 or (value >= 1_000 and step >= 5_000):
        return _with_power(value, 4)
    if value and (value < 1e-6 or 0 < step < 1e-6):
        return f"{value:.3g}"
    places = min(12, max(0, -math.floor(math.log10(step) + 1e-9))) if step else 6
    # steps added up may end a hair beside nought
    return _trimmed(f"{0.0 if value < step / 1e3 else value:.{places}f}")


def _with_power(value: float, digits: int) -> str:
    for power, letter in _POWERS:
        if value >= power:
            return f"{value / power:.{digits}g}{letter}"
    return f"{value:.{digits}g}"


def _thinned(axis: Axis, found: list[Tick], size: float) -> list[Tick]:
    """Every label if none touches the next, else every second, every third ….; a tick always stays."""
    for keep in range(1, len(found) + 1):
        shown = [tick for index, tick in enumerate(found) if index % keep == 0 and tick.text]
        if not _touch(axis, shown, size):
            break
    return (
        [tick if index % keep == 0 else Tick(tick.at, "") for index, tick in enumerate(found)]
        if found
        else []
    )


def _touch(axis: Axis, shown: list[Tick], size: float) -> bool:
    spans = []
    for tick in shown:
        middle = axis.at(tick.at) or 0.0
        half = svg.width(tick.text, size) / 2 + 2 if axis.is_x else size * 0.5
        spans.append((middle - half, middle + half))
    spans.sort()
    return any(left[1] > right[0] for left, right in pairwise(spans))
