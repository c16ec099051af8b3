"""The time that a provider asks for is read as it is said, and never more than a day of it."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import litellm
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.retry_after import LONGEST_S, retry_after_s
from mirrorkit.capture.watch import Watch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def asked(headers: Any) -> float | None:
    return retry_after_s(headers, NOW.timestamp)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:20 GMT"}, 20),
        ({"retry-after": "Thursday, 01-Jan-26 00:00:20 GMT"}, 20),
        ({"retry-after": "Thu, 01 Jan 2026 01:00:20 +0100"}, 20),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:20"}, 20),
        ({"retry-after": "1e300"}, LONGEST_S),
        ({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}, LONGEST_S),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, None),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": None}, None),
        ({1: "7"}, None),
        ({}, None),
    ],
)
def test_what_the_header_says(headers: Any, seconds: float | None) -> None:
    assert asked(headers) == seconds


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 1, 23), timezones=st.just(UTC)))
def test_a_date_is_that_long_from_now(at: datetime) -> None:
    at = at.replace(microsecond=0)
    seconds = (at - NOW).total_seconds()
    assert asked({"Retry-After": format_datetime(at, usegmt=True)}) == (seconds or None)


@given(st.text() | st.binary() | st.integers() | st.floats())
def test_whatever_a_provider_sends_is_a_time_or_none(value: Any) -> None:
    seconds = asked({"retry-after": value, "retry-after-ms": value})
    assert seconds is None or 0 < seconds <= LONGEST_S


def refusal(status: int, headers: Any, place: str = "litellm_response_headers") -> Exception:
    kind = litellm.RateLimitError if status == 429 else litellm.ServiceUnavailableError
    error = kind("no", llm_provider="openai", model="gpt-4o")
    setattr(error, place, headers)
    return error


class TestSeen:
    @pytest.mark.parametrize("place", ["litellm_response_headers", "headers"])
    def test_a_rate_limits_time_is_seen(self, place: str) -> None:
        seen = Watch({}).failed(refusal(429, {"retry-after": "7"}, place))
        assert seen.retry_after_s == 7

    @pytest.mark.parametrize(
        "error",
        [
            refusal(429, {}),
            refusal(429, None),
            refusal(429, "7"),
            refusal(503, {"retry-after": "7"}),
            ValueError("no"),
            asyncio.CancelledError(),
        ],
    )
    def test_no_other_failure_asks_for_time(self, error: BaseException) -> None:
        faults: list[BaseException] = []
        assert Watch({}, faults.append).failed(error).retry_after_s is None
        assert not faults
