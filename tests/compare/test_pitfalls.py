"""What the reader must be told: each pitfall where it applies, and nowhere else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mirrorkit.compare.analysis import analyse
from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.measured import measured
from mirrorkit.compare.pitfalls import Pitfall
from mirrorkit.compare.plan import Plan, look_of


def warnings(frame: pl.DataFrame, plan: Plan | None = None, **more: Any) -> tuple[Pitfall, ...]:
    plan = plan or Plan()
    return analyse(measured(frame, plan, differences(frame)), plan, **more).warnings


def texts(number: int | None, frame: pl.DataFrame, *args: Any, **more: Any) -> list[str]:
    return [each.text for each in warnings(frame, *args, **more) if each.number == number]


@pytest.fixture
def plain(recorded):
    """Pairs of which nothing is to be told, but for what is given."""

    def plain(count: int = 20, **columns: Any) -> pl.DataFrame:
        return recorded(count, **{"latency_s": 1.0, "cost_usd": 0.01, "output": "x", **columns})

    return plain


def test_of_plain_pairs_there_is_nothing_to_tell(plain) -> None:
    assert warnings(plain()) == ()


def test_1_pairs_that_finished_before_an_older_request_are_not_counted(plain) -> None:
    frame = plain(20)
    before = frame["started_at"][15]
    (seen,) = texts(1, frame, before=before)
    assert seen.startswith("5 pairs finished but not counted yet")
    assert "since 2026-11-02 00:00:15 UTC" in seen
    assert texts(1, frame, before=before + timedelta(days=1)) == []


def test_2_calls_that_failed_have_no_latency(plain) -> None:
    (seen,) = texts(2, plain(status=(["timeout"] + ["ok"] * 19, ["error"] * 2 + ["ok"] * 18)))
    assert "(primary 1, silent 2 of 20)" in seen
    assert texts(2, plain(status=("cancelled", "ok"))) == []


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ({"latency": 1.1}, True),
        ({"latency": 1.1, "errors": 0.01}, False),
        ({"latency": 1.1, "latency_with_errors": 1.1}, False),
        ({"latency": 1.1, "over_slo": 0.01}, False),
        ({"cost": 1.0}, False),
    ],
)
def test_2_a_gate_on_latency_needs_one_on_errors(plain, gates: dict[str, float], told: bool) -> None:
    seen = texts(2, plain(), Plan().with_changes(gates=gates, slo_s=1))
    assert any("it needs one on errors beside it" in text for text in seen) == told


def test_3_a_heavier_tail_is_named_with_its_side(plain) -> None:
    heavy = [0.25, 4.0] * 10
    calm = [0.9, 1.1] * 10
    (seen,) = texts(3, plain(latency_s=(calm, heavy)))
    assert seen.startswith("the silent side's latency has the heavier tail")
    assert "primary 0.103, silent 1.42" in seen
    assert texts(3, plain(latency_s=(heavy, calm)))[0].startswith("the primary side's latency")
    assert texts(3, plain(latency_s=(heavy, heavy))) == []
    assert texts(3, plain(9, latency_s=(calm[:9], heavy[:9]))) == []
    streams = plain(stream=True, ttft_s=(calm, heavy))
    assert [text.split(" has ")[0] for text in texts(3, streams)] == ["the silent side's ttft"]


def test_3_rare_slow_calls_are_told_of(plain) -> None:
    usual = [1.0, 1.1, 0.9, 1.05] * 50
    rare = [20.0 if number % 100 == 7 else value for number, value in enumerate(usual)]
    [text] = [
        each.text for each in warnings(plain(200, latency_s=(usual, rare))) if "a few pairs" in each.text
    ]
    assert "excess kurtosis 9" in text
    assert "a few pairs" not in " ".join(
        each.text for each in warnings(plain(200, latency_s=(usual, usual[::-1])))
    )


def test_answers_that_were_not_wholly_compared_are_counted(plain) -> None:
    def clean(text: str) -> str:
        if "7" in text:
            raise ValueError(text)
        return text

    answers = [str(number) for number in range(20)]
    frame, plan = plain(20, output=answers), Plan().with_changes(clean=clean)
    failed = analyse(measured(frame, plan, differences(frame, plan.rules)), plan).warnings
    assert any(
        "clean function failed, so texts were not compared: primary 2, silent 2" in e.text for e in failed
    )
    cut = warnings(plain(2, output=("a" * 30_000, "b")))
    assert any("first 20,000 characters" in each.text for each in cut)


def test_a_silent_model_that_joins_late_is_told_of(plain) -> None:
    first, late = plain(300), plain(300, name="q", arm="late")
    together = pl.concat([first, late])
    assert not [each for each in warnings(together) if "joined after" in each.text]
    later = late.with_columns(pl.col("started_at") + timedelta(seconds=150))
    [seen] = [each for each in warnings(pl.concat([first, later])) if "joined after" in each.text]
    assert (seen.arm, "150 pairs of another silent model" in seen.text) == ("late", True)
    assert "all of them together err at most alpha" in seen.text


def test_4_the_ratio_shown_is_named_where_another_tells_another_story(plain) -> None:
    (seen,) = texts(4, plain(latency_s=(1.0, [0.25, 4.0] * 10)))
    assert "geometric-mean ratio of latency is ×1.00" in seen
    assert "ratio of mean times is ×2.12" in seen
    (seen,) = texts(4, plain(cost_usd=([1.0, 0.01] * 10, [0.5, 0.02] * 10)))
    assert seen == (
        "the ratio of the two bills is ×0.515 and decides; a typical call's cost has a ratio of ×1.00."
    )
    assert texts(4, plain(latency_s=(1.0, 2.0), cost_usd=(1.0, 2.0))) == []


def test_5_cache_hits_are_left_out_and_counted(plain) -> None:
    (seen,) = texts(5, plain(cache_hit=([True] * 3 + [None] * 17, False)))
    assert seen == "answered by a cache, and left out of latency and cost: primary 3, silent 0."
    assert texts(5, plain(cache_hit=False)) == []


def test_6_retries_and_fall_backs_are_counted_and_who_answered_is_named(plain) -> None:
    fell_back = ([True] + [False] * 19, None)
    (seen,) = texts(6, plain(attempts=(1, [3, 2] + [1] * 18), fell_back=fell_back, model=("gpt-x", "mini")))
    assert "retried primary 0, silent 2; answered by another group primary 1, silent 0 (gpt-x)" in seen
    assert texts(6, plain(attempts=1, fell_back=False, model="gpt-x")) == []


def test_7_the_lag_of_the_silent_call_is_told(plain) -> None:
    (seen,) = texts(7, plain(lag_s=[0.25] * 19 + [float("inf")]))
    assert "sent 0.250 s after the primary (median)" in seen
    assert texts(7, plain(lag_s=float("nan"))) == []


def test_7_a_process_that_was_the_bottleneck_is_told(plain) -> None:
    (seen,) = texts(7, plain(overhead_s=(0.01, 0.5)))
    assert seen.startswith("LiteLLM itself took 50.0 % of the silent side's latency")
    assert texts(7, plain(overhead_s=(0.01, 0.2))) == []


def test_7_a_primary_that_is_slower_when_sent_as_silent_calls_are_is_told(plain) -> None:
    frame = plain(200, arm="control", latency_s=(1.0, [1.9, 2.1] * 100))
    (seen,) = texts(7, frame)
    assert seen.startswith("the primary's own model is ×2.00 as slow")
    assert texts(7, plain(200, arm="mini", latency_s=(1.0, [1.9, 2.1] * 100))) == []
    assert texts(7, plain(200, arm="control", latency_s=(1.0, [0.9, 1.1] * 100))) == []


def test_8_how_control_pairs_were_drawn_is_told_where_there_are_some(plain) -> None:
    frame = pl.concat([plain(), plain(4, name="c", arm="control")])
    (seen,) = (each for each in warnings(frame) if each.number == 8)
    assert seen.arm == "control"
    assert seen.text.startswith("4 pairs, whose requests were drawn at random before any answer was seen")


def test_9_pairs_of_one_conversation_are_told(plain) -> None:
    (seen,) = texts(9, plain(cluster=["a"] * 2 + ["b"] + [None] * 17))
    assert seen.startswith("3 pairs belong to 2 conversations:")
    assert "the primary's history, not its own" in seen
    assert texts(9, plain(cluster=[str(number) for number in range(20)])) == []


def test_11_a_judge_is_alone_until_people_label(plain) -> None:
    (seen,) = texts(11, plain(judge_preference=["silent"] * 3 + [None] * 17))
    assert seen.startswith("the win rate of 3 pairs is the judge's opinion")
    assert texts(11, plain(judge_preference="silent", preference=["tie"] + [None] * 19)) == []


def test_pairs_that_came_twice_are_told_and_counted_once(plain) -> None:
    frame = pl.concat([plain(3), plain(2)])
    assert texts(None, frame) == ["2 pairs came twice (same pair_id), and are counted once."]


def test_estimated_tokens_and_streams_are_told(plain) -> None:
    frame = plain(usage_source=(None, "estimated"), stream=[True] + [False] * 19)
    first, second = texts(None, frame)
    assert "estimated here, not reported: primary 0, silent 20" in first
    assert second.startswith("1 pair is a stream: the primary's latency runs until")


def test_a_plan_that_was_changed_after_a_look_is_told_with_what_it_was(plain) -> None:
    cheap = Plan().with_changes(gates={"cost": 0.8})
    looks = [look_of(Plan(), 120), look_of(cheap, 480)]
    assert texts(None, plain(), cheap, looks=looks[:1]) == []
    (seen,) = texts(None, plain(), cheap, looks=looks)
    assert "changed after a look at 120 pairs (then gates: latency < ×1.1, cost < ×1, errors" in seen
    assert "at 480 pairs gates: cost < ×0.8; alpha 0.05" in seen


def test_what_is_about_all_arms_comes_first_and_the_rest_names_its_arm(plain) -> None:
    frame = plain(4, arm=["b", "b", "a\x1b[31m", "a\x1b[31m"], cache_hit=True, cluster="c")
    seen = warnings(frame)
    assert [each.arm for each in seen] == [None, "b", "a\x1b[31m"]
    assert str(seen[1]).startswith("b: answered by a cache")
    assert "\x1b" not in str(seen[2])


@pytest.mark.slow
@pytest.mark.unwarned
@pytest.mark.parametrize("value", [1e308, 5e-324, float("inf"), float("nan"), -1.0, 0.0, None])
@pytest.mark.parametrize("side", [0, 1])
def test_no_number_is_too_odd_to_be_told_of(plain, value: float | None, side: int) -> None:
    both = (value, 1.0) if side == 0 else (1.0, value)
    columns = dict.fromkeys(("latency_s", "ttft_s", "cost_usd", "overhead_s"), both)
    for odd in (columns, {"latency_s": both}, {"overhead_s": both}):
        told = warnings(plain(stream=True, lag_s=value, **odd))
        assert not any("nan" in str(each) or "inf" in str(each) for each in told)


def test_a_time_that_is_no_time_of_day_is_no_obstacle(plain) -> None:
    unknown = plain(started_at=None)
    assert texts(1, unknown, before=datetime(2026, 1, 1, tzinfo=UTC)) == []


@pytest.mark.parametrize("arm", [None, "mini"])
def test_a_pitfall_in_a_terminal_has_no_control_characters(arm: str | None) -> None:
    told = str(Pitfall(None, arm, "field \x1b[31m\x07 is\u202e odd"))
    assert told.endswith("field �[31m� is� odd")
    assert len(str(Pitfall(None, None, "x" * 3_000))) == 2_000


def test_pairs_that_depend_on_those_before_them_are_told_of_with_what_they_are_worth(plain) -> None:
    slow = [1.0 if number % 100 < 50 else 1.5 for number in range(600)]
    (seen,) = texts(None, plain(600, latency_s=(1.0, slow)))
    assert seen.startswith(
        "latency: pairs depend on those before them, as where load or an outage lasts: 600 "
    )
    assert "pairs tell as much as 3" in seen
    in_turn = [1.0 if number % 2 else 1.5 for number in range(600)]
    for frame in (plain(600, latency_s=(1.0, in_turn)), plain(90, latency_s=(1.0, slow[:90]))):
        assert texts(None, frame) == []
    # one event whatever its length; intervals are those of conversations already
    conversations = [str(number // 50) for number in range(600)]
    told = texts(None, plain(600, latency_s=(1.0, slow), cluster=conversations))
    assert not any("depend on those before" in text for text in told)
