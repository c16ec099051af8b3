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


def single_questions(n: int) -> list[dict[str, Any]]:
    """Requests that belong to no conversation, so that each counts for itself."""
    return [{**each, "metadata": {"tags": each["metadata"]["tags"]}} for each in prompts(n, seed=2)]


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
            requests = single_questions(n)
            session.run(requests, model="chat", num_retries=0, progress=False, concurrency=concurrency)
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
    found = {(finding.arm, finding.path or finding.metric): finding for finding in seen.findings}

    slower = found["slow", "latency"]
    assert "slow is slower: latency, net of control, ×1." in slower.sentence
    assert slower.low < 1.4 < slower.high
    cheaper = found["cheap", "cost"]
    assert "cheap is cheaper: cost ×0.70" in cheaper.sentence
    assert cheaper.low < 0.7 < cheaper.high
    lacking = found["lossy", "$.order_id"]
    assert "lossy lacks $.order_id in " in lacking.sentence
    assert lacking.low > 0

    # each of them is that one thing; without a field, answers are shorter too
    assert [arm for arm, what in found if what == "latency" and found[arm, what].low > 1] == ["slow"]
    assert {arm for arm, what in found if what.startswith("$.")} == {"lossy"}
    assert not {what for arm, what in found if arm == "cheap"} - {"cost"}

    shown = " ".join(repr(seen).split())
    assert all(each.sentence in shown for each in (slower, cheaper, lacking))
    field = seen.fields.filter(arm="lossy", path="$.order_id").row(0, named=True)
    # half of the JSON answers are asked for by a schema, which has the field
    assert (field["reading"], field["control"]) == ("differs", 0.0)
    assert 0.3 < field["removed"] < 0.7
