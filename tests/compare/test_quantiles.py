"""The quantiles of latency, and its median ratio with failures as infinitely slow."""

import math

import numpy as np
import pytest

from mirrorkit.compare.statistics import betting


def test_quantiles_are_type_7_and_their_difference_is_shown(recorded, row) -> None:
    # medians of (1, 2, 4, 10) and (1, 1, 2, 4) by linear interpolation: 3 and 1.5
    seen = row(recorded(4, latency_s=([1, 10, 2, 4], [2, 1, 4, 1])), "latency", "p50")
    assert (seen["n"], seen["unit"]) == (4, "s")
    assert (seen["primary"], seen["silent"], seen["effect"]) == (3.0, 1.5, -1.5)


def test_a_quantiles_interval_is_the_union_of_the_sides_at_half_alpha(recorded, row) -> None:
    times = [float(37 * number % 503) for number in range(1, 503)]
    times = [each for each in times if each <= 500]
    seen = row(recorded(500, latency_s=(times, [2 * each for each in times])), "latency", "p95")
    low, high = betting.quantile_ranks(500, 0.95, 0.025)
    assert (seen["low"], seen["high"]) == (2 * low - high, 2 * high - low)
    # type 7: h = 499 · 0.95 = 474.05
    assert (seen["primary"], seen["effect"]) == pytest.approx((475.05, 475.05))
    assert seen["one_look_low"] < seen["effect"] < seen["one_look_high"]


@pytest.mark.parametrize(("level", "least"), [("p95", 200), ("p99", 1_000)])
def test_far_quantiles_are_shown_only_from_enough_pairs_on(recorded, row, level: str, least: int) -> None:
    times = [1 + number / 100 for number in range(least)]
    frame = recorded(least, latency_s=(times, [2 * each for each in times]))
    seen = row(frame, "latency", level)
    assert seen["effect"] == pytest.approx(float(np.quantile(times, float(level[1:]) / 100)))
    fewer = row(frame[: least - 7], "latency", level)
    assert [fewer[name] for name in ("primary", "silent", "effect", "low", "one_look_low")] == [None] * 5
    assert fewer["note"] == f"{level} takes {least:,} pairs: 7 missing"


@pytest.mark.parametrize(
    ("metric", "estimand", "alpha"), [("latency", "p50", 0.025), ("latency_with_errors", "median", 0.05)]
)
def test_a_median_says_how_many_pairs_its_interval_still_takes(
    recorded, row, metric: str, estimand: str, alpha: float
) -> None:
    closed = [n for n in range(1, 50) if betting.quantile_ranks(n, 0.5, alpha)[0] >= 1]
    least = closed[0]
    assert closed == list(range(least, 50))
    frame = recorded(least, latency_s=(1.0, [float(number) for number in range(1, least + 1)]))
    seen, fewer = row(frame, metric, estimand), row(frame[:3], metric, estimand)
    assert None not in (seen["low"], seen["high"])
    assert (seen["note"], fewer["low"], fewer["high"]) == (None, None, None)
    assert fewer["note"] == f"an interval takes {least} pairs: {least - 3} missing"


def test_the_median_ratio_takes_a_failed_side_as_infinitely_slow(recorded, row) -> None:
    ok, failed = "ok", "error"
    frame = recorded(
        5,
        status=([ok, ok, failed, "timeout", ok], [ok, failed, ok, failed, ok]),
        latency_s=([1.0, 1.0, 1.0, None, 2.0], [3.0, None, 1.0, 1.0, 1.0]),
    )
    # 3, ∞, 0, 1 (both failed), ½
    seen = row(frame, "latency_with_errors")
    assert (seen["n"], seen["effect"]) == (5, 1.0)
    # of the sides 1, 1, ∞, ∞, 2 and 3, ∞, 1, ∞, 1
    assert (seen["primary"], seen["silent"]) == (2.0, 3.0)


def test_the_median_ratio_leaves_out_unknown_and_impossible_times_of_calls_that_did_not_fail(
    recorded, row
) -> None:
    frame = recorded(
        7,
        status=("ok", ["ok", "ok", "ok", "ok", "ok", "cancelled", "ok"]),
        latency_s=(1.0, [None, math.nan, math.inf, 0.0, -1.0, 1.0, 2.0]),
    )
    seen = row(frame, "latency_with_errors")
    assert (seen["n"], seen["effect"]) == (1, 2.0)
    for words in (
        "1 left out: cancelled, abandoned or unknown (primary 0, silent 1)",
        "1 left out: latency unknown (primary 0, silent 1)",
        "4 left out: latency not above 0 or not finite (primary 0, silent 4)",
    ):
        assert words in seen["note"]


def test_the_median_ratios_interval_is_exact_order_statistics(recorded, row) -> None:
    values = [float(37 * n % 101) for n in range(1, 101)]
    seen = row(recorded(100, latency_s=(1.0, values)), "latency_with_errors")
    assert [seen[name] for name in ("low", "high", "one_look_low", "one_look_high")] == [34, 67, 40, 61]
    assert seen["effect"] == 50.5


def test_with_most_calls_failing_the_median_is_infinite_and_no_number(recorded, row) -> None:
    seen = row(recorded(100, status=("ok", "error"), latency_s=(1.0, 1.0)), "latency_with_errors")
    assert [seen[name] for name in ("silent", "effect", "low", "high")] == [None] * 4
    assert seen["note"] == "the median is infinite: the silent side failed in most pairs"


def test_quantiles_of_conversations_have_no_interval_and_say_why(recorded, row) -> None:
    frame = recorded(100, latency_s=(1.0, 2.0), cluster=[str(number // 2) for number in range(100)])
    seen = row(frame, "latency", "p50")
    assert (seen["low"], seen["one_look_low"]) == (None, None)
    assert seen["note"] == "no interval: the pairs of a conversation are not independent"


def test_the_median_ratio_of_conversations_is_bet_on_by_their_shares(recorded, row) -> None:
    values = [float(37 * n % 101) for n in range(1, 101)]
    alone = row(recorded(100, latency_s=(1.0, values)), "latency_with_errors")
    each = [value for value in values for _ in range(3)]
    frame = recorded(300, latency_s=(1.0, each), cluster=[str(number // 3) for number in range(300)])
    seen = row(frame, "latency_with_errors")
    assert [seen[name] for name in ("low", "high")] == [alone[name] for name in ("low", "high")] == [34, 67]
    few = row(frame[:9], "latency_with_errors")
    assert (few["low"], few["high"]) == (None, None)


def test_values_in_long_episodes_bound_a_median_less(recorded, row) -> None:
    in_turn, sorted_ = ([1.0, 3.0] * 100, [1.0] * 100 + [3.0] * 100)
    mixed, episodes = (
        row(recorded(200, latency_s=(1.0, each)), "latency_with_errors") for each in (in_turn, sorted_)
    )
    assert (mixed["low"], mixed["high"]) == (1.0, 3.0)
    assert (episodes["low"], episodes["high"]) == (None, None)
