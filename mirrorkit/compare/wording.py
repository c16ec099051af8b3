"""Numbers and names for people: three significant digits, their unit, and nothing a terminal would run."""

from collections.abc import Sequence
from math import isfinite

UNKNOWN = "–"


def three_digits(value: float) -> str:
    """A number at three significant digits, written out unless it is very large or very small.

    >>> three_digits(0.41234), three_digits(1234567), three_digits(0.000012345), three_digits(0)
    ('0.412', '1,230,000', '0.0000123', '0')
    """
    if value == 0:
        return "0"
    if not isfinite(value):
        return f"{value:g}".replace("inf", "∞")
    scientific = f"{value:.2e}"
    exponent = int(scientific.split("e")[1])
    if -7 <= exponent < 9:
        return f"{float(scientific):,.{max(2 - exponent, 0)}f}"
    return scientific


def quantity(value: float | None, unit: str) -> str:
    """One side's value with its unit; a share as a percentage, an unknown as a dash.

    >>> quantity(0.41234, "s"), quantity(0.0012345, "USD"), quantity(0.123, "share"), quantity(None, "s")
    ('0.412 s', '$0.00123', '12.3 %', '–')
    >>> quantity(512.4, "tokens"), quantity(1534.2, "characters")
    ('512 tokens', '1,530 characters')
    """
    if value is None:
        return UNKNOWN
    if unit == "USD":
        return f"${three_digits(value)}"
    if unit.startswith("USD "):
        return f"${three_digits(value)} {unit.removeprefix('USD ')}"
    if unit == "share":
        return f"{three_digits(100 * value)} %"
    return f"{three_digits(value)} {unit}"


def effect(value: float | None, estimand: str, unit: str = "") -> str:
    """An effect, written as its estimand wants it.

    >>> effect(0.8712, "ratio of totals"), effect(0.012, "difference of shares")
    ('×0.871', '+1.20 points')
    >>> effect(-0.21, "difference of p95", "s"), effect(0.25, "share of pairs"), effect(3.2, "mean")
    ('−0.210 s', '25.0 %', '3.20')
    """
    if value is None:
        return UNKNOWN
    if "ratio" in estimand:
        return f"×{three_digits(value)}"
    if estimand.startswith("difference of shares"):
        return f"{_signed(100 * value)} points"
    if estimand.startswith("difference"):
        return _signed(value, "$") if unit.startswith("USD") else f"{_signed(value)} {unit}".strip()
    if estimand.startswith(("share", "win rate")):
        return quantity(value, "share")
    return quantity(value, unit).strip()


def _signed(value: float, prefix: str = "") -> str:
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{prefix}{three_digits(abs(value))}"


def interval(low: float | None, high: float | None, estimand: str, unit: str) -> str:
    """Both ends, the unit once; where an end is unknown, the one that is known.

    >>> interval(1.354, 1.438, "ratio of totals", "s")
    '×1.35 to ×1.44'
    >>> interval(-0.015, 0.0129, "difference of shares", "share")
    '−1.50 to +1.29 points'
    >>> interval(None, 0.2, "share of pairs", "share"), interval(None, None, "share of pairs", "share")
    ('up to 20.0 %', '–')
    """
    first, last = (effect(end, estimand, unit) for end in (low, high))
    if low is None:
        return last if high is None else f"up to {last}"
    if high is None:
        return f"from {first}"
    number, _, of_first = first.partition(" ")
    return f"{number if of_first and last.endswith(f' {of_first}') else first} to {last}"


def name(text: str | None, limit: int = 60) -> str:
    """A name that came with the data, on one line, cut to `limit` characters, control characters replaced.

    >>> name("gpt-4o"), name("a\\x1b[31mred"), name("long name", 5), name(None)
    ('gpt-4o', 'a�[31mred', 'long…', 'unknown')
    """
    if text is None:
        return "unknown"
    shown = "".join(char if char.isprintable() else "�" for char in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def listing(names: Sequence[str | None], most: int = 5) -> str:
    """Names as one phrase, the rest counted.

    >>> listing(["a", "b"]), listing([]), listing(["a", "b", "c"], most=2)
    ('a, b', 'none', 'a, b and 1 more')
    """
    if not names:
        return "none"
    shown = ", ".join(name(each) for each in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
