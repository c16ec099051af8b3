"""A gate that no silent model can pass is told of."""

from typing import Any

import pytest

from mirrorkit.compare.analysis import analyse
from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from pairs import recorded

JSON = '{"response_format": {"type": "json_object"}}'


def told(gates: dict[str, float], pairs: int = 120, **columns: Any) -> list[str]:
    """What the warnings say of gates that cannot pass."""
    plan, frame = Plan(gates=gates), recorded(pairs, **columns)
    warnings = analyse(measured(frame, plan, differences(frame)), plan).warnings
    return [f"{each.arm}: {each.text}" for each in warnings if "cannot pass" in each.text]


def test_to_fail_less_often_than_never_cannot_be() -> None:
    (seen,) = told({"errors": -0.02})
    assert seen == (
        "mini: the gate errors < -2 points cannot pass: the primary's own share is 0 %, which leaves no "
        "room to be 2 points better. A margin says how much worse the silent side may be: errors=0.01 is one "
        "point."
    )


def test_nor_can_more_than_every_answer_be_valid() -> None:
    (seen,) = told({"json_valid": 0.02}, output="{}", params=JSON, call_type="completion")
    assert "json_valid > +2 points cannot pass: the primary's own share is 100 %" in seen


@pytest.mark.parametrize(
    ("gates", "columns"),
    [
        ({"errors": -0.02}, {"status": (["error", "ok", "ok"] * 40, "ok")}),
        ({"errors": 0.0, "refusals": 0.02, "json_valid": -0.05}, {"output": "{}", "params": JSON}),
        ({"errors": -0.02}, {"pairs": 99}),
        ({"cost": 0.01, "identical": 0.999, "preference": 0.99}, {"cost_usd": 1.0, "output": "x"}),
    ],
    ids=["there is room", "no worse", "few pairs", "no difference of shares"],
)
def test_what_can_be_is_not_told_of(gates: dict[str, float], columns: dict[str, Any]) -> None:
    assert told(gates, **columns) == []
