"""The table of a comparison: its values, its intervals, what it leaves out, and what it says about that."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import lambertw, stdtrit

from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.estimates import estimate
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.rows import TABLE
from mirrorkit.compare.statistics import betting, onelook
from mirrorkit.records import SCHEMA

ENDS = ("low", "high", "one_look_low", "one_look_high")


def radius(n: int, t_opt: float, alpha: float = 0.05) -> float:
    """Half the width of AsympCS at a standard deviation of 1, written down once more."""
    rho2 = (-lambertw(-(alpha**2) / math.e, -1).real - 1) / t_opt
    a = n * rho2 + 1
    return math.sqrt(2 * a / (n**2 * rho2) * math.log(math.sqrt(a) / alpha))


def ends(row: dict[str, Any]) -> list[float | None]:
    return [row[name] for name in ENDS]


def test_the_table_has_the_columns_of_the_design_and_its_rows_in_one_order(recorded, told) -> None:
    table = told(recorded(4, arm=["control", "b", "a", "b"]))
    assert dict(table.schema) == TABLE
    assert table["arm"].unique(maintain_order=True).to_list() == ["b", "a", "control"]
    assert table.filter(arm="a").select("metric", "estimand").rows() == [
        ("latency", "geometric-mean ratio, both sides ok, net of control"),
        ("latency", "difference of p50"),
        ("latency", "difference of p95"),
        ("latency", "difference of p99"),
        ("latency_with_errors", "median of the pairs' ratios, a failed side as infinitely slow"),
        ("tokens_per_s", "geometric-mean ratio, both sides ok, net of control"),
        ("cost", "ratio of totals"),
        ("cost", "difference per 1,000 calls"),
        ("input_tokens", "ratio of totals"),
        ("output_tokens", "ratio of totals"),
        ("errors", "difference of shares"),
        ("refusals", "difference of shares"),
        ("truncated", "difference of shares"),
        ("finish_reason", "share of pairs with the same"),
        ("output_length", "ratio of totals"),
        ("identical", "share of pairs"),
        ("similarity", "mean of the pairs"),
    ]


def test_latency_is_the_geometric_mean_of_the_ratios_and_of_each_side(recorded, row) -> None:
    # ln 2 and -ln 4: their mean is -ln 2 / 2
    seen = row(recorded(2, latency_s=([1.0, 4.0], [2.0, 1.0])), "latency")
    assert (seen["n"], seen["unit"]) == (2, "s")
    assert (seen["primary"], seen["silent"]) == pytest.approx((2, math.sqrt(2)))
    assert seen["effect"] == pytest.approx(2**-0.5)
    assert seen["low"] is None
    assert seen["note"] == "an interval takes 100 pairs: 98 missing"


def test_latencys_intervals_are_asympcs_and_t_on_the_logarithms(recorded, row) -> None:
    count, sd = 100, math.sqrt(100 / 99)
    frame = recorded(count, latency_s=(1.0, [math.e, 1 / math.e] * 50))
    seen = row(frame, "latency")
    half, half_t = sd * radius(count, 1_000), sd * -stdtrit(99, 0.025) / 10
    expected = [math.exp(each) for each in (-half, half, -half_t, half_t)]
    assert ends(seen) == pytest.approx(expected)
    assert (seen["effect"], seen["note"]) == (pytest.approx(1), None)
    wider = row(frame, "latency", alpha=0.01)
    assert wider["high"] == pytest.approx(math.exp(sd * radius(count, 1_000, 0.01)))
    assert row(frame[:99], "latency")["note"] == "an interval takes 100 pairs: 1 missing"


def test_pairs_of_a_conversation_widen_the_intervals(recorded, row) -> None:
    ratios = [math.e if number % 4 < 2 else 1 / math.e for number in range(200)]
    twos = [str(number // 2) for number in range(200)]
    alone = row(recorded(200, latency_s=(1.0, ratios)), "latency")
    together = row(recorded(200, latency_s=(1.0, ratios), cluster=twos), "latency")
    # two like pairs tell as much as one: the error is that of 100 pairs
    half = math.sqrt(100 / 99) * radius(100, 100)
    assert (together["low"], together["high"]) == pytest.approx((math.exp(-half), math.exp(half)))
    assert together["low"] < alone["low"] < alone["high"] < together["high"]
    assert together["one_look_high"] > alone["one_look_high"]


@pytest.mark.parametrize(
    ("clusters", "note"),
    [
        (["c"] * 300, "an interval takes 30 conversations: 29 missing"),
        ([str(number // 20) for number in range(300)], "an interval takes 30 conversations: 15 missing"),
        (
            ["long"] * 200 + [str(number) for number in range(100)],
            "an interval takes 20 conversations of like size: a few are so long that these 101 are worth",
        ),
    ],
)
@pytest.mark.parametrize("metric", ["latency", "cost"])
def test_too_few_conversations_give_no_interval_and_say_so(
    recorded, row, clusters: list[str], note: str, metric: str
) -> None:
    both = ([1.0, 2.0] * 150, [2.0, 1.0] * 150)
    seen = row(recorded(300, latency_s=both, cost_usd=both, output="x", cluster=clusters), metric)
    assert (seen["low"], seen["high"]) == (None, None)
    assert note in seen["note"]


def test_shares_of_conversations_count_each_once_and_say_so(recorded, row) -> None:
    """Ten conversations of which five fail whole, and one that is long and never fails."""
    failed = ["error"] * 10 + ["ok"] * 10 + ["ok"] * 30
    clusters = [str(number // 2) for number in range(20)] + ["long"] * 30
    seen = row(recorded(50, status=("ok", failed), cluster=clusters), "errors")
    assert (seen["silent"], seen["effect"]) == (pytest.approx(0.2), pytest.approx(5 / 11))
    assert seen["low"] < 5 / 11 < seen["high"]
    assert seen["note"] == "each conversation counts once; 0.200 if each request does"


def test_pairs_that_depend_on_each_other_widen_the_interval(recorded, row) -> None:
    """Twenty of a thousand fail, evenly, or all in one outage."""
    evenly = ["error" if number % 50 == 7 else "ok" for number in range(1_000)]
    outage = ["error"] * 20 + ["ok"] * 980
    apart, together = (row(recorded(1_000, status=("ok", each)), "errors") for each in (evenly, outage))
    assert together["effect"] == apart["effect"]
    assert together["high"] - together["low"] > 3 * (apart["high"] - apart["low"])


def test_latency_leaves_out_and_counts_failures_cache_hits_and_impossible_times(recorded, row) -> None:
    frame = recorded(
        9,
        status=(["ok"] * 2 + ["timeout"] + ["ok"] * 6, ["ok"] + ["error"] * 2 + ["ok"] * 6),
        latency_s=([1, 9, 9, 9, None, math.nan, 9, 9, 0], [2, 9, 9, 9, 9, 9, -1.0, math.inf, 9]),
        cache_hit=([None, None, None, True, None, None, None, None, None], None),
    )
    seen = row(frame, "latency")
    assert (seen["n"], seen["primary"], seen["silent"]) == (1, 1.0, 2.0)
    assert seen["note"] == (
        "an interval takes 100 pairs: 99 missing; "
        "2 left out: not ok (primary 1, silent 2); "
        "1 left out: answered by a cache (primary 1, silent 0); "
        "1 left out: latency unknown (primary 1, silent 0); "
        "3 left out: latency negative or not finite (primary 1, silent 2); "
        "1 left out: latency 0 (primary 1, silent 0)"
    )


def test_retries_and_fall_backs_in_the_latency_are_counted(recorded, row) -> None:
    frame = recorded(1, latency_s=(3, 1), attempts=(3, 1), fell_back=(True, None))
    assert row(frame, "latency")["note"].endswith(
        "retries are in the time (primary 1, silent 0); fell back to another group (primary 1, silent 0)"
    )


def test_ttft_has_rows_only_where_there_are_streams_and_looks_at_them_alone(recorded, told, row) -> None:
    frame = recorded(3, arm=["whole", "mini", "mini"], stream=[False, True, False], ttft_s=(0.4, 0.1))
    assert told(frame, ["ttft"])["arm"].unique().to_list() == ["mini"]
    seen = row(frame, "ttft")
    assert (seen["n"], seen["effect"]) == (1, pytest.approx(0.25))
    assert "left out" not in seen["note"]


def test_speed_is_output_tokens_per_second(recorded, row) -> None:
    frame = recorded(3, output_tokens=([10, 10, 0], 30), latency_s=([1.0, 0.0, 1.0], 2.0))
    seen = row(frame, "tokens_per_s")
    assert (seen["n"], seen["unit"]) == (1, "tokens/s")
    assert (seen["primary"], seen["silent"], seen["effect"]) == pytest.approx((10, 15, 1.5))
    assert "1 left out: tokens or latency negative or not finite (primary 1, silent 0)" in seen["note"]
    assert "1 left out: tokens 0 (primary 1, silent 0)" in seen["note"]


def test_cost_is_the_ratio_of_the_bills_and_an_unknown_price_is_never_zero(recorded, row) -> None:
    frame = recorded(
        5,
        status=(["ok"] * 4 + ["abandoned"], "ok"),
        cost_usd=([0.01, 0.03, 1.0, 0.0, 0.001], [0.001, 0.003, None, 1.0, 1.0]),
        cache_hit=([None, None, None, True, None], None),
        usage_source=(["estimated", None, None, None, None], None),
    )
    seen = row(frame, "cost")
    assert (seen["n"], seen["unit"]) == (2, "USD")
    assert (seen["primary"], seen["silent"], seen["effect"]) == pytest.approx((0.02, 0.002, 0.1))
    assert seen["note"] == (
        "an interval takes 200 pairs: 198 missing; "
        "tokens estimated, not reported (primary 1, silent 0); "
        "1 left out: cancelled, abandoned or unknown (primary 1, silent 0); "
        "1 left out: answered by a cache (primary 1, silent 0); "
        "1 left out: cost unknown (primary 0, silent 1)"
    )


def test_a_constant_ratio_of_costs_is_known_exactly_from_200_pairs_on(recorded, row) -> None:
    cost = [float(number) for number in range(1, 201)]
    frame = recorded(200, cost_usd=(cost, [each / 2 for each in cost]))
    assert ends(row(frame, "cost")) == pytest.approx([0.5] * 4)
    assert row(frame[:199], "cost")["low"] is None
    assert row(frame[:199], "cost")["note"] == "an interval takes 200 pairs: 1 missing"


def test_cost_per_1000_calls_is_what_a_switch_saves(recorded, row) -> None:
    both = ([0.02, 0.04] * 100, [0.01, 0.01] * 100)
    seen = row(recorded(200, cost_usd=both), "cost", "per 1,000")
    assert seen["unit"] == "USD per 1,000 calls"
    assert (seen["primary"], seen["silent"], seen["effect"]) == pytest.approx((30, 10, -20))
    half = 10 * math.sqrt(200 / 199) * radius(200, 1_000)
    assert (seen["low"], seen["high"]) == pytest.approx((-20 - half, -20 + half))
    few = row(recorded(3, cost_usd=(0.02, 0.01)), "cost", "per 1,000")
    assert (few["effect"], few["low"]) == (pytest.approx(-10), None)
    assert few["note"] == "an interval takes 200 pairs: 197 missing"


def test_a_free_primary_gives_no_ratio_and_says_so(recorded, row) -> None:
    seen = row(recorded(1, cost_usd=(0.0, 0.1)), "cost")
    assert (seen["primary"], seen["silent"], seen["effect"]) == (0.0, 0.1, None)
    assert seen["note"] == "no ratio: the primary side is 0"


def test_a_primary_that_is_nearly_free_gives_a_ratio_whose_missing_ends_are_explained(recorded, row) -> None:
    seen = row(recorded(300, cost_usd=([1.0] + [0.0] * 299, 1.0)), "cost")
    assert (seen["effect"], ends(seen)) == (300, [None] * 4)
    assert seen["note"] == "no interval: nothing bounds the effect yet"


def test_tokens_are_means_per_call_and_their_estimates_are_counted(recorded, row) -> None:
    frame = recorded(
        3,
        input_tokens=(10, [20, 20, None]),
        output_tokens=(30, [60, 60, None]),
        usage_source=("estimated", ["estimated", "estimated", None]),
    )
    for metric, primary in (("input_tokens", 10.0), ("output_tokens", 30.0)):
        seen = row(frame, metric)
        assert (seen["n"], seen["primary"], seen["silent"]) == (2, primary, 2 * primary)
        assert (seen["effect"], seen["unit"]) == (2.0, "tokens")
        assert "tokens estimated, not reported (primary 2, silent 2)" in seen["note"]
        assert "1 left out: token count unknown (primary 0, silent 1)" in seen["note"]


def test_errors_are_shares_of_the_finished_pairs_and_their_difference(recorded, row) -> None:
    frame = recorded(
        6,
        status=(
            ["ok", "ok", "error", "ok", "cancelled", "abandoned"],
            ["error", "timeout", "ok", "ok", "ok", "error"],
        ),
    )
    seen = row(frame, "errors")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (4, 0.25, 0.5, 0.25)
    assert "2 left out: cancelled, abandoned or unknown (primary 2, silent 0)" in seen["note"]


def test_errors_have_an_exact_interval_from_the_first_pair_on_and_mcnemars_test(recorded, row) -> None:
    # far apart, as if they did not depend on each other
    statuses = (
        ["error" if number % 100 == 50 and number // 100 in these else "ok" for number in range(1_000)]
        for these in ((1, 5, 8), (0, 2, 3, 4, 6, 7, 9))
    )
    seen = row(recorded(1_000, status=tuple(statuses)), "errors")
    assert seen["effect"] == pytest.approx(0.004)
    assert ends(seen) == pytest.approx([-0.00660788929, 0.01630616735, -0.002491, 0.010475], abs=5e-7)
    e = math.exp(betting.log_e_mcnemar(7, 3))
    assert onelook.mcnemar_p(7, 3) == pytest.approx(0.34375)
    assert seen["note"] == f"McNemar: p = 0.344 (one look), e = {e:.3f} (every look)"
    one = row(recorded(1), "errors")
    assert (one["effect"], one["note"]) == (0, None)
    assert -1 <= one["low"] < 0 < one["high"] <= 1


def test_over_slo_counts_late_and_failed_calls_where_there_is_an_slo(recorded, told, row) -> None:
    frame = recorded(
        8,
        status=("ok", ["ok", "ok", "error", "ok", "ok", "ok", "ok", "timeout"]),
        latency_s=(1.0, [2.0, 2.1, None, 1.0, math.nan, -1.0, math.inf, math.nan]),
    )
    assert "over_slo" not in told(frame)["metric"]
    seen = row(frame, "over_slo", slo_s=2)
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (5, 0.0, 0.6, 0.6)
    assert "3 left out: latency unknown, negative or not finite (primary 0, silent 3)" in seen["note"]


def test_refusals_and_truncations_are_differences_of_shares(recorded, row) -> None:
    sorry = "I'm sorry, but I can't help with that."
    frame = recorded(
        4,
        output=("yes", [sorry, "yes", "yes", None]),
        finish_reason=("stop", ["stop", "length", "length", None]),
    )
    seen = row(frame, "refusals")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == pytest.approx((3, 0, 1 / 3, 1 / 3))
    assert "1 left out: no answer on record (primary 0, silent 1)" in seen["note"]
    seen = row(frame, "truncated")
    assert (seen["n"], seen["silent"], seen["effect"]) == pytest.approx((3, 2 / 3, 2 / 3))
    seen = row(frame, "finish_reason")
    assert (seen["n"], seen["primary"], seen["effect"]) == pytest.approx((3, None, 1 / 3))


def test_output_length_counts_characters_not_bytes(recorded, row) -> None:
    seen = row(recorded(2, output=(["äöü€", "x"], ["ab", None])), "output_length")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (1, 4.0, 2.0, 0.5)
    assert "1 left out: no text on record (primary 0, silent 1)" in seen["note"]


def test_identical_is_a_share_of_the_answered_pairs(recorded, row) -> None:
    frame = recorded(
        6,
        status=("ok", ["ok"] * 5 + ["error"]),
        output=(["yes", "yes", "no", "yes", None, "yes"], ["yes", "no", "no", None, None, "yes"]),
        call_type=["completion"] * 4 + [None, "completion"],
    )
    seen = row(frame, "identical")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (4, None, None, 0.5)
    assert "1 left out: not ok (primary 0, silent 1)" in seen["note"]
    assert "1 left out: no answer on record (primary 1, silent 1)" in seen["note"]
    # two of four, and Wilson for one look
    assert [seen["low"], seen["high"]] == pytest.approx(betting.bounds(np.array([1.0, 0, 1, 0]), 0.05))
    assert [seen["one_look_low"], seen["one_look_high"]] == pytest.approx(onelook.wilson(2, 4, 0.05))


@pytest.mark.parametrize(
    ("metric", "columns"),
    [
        ("json_equal", {"output": ('{"a": 1}', ['{"a": 1}', "no JSON"])}),
        ("tool_calls", {"tool_calls": ('[{"function": {"name": "f", "arguments": "{}"}}]', None)}),
        ("language", {"output": ("The weather is nice today, and it will be so tomorrow.",) * 2}),
        ("json_valid", {"params": '{"response_format": {"type": "json_object"}}', "output": ("{}", "[")}),
        ("preference", {"preference": ["silent", None]}),
        ("judge", {"judge_preference": ["silent", None]}),
    ],
)
def test_an_optional_metric_has_a_row_only_where_it_applies(recorded, told, metric, columns) -> None:
    assert told(recorded(2, output="no"), [metric]).is_empty()
    assert told(recorded(2, **columns), [metric]).height == 1


def test_preferences_are_a_win_rate_where_ties_count_half(recorded, row) -> None:
    letters = {"p": "primary", "s": "silent", "t": "tie"}
    words = [letters[letter] for letter in "pspstspstpspstps" * 20]
    seen = row(recorded(321, preference=[*words, None]), "preference")
    assert (seen["n"], seen["effect"]) == (320, pytest.approx(0.53125))
    assert (seen["low"], seen["high"]) == pytest.approx((0.4456439671, 0.6162510624))
    assert (seen["estimand"], seen["note"]) == ("win rate, ties count half", None)


def test_a_metric_without_a_usable_pair_is_a_row_that_says_why(recorded, told) -> None:
    table = told(recorded(1, status=("error", "cancelled"), stream=True))
    assert table["n"].to_list() == [0] * table.height
    columns = ["primary", "silent", "effect", *ENDS]
    assert table.select(columns).null_count().row(0) == (table.height,) * len(columns)
    assert all(note.startswith("no usable pair; 1 left out: ") for note in table["note"])


def test_a_column_that_is_null_throughout_is_no_obstacle(recorded, told) -> None:
    essential = ("pair_id", "arm")
    bare = recorded(3).with_columns(
        pl.lit(None, kind).alias(name) for name, kind in SCHEMA.columns.items() if name not in essential
    )
    table = told(bare)
    assert table["n"].unique().to_list() == [0]
    assert table["metric"].n_unique() == 13


def test_each_arm_is_measured_on_its_own_pairs(recorded, told) -> None:
    frame = recorded(4, arm=["a", "b", "b", "control"], status=("ok", ["ok", "ok", "error", "ok"]))
    assert told(frame, ["errors"]).select("arm", "n", "silent").rows() == [
        ("a", 1, 0.0),
        ("b", 2, 0.5),
        ("control", 1, 0.0),
    ]


@pytest.mark.parametrize(
    ("column", "both"),
    [
        ("cost_usd", ([1.7e308, 1.7e308], 1.0)),
        ("cost_usd", ([1e-300, 1e-300], 1e300)),
        ("latency_s", (5e-324, 1e308)),
    ],
)
def test_numbers_too_large_give_no_effect_and_say_so(recorded, row, column: str, both: Any) -> None:
    seen = row(recorded(2, **{column: both}), column.split("_")[0])
    assert (seen["n"], seen["effect"], ends(seen)) == (2, None, [None] * 4)
    assert "too large" in seen["note"]


numbers = st.none() | st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1.7e308, 1.0, 2.0])
tokens = st.none() | st.integers(-(2**62), 2**62)
statuses = st.sampled_from(["ok", "ok", "ok", "error", "timeout", "cancelled", "abandoned", None])
texts = st.none() | st.text(max_size=5) | st.just('{"a": 1}')
judged = st.sampled_from([None, "primary", "silent", "tie", "else"])
PAIR = st.fixed_dictionaries(
    {
        "arm": st.sampled_from(["a", "b", "control"]),
        "cluster": st.sampled_from([None, "c", "d"]),
        "stream": st.none() | st.booleans(),
        "preference": judged,
        "judge_preference": judged,
        "judge_flipped": st.none() | st.booleans(),
        "request_id": st.sampled_from([None, "r", "s", "t"]),
        **{
            f"{side}_{name}": values
            for side in ("primary", "silent")
            for name, values in {
                "status": statuses,
                "attempts": st.none() | st.integers(0, 5),
                "fell_back": st.none() | st.booleans(),
                "cache_hit": st.none() | st.booleans(),
                "latency_s": numbers,
                "ttft_s": numbers,
                "input_tokens": tokens,
                "output_tokens": tokens,
                "usage_source": st.sampled_from([None, "provider", "estimated"]),
                "cost_usd": numbers,
                "output": texts,
                "tool_calls": texts,
                "finish_reason": st.sampled_from([None, "stop", "length"]),
            }.items()
        },
    }
)


@pytest.mark.slow
@pytest.mark.unwarned
@settings(max_examples=25)
@given(st.lists(PAIR, min_size=1, max_size=12), st.sampled_from([1, 30]))
def test_whatever_was_recorded_no_number_is_made_up_and_every_gap_is_explained(
    recorded, pairs: list[dict[str, Any]], times: int
) -> None:
    pairs = pairs * times
    frame = recorded(len(pairs), **{name: [pair[name] for pair in pairs] for name in pairs[0]})
    plan = Plan().with_changes(slo_s=1.0)
    table = estimate(measured(frame, plan, differences(frame)), None, plan)
    for row in table.iter_rows(named=True):
        for name in ("primary", "silent", "effect", *ENDS):
            assert row[name] is None or math.isfinite(row[name])
        if any(row[name] is None for name in ("effect", "low", "high")):
            assert row["note"]
        assert 0 <= row["n"] <= len(pairs)
