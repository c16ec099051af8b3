"""How long a silent call may take, in all."""

from collections.abc import Mapping
from typing import Any, Protocol

from mirrorkit.capture.policy import Policy

_DEFAULT_S = 120.0
_TIMES_THE_PRIMARY = 3.0
_TOGETHER_S = 360.0
"""Where the primary is still under way, so that nobody knows how long it takes."""
_TIMEOUTS = ("timeout", "request_timeout", "stream_timeout")
_BACK_OFF_S = 10.0
"""Seconds between two attempts, at most, as LiteLLM retries."""


class Knows(Protocol):
    """What the Router is set to, for a model group."""

    def timeout_s(self, group: str) -> float | None:
        """The time-out of an attempt, in seconds, where somebody has set one."""

    def retries(self, group: str) -> int:
        """How often a call is tried again."""


def limit_of(
    policy: Policy, known: Knows, group: str, kwargs: Mapping[str, Any], primary_s: float | None
) -> tuple[float, bool]:
    """The seconds that a silent call may take, retries included, and whether an attempt may take as many.

    The session's own `timeout_s` where it has one. Else what the caller or the Router has set for an attempt,
    times the attempts. Else 120 s, or three times what the primary took, so that a slow model is not cut off
    where its twin was not; and 360 s where it is not known what the primary takes.
    """
    if policy.timeout_s is not None:
        return policy.timeout_s, True
    # an httpx.Timeout has a limit for each read
    asked = (getattr(kwargs.get(name), "read", kwargs.get(name)) for name in _TIMEOUTS)
    told = (float(each) for each in asked if isinstance(each, int | float) and not isinstance(each, bool))
    attempt_s = next((each for each in told if each > 0), None) or known.timeout_s(group)
    if attempt_s is not None:
        retries = known.retries(group) if policy.silent_retries is None else policy.silent_retries
        return attempt_s * (1 + retries) + _BACK_OFF_S * retries, False
    if primary_s is None:
        return _TOGETHER_S, True
    return max(_DEFAULT_S, _TIMES_THE_PRIMARY * primary_s), True
