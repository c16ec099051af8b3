"""The differences that can be claimed: found where they are, and not where they are not."""

import polars as pl
import pytest

from mirrorkit.compare.analysis import analyse
from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.findings import Finding
from mirrorkit.compare.measured import measured
from mirrorkit.compare.metrics import Metric
from mirrorkit.compare.plan import Plan


def found(frame: pl.DataFrame, plan: Plan | None = None) -> dict[str, Finding]:
    plan = plan or Plan()
    return {
        finding.metric: finding
        for finding in analyse(measured(frame, plan, differences(frame)), plan).findings
    }


UP, DOWN = [0.9, 1.1] * 200, [1.1, 0.9] * 200


def test_of_two_like_models_nothing_is_claimed(recorded) -> None:
    frame = recorded(400, latency_s=(UP, DOWN), cost_usd=(UP, DOWN), output="x", output_tokens=7)
    assert found(frame) == {}


def test_slower_cheaper_and_failing_models_are_named_with_effect_and_interval(recorded) -> None:
    frame = recorded(
        400,
        latency_s=(UP, [1.4 * each for each in UP]),
        cost_usd=(UP, [0.7 * each for each in UP]),
        status=("ok", ["ok", "error", "ok", "ok"] * 100),
    )
    seen = found(frame)
    assert set(seen) == {"latency", "cost", "errors"}
    assert seen["latency"].sentence == "mini is slower: latency ×1.40 (×1.40 to ×1.40)"
    assert seen["cost"].sentence == "mini is cheaper: cost ×0.700 (×0.700 to ×0.700)"
    assert str(seen["errors"]).startswith("mini is failing more often: errors +25.0 points (+")
    assert seen["errors"].low > 0


def test_likeness_is_claimed_only_net_of_the_control_arm(recorded) -> None:
    silent = recorded(400, output=("x", "y"))
    assert found(silent) == {}
    control = recorded(400, name="c", arm="control", output=("x", ["x", "y", "x", "x"] * 100))
    seen = found(pl.concat([silent, control]))
    assert seen["identical"].sentence.startswith(
        "mini gives answers that differ from big's more than big's do among themselves: identical, net of "
        "control, +75.0 points ("
    )
    assert "similarity" in seen
    same = found(pl.concat([recorded(400, output=("x", ["y", "x", "x", "x"] * 100)), control]))
    assert same == {}
    alike = found(
        pl.concat([recorded(400, output="x"), recorded(400, name="c", arm="control", output=("x", "y"))])
    )
    assert alike["identical"].sentence.startswith(
        "mini gives answers that differ from big's less than big's do among themselves: identical, net of "
    )


def test_of_control_itself_nothing_is_claimed(recorded) -> None:
    assert found(recorded(400, arm="control", latency_s=(1.0, [1.9, 2.1] * 200))) == {}


def test_a_win_rate_is_claimed_against_a_half(recorded) -> None:
    seen = found(recorded(200, preference=["silent", "silent", "silent", "tie"] * 50))
    assert seen["preference"].sentence.startswith("mini is preferred more often: preference 87.5 % (")


def test_a_users_metric_is_claimed_where_none_is_in_the_middle_of_its_bounds(recorded) -> None:
    signed, share = Metric(lambda pair: 0.5, bounds=(-1, 1)), Metric(lambda pair: 1.0)
    seen = found(recorded(200), Plan().with_changes(metrics={"signed": signed, "share": share}))
    assert list(seen) == ["signed"]
    assert seen["signed"].sentence.startswith("mini is higher in signed: signed 0.500 (")


def test_a_field_that_is_missing_is_named(recorded) -> None:
    answers = ('{"a": 1, "b": 2}', '{"a": 1}')
    control = recorded(200, name="c", arm="control", output=answers[0])
    seen = found(pl.concat([recorded(200, output=answers), control]))
    assert seen["fields"].path == "$.b"
    assert seen["fields"].sentence.startswith(
        "mini lacks $.b in 100 % of 200 pairs; net of how often big differs"
    )


@pytest.mark.parametrize(("ratio", "claimed"), [(1.01, True), (1.0034, False)])
def test_alpha_is_shared_among_all_that_is_tested(recorded, ratio: float, claimed: bool) -> None:
    """An interval of its own would leave out 1 at both ratios; that at a share of alpha at one."""
    silent = [ratio * (1.02 if number % 2 else 1 / 1.02) for number in range(400)]
    frame = recorded(400, latency_s=(1.0, silent), cost_usd=(UP, DOWN))
    plan = Plan()
    told = analyse(measured(frame, plan, differences(frame)), plan)
    assert told.table.row(0, named=True)["low"] > 1
    assert ("latency" in {finding.metric for finding in told.findings}) == claimed


def test_sides_that_are_equal_in_every_pair_do_not_differ(recorded) -> None:
    assert found(recorded(300, input_tokens=[7, 11, 13] * 100, cost_usd=[0.1, 0.7, 0.3] * 100)) == {}
