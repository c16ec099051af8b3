"""The table of a comparison: its values, what it leaves out, and what it says about that."""

import math
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.estimates import TABLE, estimate
from mirrorkit.compare.selection import arms, usable
from mirrorkit.records import SCHEMA, Call, Pair

OK = Call("ok")


def pair(primary: Call = OK, silent: Call = OK, *, arm: str = "mini", stream: bool = False) -> Pair:
    return Pair(
        pair_id="p",
        request_id="r",
        trace_id="t",
        arm=arm,
        call_type="completion",
        started_at=datetime(2026, 11, 2, tzinfo=UTC),
        lag_s=0.1,
        cluster=None,
        tags=(),
        model_group="big",
        messages=None,
        params=None,
        stream=stream,
        primary=primary,
        silent=silent,
    )


def row(pairs: list[Pair], metric: str, estimand: str | None = None, arm: str = "mini") -> dict[str, Any]:
    table = estimate(SCHEMA.frame(pairs)).filter(metric=metric, arm=arm)
    if estimand is not None:
        table = table.filter(estimand=estimand)
    return table.row(0, named=True)


def timed(primary: float | None, silent: float | None, **more: Any) -> Pair:
    return pair(Call("ok", latency_s=primary, **more), Call("ok", latency_s=silent))


def test_the_table_has_the_columns_and_order_of_the_design_and_no_intervals_yet() -> None:
    table = estimate(SCHEMA.frame([pair(arm="control"), pair(arm="b"), pair(arm="a"), pair(arm="b")]))
    assert dict(table.schema) == TABLE
    assert table["arm"].unique(maintain_order=True).to_list() == ["b", "a", "control"]
    assert (
        table.select("low", "high", "one_look_low", "one_look_high").null_count().row(0)
        == (table.height,) * 4
    )
    assert table.filter(arm="a").select("metric", "estimand").rows() == [
        ("latency", "p50"),
        ("latency", "p95"),
        ("cost", "mean per call"),
        ("input_tokens", "mean per call"),
        ("output_tokens", "mean per call"),
        ("errors", "share"),
        ("output_length", "mean per call"),
        ("identical", "share"),
    ]


def test_latency_is_the_ratio_of_the_sides_type_7_quantiles() -> None:
    # medians of (1, 2, 4, 10) and (1, 1, 2, 4) by linear interpolation: 3 and 1.5
    seen = row([timed(1, 2), timed(10, 1), timed(2, 4), timed(4, 1)], "latency", "p50")
    assert (seen["n"], seen["unit"], seen["primary"], seen["silent"], seen["effect"]) == (
        4,
        "s",
        3.0,
        1.5,
        0.5,
    )


def test_p95_is_shown_from_200_pairs_on() -> None:
    pairs = [timed(float(step), 2.0 * step) for step in range(1, 201)]
    seen = row(pairs, "latency", "p95")
    # type 7: h = 199 · 0.95 = 189.05, between the 190th and the 191st value
    assert seen["primary"] == pytest.approx(190.05)
    assert seen["effect"] == pytest.approx(2.0)
    fewer = row(pairs[:57], "latency", "p95")
    assert (fewer["n"], fewer["primary"], fewer["silent"], fewer["effect"]) == (57, None, None, None)
    assert fewer["note"] == "p95 needs 200 pairs, has 57"


def test_latency_leaves_out_and_counts_failures_cache_hits_and_impossible_times() -> None:
    pairs = [
        timed(1, 2),
        pair(Call("ok", latency_s=9), Call("error", latency_s=9)),
        pair(Call("timeout", latency_s=9), Call("error", latency_s=9)),
        timed(9, 9, cache_hit=True),
        timed(None, 9),
        timed(math.nan, 9),
        timed(9, -1.0),
        timed(9, math.inf),
    ]
    seen = row(pairs, "latency", "p50")
    assert (seen["n"], seen["primary"], seen["silent"]) == (1, 1.0, 2.0)
    assert seen["note"] == (
        "2 left out: not ok (primary 1, silent 2); "
        "1 left out: answered by a cache (primary 1, silent 0); "
        "1 left out: latency unknown (primary 1, silent 0); "
        "3 left out: latency negative or not finite (primary 1, silent 2)"
    )


def test_retries_and_fall_backs_in_the_latency_are_counted() -> None:
    slow = pair(Call("ok", latency_s=3, attempts=3, fell_back=True), Call("ok", latency_s=1, attempts=1))
    assert row([slow], "latency", "p50")["note"] == (
        "retries are in the time (primary 1, silent 0); fell back to another group (primary 1, silent 0)"
    )


def test_ttft_has_rows_only_where_there_are_streams_and_looks_at_them_alone() -> None:
    whole = pair(arm="whole")
    stream = pair(Call("ok", ttft_s=0.4), Call("ok", ttft_s=0.1), stream=True)
    pairs = [whole, stream, pair()]
    assert estimate(SCHEMA.frame(pairs)).filter(metric="ttft")["arm"].unique().to_list() == ["mini"]
    seen = row(pairs, "ttft", "p50")
    assert (seen["n"], seen["effect"], seen["note"]) == (1, 0.25, None)


def test_cost_is_the_ratio_of_the_bills_and_an_unknown_price_is_never_zero() -> None:
    pairs = [
        pair(Call("ok", cost_usd=0.01, usage_source="estimated"), Call("ok", cost_usd=0.001)),
        pair(Call("ok", cost_usd=0.03), Call("ok", cost_usd=0.003)),
        pair(Call("ok", cost_usd=1.0), Call("ok")),
        pair(Call("ok", cost_usd=0.0, cache_hit=True), Call("ok", cost_usd=1.0)),
        pair(Call("abandoned", cost_usd=0.001), Call("ok", cost_usd=1.0)),
    ]
    seen = row(pairs, "cost")
    assert (seen["n"], seen["unit"]) == (2, "USD")
    assert seen["primary"] == pytest.approx(0.02)
    assert seen["silent"] == pytest.approx(0.002)
    assert seen["effect"] == pytest.approx(0.1)
    assert seen["note"] == (
        "tokens estimated, not reported (primary 1, silent 0); "
        "1 left out: cancelled, abandoned or unknown (primary 1, silent 0); "
        "1 left out: answered by a cache (primary 1, silent 0); "
        "1 left out: cost unknown (primary 0, silent 1)"
    )


def test_a_free_primary_gives_no_ratio_and_says_so() -> None:
    seen = row([pair(Call("ok", cost_usd=0.0), Call("ok", cost_usd=0.1))], "cost")
    assert (seen["primary"], seen["silent"], seen["effect"]) == (0.0, 0.1, None)
    assert seen["note"] == "no ratio: the primary side is 0"


def test_tokens_are_means_per_call_and_their_estimates_are_counted() -> None:
    counted = Call("ok", input_tokens=10, output_tokens=30, usage_source="provider")
    guessed = Call("ok", input_tokens=20, output_tokens=60, usage_source="estimated")
    pairs = [pair(counted, guessed), pair(counted, guessed), pair(counted, Call("ok"))]
    given_, made = row(pairs, "input_tokens"), row(pairs, "output_tokens")
    assert (given_["n"], given_["primary"], given_["silent"], given_["effect"]) == (2, 10.0, 20.0, 2.0)
    assert (made["primary"], made["silent"], made["effect"]) == (30.0, 60.0, 2.0)
    assert "tokens estimated, not reported (primary 0, silent 2)" in made["note"]
    assert "1 left out: token count unknown (primary 0, silent 1)" in made["note"]


def test_errors_are_shares_of_the_finished_pairs_and_their_difference() -> None:
    pairs = [
        pair(OK, Call("error")),
        pair(OK, Call("timeout")),
        pair(Call("error"), OK),
        pair(),
        pair(Call("cancelled"), OK),
        pair(Call("abandoned"), Call("error")),
    ]
    seen = row(pairs, "errors")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (4, 0.25, 0.5, 0.25)
    assert seen["note"] == "2 left out: cancelled, abandoned or unknown (primary 2, silent 0)"


def test_output_length_counts_characters_not_bytes() -> None:
    pairs = [pair(Call("ok", output="äöü€"), Call("ok", output="ab")), pair(Call("ok", output="x"), OK)]
    seen = row(pairs, "output_length")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (1, 4.0, 2.0, 0.5)
    assert seen["note"] == "1 left out: no text (primary 0, silent 1)"


def test_identical_is_a_share_of_the_answered_pairs() -> None:
    yes, no = Call("ok", output="yes"), Call("ok", output="no")
    pairs = [pair(yes, yes), pair(yes, no), pair(no, no), pair(yes, OK), pair(), pair(yes, Call("error"))]
    seen = row(pairs, "identical")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (4, None, None, 0.5)
    assert "1 left out: no answer on record (primary 1, silent 1)" in seen["note"]


def test_a_metric_without_a_usable_pair_is_a_row_that_says_why() -> None:
    table = estimate(SCHEMA.frame([pair(Call("error"), Call("cancelled"), stream=True)]))
    assert table["n"].to_list() == [0] * table.height
    assert table.select("primary", "silent", "effect").null_count().row(0) == (table.height,) * 3
    assert all(note.startswith("no usable pair; 1 left out: ") for note in table["note"])


def test_a_column_that_is_null_throughout_is_no_obstacle() -> None:
    bare = SCHEMA.frame([pair()]).with_columns(
        pl.lit(None, kind).alias(name)
        for name, kind in SCHEMA.columns.items()
        if name not in ("pair_id", "arm")
    )
    assert estimate(bare)["n"].to_list() == [0] * 8


def test_each_arm_is_measured_on_its_own_pairs() -> None:
    frame = SCHEMA.frame(
        [pair(arm="a"), pair(arm="b"), pair(OK, Call("error"), arm="b"), pair(arm="control")]
    )
    assert arms(frame) == ["a", "b", "control"]
    errors = estimate(frame, ["errors"])
    assert errors.select("arm", "n", "silent").rows() == [("a", 1, 0.0), ("b", 2, 0.5), ("control", 1, 0.0)]


def test_an_unknown_metric_is_no_metric() -> None:
    with pytest.raises(KeyError):
        usable(SCHEMA.frame(), "charm")


def test_numbers_too_large_to_add_up_are_no_infinite_mean() -> None:
    pairs = [pair(Call("ok", cost_usd=1.7e308), Call("ok", cost_usd=1.0))] * 2
    seen = row(pairs, "cost")
    assert (seen["n"], seen["primary"], seen["silent"], seen["effect"]) == (2, None, None, None)
    assert seen["note"] == "the values are too large to add up"
    seen = row([pair(Call("ok", cost_usd=1e-300), Call("ok", cost_usd=1e300))], "cost")
    assert (seen["effect"], seen["note"]) == (None, "no ratio: it is too large")


numbers = st.none() | st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1.7e308])
tokens = st.none() | st.integers(-(2**62), 2**62)
calls = st.builds(
    Call,
    status=st.sampled_from(["ok", "ok", "ok", "error", "timeout", "cancelled", "abandoned"]),
    attempts=st.none() | st.integers(0, 5),
    fell_back=st.none() | st.booleans(),
    cache_hit=st.none() | st.booleans(),
    latency_s=numbers,
    ttft_s=numbers,
    input_tokens=tokens,
    output_tokens=tokens,
    usage_source=st.sampled_from([None, "provider", "estimated"]),
    cost_usd=numbers,
    output=st.none() | st.text(max_size=5),
    tool_calls=st.none() | st.text(max_size=5) | st.just('[{"name": "f", "arguments": "{}"}]'),
)
pairs_of_any_kind = st.lists(
    st.builds(pair, calls, calls, arm=st.sampled_from(["a", "b", "control"]), stream=st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(pairs_of_any_kind)
def test_whatever_was_recorded_no_number_is_infinite_or_nan_and_every_gap_is_explained(
    pairs: list[Pair],
) -> None:
    table = estimate(SCHEMA.frame(pairs))
    for seen in table.iter_rows(named=True):
        sides = ["primary", "silent"] if seen["metric"] != "identical" else []
        for name in [*sides, "effect"]:
            assert seen[name] is None or math.isfinite(seen[name])
        if any(seen[name] is None for name in [*sides, "effect"]):
            assert seen["note"]
        assert 0 <= seen["n"] <= len(pairs)
