"""From traffic to a decision, the whole way: Router → SDK → HTTP → simulator → frame → comparison."""

from typing import Any

import pytest

import mirrorkit as mk
from mirrorkit.simulator import SimulatedModel, SimulatorProcess, prompts

pytestmark = pytest.mark.slow

PRICE = {"input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6}
CHEAPER = {name: 0.7 * price for name, price in PRICE.items()}
# long enough that this process, which makes all calls, is not what is measured
TIMES = {"ttft_s": 0.2, "token_s": 0.003}


def model(name: str, **more: Any) -> SimulatedModel:
    return SimulatedModel(name, **{**TIMES, "agreement": 1.0, "variation": 0.2, **more})


def mirrored(
    models: dict[str, tuple[SimulatedModel, dict[str, float]]], n: int, concurrency: int, **settings: Any
) -> mk.Comparison:
    """`n` requests to the group "chat", mirrored to all the other groups."""
    with SimulatorProcess([each for each, _ in models.values()], seed=1) as simulator:
        deployments = [
            simulator.deployment(group, each.name, **price) for group, (each, price) in models.items()
        ]
        arms = [group for group in models if group != "chat"]
        with mk.MirrorSession(deployments, arms, seed=1, **settings) as session:
            session.run(
                prompts(n, seed=2), model="chat", num_retries=0, progress=False, concurrency=concurrency
            )
            session.drain()
            return session.compare()


def test_identical_models_with_a_control_arm_end_in_no_claimed_difference() -> None:
    twins = {"chat": (model("original"), PRICE), "twin": (model("copy"), PRICE)}
    seen = mirrored(twins, 400, 4, control=0.5)
    assert [str(finding) for finding in seen.findings] == []
    assert seen.verdict.answer == "keep collecting"
    assert set(seen.fields["reading"]) <= {"noise", "open"}
    net = seen.table.filter(arm="twin", estimand="difference of shares, net of control")
    assert net.height > 0
    assert all(row["low"] <= 0 <= row["high"] for row in net.iter_rows(named=True))


def test_what_is_slower_cheaper_or_lacks_a_field_is_found_named_and_shown() -> None:
    slow = {name: 1.4 * seconds for name, seconds in TIMES.items()}
    models = {
        "chat": (model("original"), PRICE),
        "slow": (model("sluggish", **slow), PRICE),
        "cheap": (model("thrifty"), CHEAPER),
        "lossy": (model("forgetful", omits=("order_id",)), PRICE),
    }
    seen = mirrored(models, 400, 2, control=0.5)
    found = {(finding.arm, finding.metric): finding for finding in seen.findings}

    slower = found["slow", "latency"]
    assert "slow is slower: latency ×1." in slower.sentence
    assert slower.low < 1.4 < slower.high
    cheaper = found["cheap", "cost"]
    assert "cheap is cheaper: cost ×0.70" in cheaper.sentence
    assert cheaper.low < 0.7 < cheaper.high
    lacking = found["lossy", "fields"]
    assert lacking.path == "$.order_id"
    assert "lossy lacks $.order_id" in lacking.sentence
    assert {(arm, metric) for arm, metric in found if metric in ("latency", "cost")} == {
        ("slow", "latency"),
        ("cheap", "cost"),
    }
    shown = repr(seen)
    assert all(finding.sentence in " ".join(shown.split()) for finding in (slower, cheaper, lacking))
    fields = seen.fields.filter(arm="lossy", path="$.order_id").row(0, named=True)
    assert fields["reading"] == "differs"
    assert fields["removed"] == pytest.approx(1.0)
    assert fields["control"] == 0.0
