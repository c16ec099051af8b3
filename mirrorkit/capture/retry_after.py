"""How long a provider asks to be left alone."""

from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time

# A mistaken or hostile header must not hold mirrors for ever.
LONGEST_S = 86_400.0


def retry_after_s(headers: Mapping[str, str], clock: Callable[[], float] = time) -> float | None:
    """Seconds that an answer's headers ask to wait, a day at most; None if they ask for nothing.

    Read are `retry-after-ms` and Retry-After, as seconds or as an HTTP date (RFC 9110, section 10.2.3).

    >>> retry_after_s({"Retry-After": "7"}), retry_after_s({"retry-after-ms": "250"}), retry_after_s({})
    (7.0, 0.25, None)
    >>> retry_after_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, lambda: 45.0)
    15.0
    """
    said = {name.lower(): value for name, value in headers.items() if isinstance(name, str)}
    in_ms = _number(said.get("retry-after-ms"))
    after = said.get("retry-after")
    seconds = in_ms / 1_000 if in_ms is not None else _number(after)
    if seconds is None and isinstance(after, str):
        seconds = _until(after, clock())
    return min(seconds, LONGEST_S) if seconds is not None and seconds > 0 else None


def _number(text: object) -> float | None:
    if not isinstance(text, str | int | float):
        return None
    try:
        number = float(text)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None


def _until(text: str, now: float) -> float | None:
    try:
        at = parsedate_to_datetime(text)
        # a date without a zone is meant as GMT
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever is no date
        return None
