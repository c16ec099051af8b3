"""A silent call has a limit for its whole length: the session's, the Router's, or one that fits its twin."""

from dataclasses import dataclass
from typing import Any

import pytest

from mirrorkit.capture.policy import Policy
from mirrorkit.capture.time_limit import limit_of


@dataclass
class Router:
    timeout: float | None = None
    tries: int = 0

    def timeout_s(self, group: str) -> float | None:
        return self.timeout

    def retries(self, group: str) -> int:
        return self.tries


@pytest.mark.parametrize(
    ("policy", "router", "kwargs", "primary_s", "wanted"),
    [
        ({"timeout_s": 5}, Router(60, 2), {"timeout": 9}, 1.0, (5, True)),
        ({}, Router(60), {}, 1.0, (60, False)),
        ({}, Router(60), {"timeout": 9}, 1.0, (9, False)),
        ({}, Router(60, 2), {}, 1.0, (200, False)),
        ({"silent_retries": 0}, Router(60, 2), {}, 1.0, (60, False)),
        ({}, Router(), {}, 1.0, (120, True)),
        ({}, Router(), {}, None, (360, True)),
        ({}, Router(), {}, 100.0, (300, True)),
        ({}, Router(), {"timeout": True}, 1.0, (120, True)),
        ({}, Router(), {"timeout": "soon"}, 1.0, (120, True)),
    ],
)
def test_who_has_set_a_limit_is_asked_in_this_order(
    policy: Any, router: Any, kwargs: Any, primary_s: Any, wanted: Any
) -> None:
    assert limit_of(Policy(**policy), router, "next", kwargs, primary_s) == wanted
