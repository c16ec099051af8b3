"""Likeness and times net of the control arm: joined by request, and only where there is one."""

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.analysis import Analysis, analyse
from mirrorkit.compare.control import NET
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.statistics import betting
from mirrorkit.compare.trajectory import trajectories


def with_control(recorded, silent: list[str], control: list[str | None]) -> pl.DataFrame:
    """The primary always says "x"; a control of None was not drawn."""
    again = recorded(len(control), name="c", arm="control", output=("x", control))
    return pl.concat([recorded(len(silent), output=("x", silent)), again.drop_nulls("silent_output")])


def test_net_is_the_mean_of_what_differs_more_over_the_requests_with_both(recorded, row) -> None:
    frame = with_control(recorded, ["y", "y", "x", "y"], ["x", "y", "x", None])
    # d(A, B) - d(A, A'): 1 - 0, 1 - 1, 0 - 0
    for rows in (frame, frame.reverse()):
        seen = row(rows, "identical", NET)
        assert (seen["n"], seen["note"]) == (3, None)
        assert [seen[name] for name in ("primary", "silent", "effect")] == pytest.approx(
            [1 / 3, 2 / 3, 1 / 3]
        )
        low, high = betting.bounds(np.array([1.0, 0.5, 0.5]), 0.05)
        assert [seen["low"], seen["high"]] == pytest.approx([2 * low - 1, 2 * high - 1])


def test_a_model_that_differs_as_often_as_the_primary_from_itself_has_no_net_difference(
    recorded, row
) -> None:
    silent = ["y" if number % 2 else "x" for number in range(400)]
    control = ["y" if number % 4 < 2 else "x" for number in range(400)]
    seen = row(with_control(recorded, silent, control), "identical", NET)
    assert seen["effect"] == 0
    assert seen["low"] < 0 < seen["high"]


def test_net_rows_are_only_where_there_is_a_control_arm_and_only_for_likeness(recorded, told) -> None:
    assert NET not in told(recorded(3, output="x"))["estimand"]
    frame = with_control(recorded, ["y"] * 3, ["x"] * 3)
    rows = told(frame).filter(estimand=NET)
    assert rows.select("arm", "metric").rows() == [("mini", "identical"), ("mini", "similarity")]
    assert NET not in told(frame.filter(pl.col("arm") == "control"))["estimand"]


@pytest.mark.parametrize("request_id", [None, "other"])
def test_without_a_request_that_has_both_the_row_says_so(recorded, row, request_id: str | None) -> None:
    frame = with_control(recorded, ["y"], ["x"]).with_columns(
        request_id=pl.when(pl.col("arm") == "mini").then(pl.lit(request_id)).otherwise("request_id")
    )
    seen = row(frame, "identical", NET)
    assert (seen["n"], seen["effect"], seen["low"]) == (0, None, None)
    assert seen["note"] == "no request has both a silent and a control pair"


def test_a_request_that_came_twice_is_counted_once(recorded, row) -> None:
    frame = with_control(recorded, ["y"] * 3, ["x"] * 3).with_columns(request_id=pl.lit("r"))
    assert row(frame, "identical", NET)["n"] == 1


def test_one_conversation_is_one_event_whatever_its_turns(recorded, row) -> None:
    frame = with_control(recorded, ["y"] * 40, ["x"] * 40)
    together, alone = (
        row(each, "identical", NET) for each in (frame.with_columns(cluster=pl.lit("c")), frame)
    )
    one = row(with_control(recorded, ["y"], ["x"]), "identical", NET)
    assert together["effect"] == 1.0
    assert (together["low"], together["note"]) == (one["low"], None)
    assert alone["low"] > 0 > together["low"]


def test_similarity_is_net_of_control_too(recorded, row) -> None:
    seen = row(with_control(recorded, ["xy"], ["xyyy"]), "similarity", NET)
    # Indel: 1 of 3 characters, and 3 of 5
    assert seen["effect"] == pytest.approx(1 / 3 - 3 / 5)


def timed(recorded, primary: list[float], silent: list[float], control: list[float | None]) -> pl.DataFrame:
    again = recorded(len(control), name="c", arm="control", latency_s=(primary, control))
    return pl.concat(
        [recorded(len(silent), latency_s=(primary, silent)), again.drop_nulls("silent_latency_s")]
    )


def test_times_are_those_of_the_silent_call_and_the_control_call_of_a_request(recorded, row) -> None:
    frame = timed(recorded, [1.0] * 4, [2.0, 4.0, 8.0, 9.0], [4.0, 4.0, 4.0, None])
    for rows in (frame, frame.reverse()):
        seen = row(rows, "latency")
        assert (seen["n"], seen["estimand"]) == (3, "geometric-mean ratio, both sides ok, net of control")
        assert [seen[name] for name in ("primary", "silent", "effect")] == pytest.approx([4.0, 4.0, 1.0])
        assert "1 left out: no control call of the request" in seen["note"]
    assert row(frame, "latency", arm="control")["effect"] == pytest.approx(4.0)
    assert row(frame, "latency", arm="control")["estimand"] == "geometric-mean ratio, both sides ok"


def test_a_control_call_that_failed_or_came_from_a_cache_stands_for_no_time(recorded, row) -> None:
    frame = timed(recorded, [1.0] * 3, [2.0] * 3, [1.0] * 3)
    of_control = pl.col("arm") == "control"
    first, second = (pl.col("request_id") == frame["request_id"][place] for place in (0, 1))
    changed = frame.with_columns(
        silent_status=pl.when(of_control & first).then(pl.lit("error")).otherwise("silent_status"),
        silent_cache_hit=pl.when(of_control & second).then(True).otherwise("silent_cache_hit"),
    )
    assert row(changed, "latency")["n"] == 1


def test_load_that_meets_both_silent_calls_makes_no_model_slower(recorded) -> None:
    """Both are sent to a busy process later than their primary: × 2.5 of it, and not of each other."""
    random = np.random.default_rng(4)
    load = np.exp(np.cumsum(random.normal(size=600)) / 30)
    primary, silent, control = (
        (scale * load * random.lognormal(0, 0.1, 600)).tolist() for scale in (1.0, 2.5, 2.5)
    )
    plan = Plan().with_changes(gates={"latency": 1.1})

    def told(*times: list[float]) -> Analysis:
        frame = timed(recorded, *times) if len(times) == 3 else recorded(600, latency_s=times)
        return analyse(measured(frame, plan), plan)

    assert told(primary, silent).verdict.answer == "keep"
    beside = told(primary, silent, control)
    assert beside.verdict.answer == "switch"
    assert beside.gates["effect"][0] == pytest.approx(1.0, abs=0.05)
    assert not [each for each in beside.findings if each.metric == "latency"]
    slower = told(primary, [2 * each for each in silent], control)
    assert slower.verdict.answer == "keep"
    assert "net of control" in next(each.sentence for each in slower.findings if each.metric == "latency")
    [path] = trajectories(slower, plan, "latency")
    assert path.effect[-1] == pytest.approx(2.0, abs=0.1)
