"""No gate is decided, and nothing claimed, while more than a few answers are left out on one side alone."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.evidence import Evidence, by_arm, draw
from mirrorkit.compare.gates import Crossing, crossing
from mirrorkit.compare.metrics import BUILT_IN, Metric
from mirrorkit.compare.omissions import too_many
from mirrorkit.compare.selection import Omission
from mirrorkit.comparison import Comparison, compare
from pairs import recorded

N = 400
JSON = '{"response_format": {"type": "json_object"}}'
CALL = '[{"name": "weather", "arguments": "{}"}]'
PROSE = "The weather is nice today, and it will be so tomorrow."


def lacking(value: Any, many: int, instead: Any = None) -> list[Any]:
    """`value` in each of the pairs, but for `many` of them, spread evenly."""
    gaps = {int(at) for at in np.linspace(1, N - 1, many)}
    return [instead if at in gaps else value for at in range(N)]


def seen(frame: pl.DataFrame, **more: Any) -> Comparison:
    return compare(frame, **{"progress": False, **more})


def gate(frame: pl.DataFrame, metric: str, margin: float, **more: Any) -> dict[str, Any]:
    return seen(frame, gates={metric: margin}, **more).gates.row(0, named=True)


# a metric, a margin that is cleared, what the sides have, and the column that one of them may lack
LACKS: list[tuple[str, float, dict[str, Any], str]] = [
    ("latency", 1.1, {"latency_s": (1.0, 0.9)}, "latency_s"),
    ("latency_with_errors", 1.1, {"latency_s": (1.0, 0.9)}, "latency_s"),
    ("over_slo", 0.1, {"latency_s": (1.0, 0.9)}, "latency_s"),
    ("ttft", 1.1, {"ttft_s": (1.0, 0.9), "stream": True}, "ttft_s"),
    ("tokens_per_s", 0.9, {"latency_s": 1.0, "output_tokens": 9}, "output_tokens"),
    ("cost", 1.1, {"cost_usd": (1.0, 0.9)}, "cost_usd"),
    ("input_tokens", 1.1, {"input_tokens": 9}, "input_tokens"),
    ("output_tokens", 1.1, {"output_tokens": 9}, "output_tokens"),
    ("blank", 0.1, {"output": "x"}, "output"),
    ("refusals", 0.1, {"output": "x"}, "output"),
    ("truncated", 0.1, {"finish_reason": "stop"}, "finish_reason"),
    ("finish_reason", 0.5, {"finish_reason": "stop"}, "finish_reason"),
    ("output_length", 1.1, {"output": "x"}, "output"),
    ("json_valid", 0.1, {"output": "{}", "params": JSON}, "output"),
    ("identical", 0.5, {"output": "x"}, "output"),
    ("similarity", 0.5, {"output": "x"}, "output"),
    ("json_equal", 0.5, {"output": "{}"}, "output"),
    ("tool_calls", 0.5, {"tool_calls": CALL}, "tool_calls"),
    ("language", 0.5, {"output": PROSE}, "output"),
]


@pytest.mark.parametrize(("metric", "margin", "columns", "name"), LACKS, ids=[each[0] for each in LACKS])
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.slow
def test_what_one_side_alone_lacks_holds_the_gate_open_and_says_how_often(
    metric: str, margin: float, columns: dict[str, Any], name: str, side: int
) -> None:
    both = columns[name] if isinstance(columns[name], tuple) else (columns[name],) * 2
    more = {"slo_s": 2} if metric == "over_slo" else {}

    def with_gaps(many: int, sides: tuple[int, ...] = (side,)) -> pl.DataFrame:
        made = tuple(lacking(value, many) if at in sides else value for at, value in enumerate(both))
        return recorded(N, **{**columns, name: made})

    assert gate(with_gaps(0), metric, margin, **more)["state"] == "passed"
    assert gate(with_gaps(4), metric, margin, **more)["state"] == "passed", "one in a hundred"
    held = gate(with_gaps(20), metric, margin, **more)
    assert (held["state"], held["pairs_needed"]) == ("open", None)
    assert f"20 of {N} pairs are left out because of one side alone, more than 1 %: " in held["note"]
    assert f"(primary {20 * (side == 0)}, silent {20 * (side == 1)})" in held["note"]
    # what is known of neither side tells nothing for or against one
    assert gate(with_gaps(20, (0, 1)), metric, margin, **more)["state"] == "passed"


def test_every_metric_that_can_leave_out_a_side_is_among_these() -> None:
    gaps = {name for name, metric in BUILT_IN.items() if any(reason.gap for reason in metric.reasons)}
    assert gaps | {"over_slo"} == {metric for metric, *_ in LACKS}


def test_the_verdict_keeps_collecting_with_the_reason_and_the_warning_tells_it_too() -> None:
    frame = recorded(N, latency_s=(1.0, 0.9), cost_usd=(1.0, lacking(0.5, 20)))
    gates = {"latency": 1.1, "cost": 1.0, "errors": 0.1}
    comparison = seen(frame, gates=gates)
    verdict = comparison.verdict
    assert (verdict.answer, verdict.decided_by, verdict.pairs_needed) == ("keep collecting", "cost", None)
    words = "20 of 400 pairs are left out because of one side alone"
    assert words in verdict.sentence
    assert "cost unknown (primary 0, silent 20)" in verdict.sentence
    (warning,) = [each for each in comparison.warnings if words in each.text]
    assert (warning.arm, warning.text.partition(":")[0]) == ("mini", "cost")
    assert "cost" not in {each.metric for each in comparison.findings}
    whole = seen(frame.with_columns(silent_cost_usd=pl.lit(0.5)), gates=gates)
    assert whole.verdict.answer == "switch"
    assert "cost" in {each.metric for each in whole.findings}
    assert not any(words in each.text for each in whole.warnings)


def test_a_gate_that_would_fail_is_open_too() -> None:
    dear = recorded(N, cost_usd=(1.0, lacking(9.0, 20)))
    assert gate(dear, "cost", 1.0)["state"] == "open"
    assert gate(dear.with_columns(silent_cost_usd=pl.lit(9.0)), "cost", 1.0)["state"] == "failed"


def test_a_gate_that_fails_beside_one_that_is_held_open_keeps_the_primary() -> None:
    frame = recorded(N, latency_s=(1.0, [1.9, 2.1] * 200), cost_usd=(1.0, lacking(0.5, 20)))
    assert (seen(frame).verdict.answer, seen(frame).verdict.decided_by) == ("keep", "latency")


@pytest.mark.parametrize("status", ["error", "timeout", "cancelled", "abandoned", "unknown"])
def test_what_is_not_ok_is_no_omission(status: str) -> None:
    """It is left out for how the call ended, which errors and warnings tell of."""
    frame = recorded(
        N,
        status=("ok", lacking("ok", 60, status)),
        latency_s=(1.0, lacking(0.9, 60)),
        cost_usd=(1.0, lacking(0.9, 60)),
        output=("x", lacking("x", 60)),
    )
    for metric, margin in (("latency", 1.1), ("cost", 1.1), ("identical", 0.5), ("refusals", 0.1)):
        assert gate(frame, metric, margin)["state"] == "passed", metric


def test_what_came_from_a_cache_is_no_omission() -> None:
    frame = recorded(N, cost_usd=(lacking(1.0, 60, 0.0), 0.9), cache_hit=(lacking(False, 60, True), False))
    assert gate(frame, "cost", 1.1)["state"] == "passed"


def test_no_usable_pair_says_why_and_what_to_do() -> None:
    frame = recorded(N, input_tokens=9, usage_source=("estimated", "provider"))
    held = gate(frame, "input_tokens", 1.5)
    assert held["state"] == "open"
    assert held["note"].startswith("no usable pair; 400 left out: tokens estimated, those of the other side")
    assert "ask for usage" in held["note"]
    assert "stream_options={'include_usage': True}" in held["note"]


# estimates beside reports


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cost", "input_tokens", "output_tokens", "tokens_per_s"])
def test_tokens_that_were_estimated_are_not_compared_with_those_that_were_reported(metric: str) -> None:
    columns = {"cost_usd": 1.0, "input_tokens": 9, "output_tokens": 9, "latency_s": 1.0}
    for sources in (("provider",) * 2, ("estimated",) * 2, (None,) * 2, (None, "provider")):
        like = seen(recorded(N, usage_source=sources, **columns)).table.filter(metric=metric)
        assert like["n"][0] == N, sources
    unlike = recorded(N, usage_source=("provider", lacking("provider", 20, "estimated")), **columns)
    row = seen(unlike).table.filter(metric=metric).row(0, named=True)
    assert row["n"] == N - 20
    assert (
        "20 left out: tokens estimated, those of the other side reported (primary 0, silent 20)"
        in row["note"]
    )
    held = gate(unlike, metric, 0.5 if metric == "tokens_per_s" else 1.5)
    assert held["state"] == "open"
    assert "ask for usage" in held["note"]


def test_metrics_that_leave_out_the_same_pairs_are_warned_of_together() -> None:
    columns = {"cost_usd": 1.0, "input_tokens": 9, "output_tokens": 9, "latency_s": 1.0}
    frame = recorded(N, usage_source=(lacking("provider", 20, "estimated"), "provider"), **columns)
    warnings = [each.text for each in seen(frame).warnings if "because of one side alone" in each.text]
    assert len(warnings) == 1
    assert warnings[0].startswith("tokens_per_s, cost, input_tokens, output_tokens: 20 of 400 pairs")


# a user's metric


def test_a_metric_that_raises_often_holds_its_gate_open_and_one_that_says_none_does_not() -> None:
    frame = recorded(N, output=("{}", lacking("{}", 20, "")))

    def strict(pair: dict[str, Any]) -> float:
        return {"{}": 1.0}[pair["silent_output"]]

    def lenient(pair: dict[str, Any]) -> float | None:
        return {"{}": 1.0}.get(pair["silent_output"])

    held = gate(frame, "mine", 0.5, metrics={"mine": strict})
    assert held["state"] == "open"
    assert "it raised" in held["note"]
    assert "give None for a pair that it is not about" in held["note"]
    assert gate(frame, "mine", 0.5, metrics={"mine": lenient})["state"] == "passed"
    endless = Metric(pl.when(pl.col("silent_output") == "").then(np.inf).otherwise(0.0), bounds=None)
    assert gate(frame, "mine", -1.0, metrics={"mine": endless})["state"] == "open"


def test_where_a_call_failed_a_metric_may_raise() -> None:
    frame = recorded(N, status=("ok", lacking("ok", 20, "error")), output=("x", lacking("x", 20)))
    assert (
        gate(frame, "mine", 0.5, metrics={"mine": lambda pair: len(pair["silent_output"])})["state"]
        == "passed"
    )


# blank answers


def test_half_of_the_answers_blank_are_not_like_the_primarys() -> None:
    frame = recorded(N, call_type="completion", output=("On its way.", ["On its way.", None] * 200))
    comparison = seen(frame, gates={"similarity": 0.8, "errors": 0.2})
    told = {row["metric"]: (row["n"], row["effect"]) for row in comparison.table.iter_rows(named=True)}
    assert told["similarity"] == told["identical"] == (N, 0.5)
    assert told["output_length"] == (N, 0.5)
    assert told["blank"] == (N, 0.5)
    assert told["refusals"] == (N, 0.0)
    assert "language" not in told
    assert (comparison.verdict.answer, comparison.verdict.decided_by) == ("keep", "similarity")
    (finding,) = [each for each in comparison.findings if each.metric == "blank"]
    assert finding.sentence.startswith("mini is giving blank answers more often: blank +50.0 points (")
    assert any("blank answers" in each.text and "primary 0, silent 200 of 400" in each.text
               for each in comparison.warnings)  # fmt: skip


@pytest.mark.parametrize("blank", ["", None, " \n"])
def test_a_blank_answer_is_not_the_json_that_was_asked_for(blank: str | None) -> None:
    frame = recorded(240, call_type="completion", params=JSON, output=("{}", ["{}", "{}", blank] * 80))
    comparison = seen(frame, gates={"json_valid": 0.05, "errors": 0.05})
    row = comparison.table.filter(metric="json_valid").row(0, named=True)
    assert (row["n"], row["primary"], row["silent"]) == pytest.approx((240, 1, 2 / 3))
    assert (comparison.verdict.answer, comparison.verdict.decided_by) == ("keep", "json_valid")
    assert comparison.table.filter(metric="json_equal")["effect"][0] == pytest.approx(2 / 3)
    lacks = comparison.fields.filter(path="$").row(0, named=True)
    assert (lacks["n"], lacks["removed"]) == (240, pytest.approx(1 / 3))


def test_a_gate_on_blank_answers_is_like_one_on_refusals() -> None:
    frame = recorded(N, output=("x", lacking("x", 20, "")))
    assert gate(frame, "blank", 0.2)["gate"] == "blank < +20 points"
    assert gate(frame, "blank", 0.2)["state"] == "passed"
    assert gate(recorded(N, output=("x", "")), "blank", 0.2)["state"] == "failed"


def test_two_blank_answers_are_alike() -> None:
    table = seen(recorded(9, call_type="completion")).table
    told = {row["metric"]: (row["n"], row["effect"]) for row in table.iter_rows(named=True)}
    assert told["identical"] == told["similarity"] == (9, 1.0)
    assert told["blank"] == (9, 0.0)


def test_a_tool_call_on_one_side_alone_is_unlike_a_text_and_neither_valid_json_nor_not() -> None:
    frame = recorded(
        N, call_type="completion", params=JSON, output=("{}", lacking("{}", 20)),
        tool_calls=(None, lacking(None, 20, CALL)),
    )  # fmt: skip
    comparison = seen(frame, gates={"json_valid": 0.2, "tool_calls": 0.5, "identical": 0.5})
    told = {row["metric"]: (row["n"], row["effect"]) for row in comparison.table.iter_rows(named=True)}
    assert told["identical"] == told["similarity"] == told["json_equal"] == (N, 0.95)
    assert told["tool_calls"] == (20, 0.0)
    states = dict(comparison.gates.select("metric", "state").rows())
    assert states == {"json_valid": "open", "tool_calls": "failed", "identical": "passed"}


def test_calls_of_unknown_outcome_count_neither_as_answered_nor_as_failed() -> None:
    frame = recorded(10, status=("ok", ["ok"] * 7 + ["unknown"] * 3), latency_s=1.0, cost_usd=1.0, output="x")
    comparison = seen(frame, slo_s=2)
    for metric in (
        "latency",
        "latency_with_errors",
        "cost",
        "errors",
        "over_slo",
        "blank",
        "refusals",
        "identical",
    ):
        row = comparison.table.filter(metric=metric).row(0, named=True)
        assert row["n"] == 7, metric
        assert "3 left out: " in row["note"], metric
    assert comparison.table.filter(metric="errors")["silent"][0] == 0
    assert any(
        "before anyone heard of them: primary 0, silent 3;" in each.text for each in comparison.warnings
    )


# when it is decided


def evidence(used: Any, omitted: Any) -> Evidence:
    """Pairs whose silent side is a tenth faster, and others left out, by their times."""
    used, omitted = (np.sort(np.asarray(times, dtype=np.int64)) for times in (used, omitted))
    faster = np.full(len(used), 0.9)
    omissions = (Omission("latency unknown", len(omitted), 0, len(omitted)),) * bool(len(omitted))
    return Evidence(
        BUILT_IN["latency"], pl.DataFrame(), np.ones(len(used)), faster, np.log(faster), None, used, (),
        omissions, omitted,
    )  # fmt: skip


def crossed(each: Evidence, margin: float = 1.1) -> Crossing:
    allowed = np.full(len(each), 0.05)
    return crossing(each, margin, allowed, allowed)


def test_a_gate_is_decided_once_those_left_out_are_few_enough_and_stays_so() -> None:
    early = evidence(range(1, 1_000, 2), [0, 2])
    assert crossed(early).passed == 197, "two of 200"
    late = evidence(range(1, 1_000, 2), range(600, 1_000, 2))
    assert crossed(late).passed == 99, "decided before any was left out"
    assert too_many(late)
    never = evidence(range(1, 1_000, 2), range(0, 1_000, 20))
    assert crossed(never) == Crossing(None, None)
    assert crossed(never, 0.5) == Crossing(None, None)
    assert crossed(early, 0.5) == Crossing(None, 197)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 400), max_size=6), st.data())
def test_more_pairs_never_change_what_was_decided(out: list[int], data: st.DataObject) -> None:
    times = np.arange(600)
    omitted = np.unique(np.array(out, dtype=np.int64))
    used = np.setdiff1d(times, omitted)
    n = data.draw(st.integers(1, 600))
    margin = data.draw(st.sampled_from([1.1, 0.5]))
    whole = crossed(evidence(used, omitted), margin)
    part = crossed(evidence(used[used < n], omitted[omitted < n]), margin)
    for late, soon in ((whole.passed, part.passed), (whole.failed, part.failed)):
        assert soon == (late if late is not None and used[late] < n else None)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_swapping_the_sides_swaps_the_counts_and_nothing_else(one: int, other: int, both: int) -> None:
    n = 120
    gaps = [0] * one + [1] * other + [2] * both + [3] * (n - one - other - both)
    costs = tuple([None if gap in (side, 2) else 1.0 for gap in gaps] for side in (0, 1))
    drawn = [
        draw(by_arm(recorded(n, cost_usd=sides))["mini"], BUILT_IN["cost"]) for sides in (costs, costs[::-1])
    ]
    assert len(drawn[0]) == len(drawn[1]) == n - one - other - both
    assert drawn[0].omitted.tolist() == drawn[1].omitted.tolist()
    assert too_many(drawn[0]) == too_many(drawn[1]) == (one + other > 0.01 * (n - both))
    counts = [[(each.primary, each.silent) for each in side.omissions] for side in drawn]
    expected = [(one, other)] if one + other else []
    assert counts == [expected, [each[::-1] for each in expected]]
