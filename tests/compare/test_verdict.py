"""The verdict: a pure function of the pairs and the gates, and the first one stands."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare import wording
from mirrorkit.compare.analysis import Analysis, analyse
from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.evidence import by_arm, draw
from mirrorkit.compare.measured import measured
from mirrorkit.compare.metrics import BUILT_IN, Metric
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.verdict import Verdict, judge_gate
from mirrorkit.compare.waves import Share
from mirrorkit.records import CONTROL
from pairs import recorded

GATES = {"latency": 1.10, "cost": 1.00, "errors": 0.05}
SECOND = 1_000_000
BEGIN = np.datetime64("2026-11-01", "us")


def pairs(
    n: int = 600,
    *,
    arm: str = "next",
    seed: int = 0,
    slower: float = 1.0,
    dearer: float = 0.8,
    failing: float = 0.02,
    since: int = 0,
    **more: Any,
) -> pl.DataFrame:
    """`n` pairs, one a second from the second `since` on; by default all of `GATES` come to pass."""
    random = np.random.default_rng(seed)
    base, cost = random.lognormal(0, 0.5, n), random.lognormal(-6, 0.7, n)
    start = BEGIN + (np.arange(n) + since) * np.timedelta64(SECOND, "us")
    columns = {
        "pair_id": [f"{arm}-{since + number:05}" for number in range(n)],
        "request_id": None,
        "arm": arm,
        "model_group": "chat",
        "started_at": pl.Series(start).dt.replace_time_zone("UTC"),
        "status": tuple(np.where(random.random(n) < share, "error", "ok") for share in (0.02, failing)),
        "latency_s": (base, base * slower * random.lognormal(0, 0.2, n)),
        "cost_usd": (cost, cost * dearer * random.lognormal(-0.02, 0.2, n)),
    }
    return recorded(n, **{**columns, **more})


def told(frame: pl.DataFrame, plan: Plan | None = None) -> Analysis:
    plan = plan or Plan(gates=GATES)
    return analyse(measured(frame, plan), plan)


def verdict(frame: pl.DataFrame, plan: Plan | None = None) -> Verdict:
    return told(frame, plan).verdict


def states(analysis: Analysis) -> dict[str, str]:
    return dict(analysis.gates.select("metric", "state").rows())


def test_a_model_that_passes_every_gate_may_be_switched_to() -> None:
    seen = verdict(pairs())
    assert seen.answer == "switch"
    assert seen.arm == "next"
    assert seen.sentence.startswith("Switch to next")
    assert seen.pairs_needed is None
    assert seen.decided_by in GATES


def test_the_last_gate_to_pass_decides_a_switch() -> None:
    seen = told(pairs())
    last = seen.gates.sort("decided_after")[-1]
    assert seen.verdict.decided_by == last["metric"][0]
    assert seen.verdict.after == last["decided_after"][0]
    assert f"{seen.verdict.after:,} pairs" in seen.verdict.sentence


@pytest.mark.parametrize(
    ("name", "words", "made"),
    [
        ("latency", "latency < ×1.1", {"slower": 1.4}),
        ("cost", "cost < ×1", {"dearer": 1.3}),
        ("errors", "errors < +5 points", {"failing": 0.3}),
    ],
)
def test_one_gate_that_fails_is_named_and_keeps_the_primary(name: str, words: str, made: Any) -> None:
    seen = verdict(pairs(**made))
    assert (seen.answer, seen.decided_by) == ("keep", name)
    start = f"Keep chat, not next: the gate {words} failed after {seen.after} pairs, at "
    assert seen.sentence.startswith(start)
    # at what was seen then, not at what more pairs have shown since
    first = told(pairs(**made).sort("started_at").head(seen.after)).table.filter(metric=name)
    effect, estimand, unit = first.select("effect", "estimand", "unit").row(0)
    assert seen.sentence.removeprefix(start).startswith(wording.effect(effect, estimand, unit))


def test_a_gate_on_shares_names_both() -> None:
    frame = pairs(400, failing=0.3)
    seen = told(frame)
    first = frame.head(seen.verdict.after)
    primary, silent = (100 * (first[f"{side}_status"] == "error").mean() for side in ("primary", "silent"))
    assert seen.verdict.sentence.endswith(f" points (fails in {silent:.3g} % instead of {primary:.3g} %).")
    errors = seen.gates.filter(metric="errors").row(0, named=True)
    assert errors["silent"] - errors["primary"] == pytest.approx(errors["effect"])


def shown(frame: pl.DataFrame, name: str) -> str:
    """What an open gate of a frame shows."""
    plan = Plan(gates={name: 0.1}, slo_s=1)
    mine = by_arm(measured(frame, plan, differences(frame)))["next"]
    gate = judge_gate(draw(mine, plan.metric(name)), mine, plan, "next", Share(1.0, 1.0, since=0))
    assert gate.state == "open"
    return gate.seen


def test_an_open_gate_shows_what_is_seen_until_now() -> None:
    assert shown(pairs(6, cost_usd=(1.0, 0.5)), "cost") == "×0.500"
    assert shown(pairs(6, failing=0.0), "errors") == "0 points (fails in 0 % on both sides)"
    assert shown(pairs(6, cost_usd=None), "cost") == ""


SHARES = [name for name, metric in BUILT_IN.items() if metric.kind == "shares"]


@pytest.mark.parametrize("name", [*SHARES, "over_slo"])
def test_every_difference_of_shares_has_words(name: str) -> None:
    asked = {"params": '{"response_format": {"type": "json_object"}}', "finish_reason": "stop"}
    frame = pairs(3, status="ok", latency_s=0.1, output="{}", call_type="completion", **asked)
    assert shown(frame, name).startswith("0 points (")


def test_the_first_gate_to_fail_decides() -> None:
    seen = told(pairs(slower=1.4, dearer=1.3))
    assert {"latency", "cost"} <= set(seen.gates.filter(state="failed")["metric"])
    assert seen.verdict.decided_by == "latency"  # a ratio is told from 100 pairs on, a bill from 200


def test_until_then_it_says_what_is_open_and_how_long_it_may_take() -> None:
    seen = verdict(pairs(250, dearer=0.98))
    assert (seen.answer, seen.decided_by) == ("keep collecting", "cost")
    assert seen.pairs_needed is not None
    assert seen.pairs_needed > 0
    assert "latency" in seen.sentence
    assert "cost" in seen.sentence
    assert "more pairs" in seen.sentence


def test_a_few_pairs_decide_nothing() -> None:
    for n in (1, 2, 40):
        assert verdict(pairs(n)).answer == "keep collecting"


def test_the_pairs_it_takes_count_those_that_a_gate_cannot_use() -> None:
    """Half of the pairs have no cost, so twice as many are needed."""
    half = pairs(400, dearer=0.97)
    unknown = half.with_columns(
        pl.when(pl.int_range(pl.len()) % 2 == 0).then(name).alias(name)
        for name in ("primary_cost_usd", "silent_cost_usd")
    )
    plan = Plan(gates={"cost": 1.0})
    whole = verdict(half.gather_every(2), plan).pairs_needed
    assert whole is not None
    assert verdict(unknown, plan).pairs_needed == pytest.approx(2 * whole, rel=0.02)


def test_at_the_most_pairs_allowed_an_open_gate_is_keep_inconclusive() -> None:
    frame = pairs(400, dearer=0.99)
    plan = Plan(gates=GATES, max_pairs=300)
    seen = verdict(frame, plan)
    assert (seen.answer, seen.decided_by, seen.after) == ("keep", "cost", 300)
    assert "inconclusive" in seen.sentence
    assert "300 pairs" in seen.sentence
    assert verdict(frame.head(299), plan).answer == "keep collecting"


def test_what_comes_after_the_most_pairs_allowed_decides_nothing() -> None:
    """The first verdict stands: inconclusive too."""
    plan = Plan(gates=GATES, max_pairs=150)
    frame = pairs(1_000)
    assert verdict(frame).answer == "switch"
    seen = verdict(frame, plan)
    assert (seen.answer, seen.after) == ("keep", 150)
    assert seen == verdict(frame.head(150), plan)


def test_a_gate_decided_within_the_pairs_allowed_counts() -> None:
    whole = verdict(pairs())
    assert whole.after is not None
    assert verdict(pairs(), Plan(gates=GATES, max_pairs=whole.after)) == whole


@pytest.mark.slow
@settings(max_examples=10)
@given(st.integers(0, 1_000), st.sampled_from([0.9, 1.1, 1.3]), st.sampled_from([0.8, 1.0]), st.data())
def test_the_first_verdict_stands(seed: int, slower: float, dearer: float, data: st.DataObject) -> None:
    """Whatever later pairs say, and whoever looked when."""
    frame = pairs(500, seed=seed, slower=slower, dearer=dearer)
    against = pairs(300, seed=seed + 1, slower=1 / slower**3, dearer=1 / dearer, failing=0.3, since=500)
    looks = sorted(data.draw(st.lists(st.integers(1, 500), max_size=3)))
    seen = [verdict(frame.head(n)) for n in looks] + [verdict(frame), verdict(pl.concat([frame, against]))]
    decided = [each for each in seen if each.answer != "keep collecting"]
    assert all(each == decided[0] for each in decided)
    assert seen[len(seen) - len(decided) :] == decided


def test_a_verdict_is_that_of_its_own_prefix() -> None:
    """With one pair fewer it was not reached yet."""
    for frame in (pairs(), pairs(slower=1.4)):
        seen = verdict(frame)
        assert seen.after is not None
        assert verdict(frame.head(seen.after)) == seen
        assert verdict(frame.head(seen.after - 1)).answer == "keep collecting"


@pytest.mark.slow
@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(random: Any) -> None:
    frame = pl.concat(
        [
            pairs(300, dearer=0.97),
            pairs(250, arm="other", seed=2, since=20),
            pairs(200, arm="third", seed=3, dearer=1.5, since=20),
            pairs(50, arm=CONTROL, seed=4),
        ]
    )
    order = list(range(frame.height))
    random.shuffle(order)
    assert verdict(frame[order]) == verdict(frame)


@pytest.mark.parametrize("arms", [("next", "next"), ("next", "other")])
def test_two_recordings_put_together_agree_in_either_order(arms: tuple[str, str]) -> None:
    here = pairs(300, arm=arms[0], seed=1, dearer=0.95)
    there = pairs(300, arm=arms[1], seed=2, dearer=0.95, since=150).with_columns(
        pair_id="there-" + pl.col("pair_id")
    )
    there = there.with_columns(model_group=pl.lit("talk"))
    one, other = told(pl.concat([here, there])), told(pl.concat([there, here]))
    assert one.verdict == other.verdict
    assert one.gates.sort("arm", "metric").equals(other.gates.sort("arm", "metric"))


def test_a_pair_in_both_recordings_counts_once() -> None:
    frame = pairs(300)
    assert verdict(pl.concat([frame, frame[100:200]])) == verdict(frame)


def test_pairs_without_a_start_keep_their_place() -> None:
    frame = pairs().with_columns(started_at=pl.lit(None, pl.Datetime("us", "UTC")))
    assert verdict(frame) == verdict(pairs())


# several silent arms


def test_two_arms_take_longer_than_one() -> None:
    alone = verdict(pairs(dearer=0.95))
    both = verdict(pl.concat([pairs(dearer=0.95), pairs(arm="other", seed=5, dearer=0.97)]))
    mine = next(each for each in both.arms if each.arm == "next")
    assert alone.after is not None
    assert mine.after is not None
    assert mine.after > alone.after


def test_the_control_arm_takes_no_share() -> None:
    # times are of the requests that have a control call
    plan = Plan(gates={name: margin for name, margin in GATES.items() if name != "latency"})
    alone = told(pairs(), plan)
    with_control = told(pl.concat([pairs(), pairs(100, arm=CONTROL, seed=6)]), plan)
    assert with_control.verdict == alone.verdict
    assert with_control.gates.equals(alone.gates)


def test_an_arm_that_joins_later_does_not_undo_a_verdict() -> None:
    first = verdict(pairs())
    later = verdict(pl.concat([pairs(), pairs(arm="late", seed=7, dearer=0.5, since=600)]))
    assert (later.answer, later.arm, later.decided_by, later.after) == (
        "switch",
        "next",
        first.decided_by,
        first.after,
    )
    assert later.arms[0] == first or first in later.arms


def test_what_an_arm_was_told_stays_when_another_joins_whether_it_was_decided_or_open() -> None:
    later = pairs(arm="late", seed=7, slower=2, since=300)
    for dearer in (0.8, 0.98, 1.3):
        first = told(pairs(300, dearer=dearer))
        joined = told(pl.concat([pairs(300, dearer=dearer), later]))
        assert joined.gates.filter(arm="next").equals(first.gates)


def test_an_arm_that_joins_later_takes_longer_than_alone() -> None:
    late = pairs(arm="late", seed=7, dearer=0.95, since=100)
    alone = told(late).verdict
    joined = next(each for each in told(pl.concat([pairs(300), late])).verdict.arms if each.arm == "late")
    assert alone.after is not None
    assert joined.after is not None
    assert joined.after > alone.after


def test_the_first_arm_that_may_be_switched_to_is_named() -> None:
    late = pairs(arm="a late one", seed=8, since=300)
    seen = verdict(pl.concat([late, pairs()]))
    assert (seen.answer, seen.arm) == ("switch", "next")
    assert {each.answer for each in seen.arms} == {"switch"}
    assert "a late one" in seen.sentence


def test_one_arm_is_open_while_the_others_fail() -> None:
    frame = pl.concat([pairs(250, dearer=0.98), pairs(250, arm="slow", seed=9, slower=1.5)])
    seen = verdict(frame)
    assert (seen.answer, seen.arm, seen.decided_by) == ("keep collecting", "next", "cost")
    assert "slow" not in (seen.arm or "")
    assert "Keep chat, not " in seen.sentence


def test_where_all_arms_fail_the_primary_is_kept() -> None:
    frame = pl.concat([pairs(slower=1.4), pairs(arm="dear", seed=9, dearer=1.5)])
    seen = verdict(frame)
    assert (seen.answer, seen.arm) == ("keep", None)
    assert seen.decided_by in ("latency", "cost")
    assert all(each.answer == "keep" for each in seen.arms)


def test_with_control_alone_there_is_nothing_to_switch_to() -> None:
    seen = verdict(pairs(arm=CONTROL))
    assert seen.answer == "keep collecting"
    assert "control" in seen.sentence


# gates that cannot be told


def test_a_gate_without_a_usable_pair_is_named_and_nothing_is_decided() -> None:
    unknown = pairs().with_columns(silent_cost_usd=pl.lit(None, pl.Float64))
    seen = told(unknown)
    assert (seen.verdict.answer, seen.verdict.decided_by) == ("keep collecting", "cost")
    assert "cost cannot be told: no usable pair" in seen.verdict.sentence
    assert seen.verdict.pairs_needed is None
    assert states(seen) == {"latency": "passed", "cost": "open", "errors": "passed"}
    assert seen.gates.filter(metric="cost")["note"][0].startswith("no usable pair")


def test_it_does_not_hide_a_gate_that_failed() -> None:
    slow = pairs(slower=1.4).with_columns(silent_cost_usd=pl.lit(None, pl.Float64))
    assert verdict(slow).decided_by == "latency"


def test_all_errors_keep_the_primary() -> None:
    seen = verdict(pairs(failing=1.0))
    assert (seen.answer, seen.decided_by) == ("keep", "errors")


def test_no_gates_decide_nothing() -> None:
    seen = verdict(pairs(), Plan(gates={}))
    assert (seen.answer, seen.decided_by) == ("keep collecting", None)
    assert "No gate is set" in seen.sentence


def test_identical_sides_are_never_switched_to() -> None:
    """Nothing is cheaper than itself; and to be no slower than 10 % more is all that latency asks."""
    frame = pairs().with_columns(
        silent_cost_usd="primary_cost_usd",
        silent_latency_s="primary_latency_s",
        silent_status="primary_status",
    )
    seen = told(frame)
    assert seen.verdict.answer == "keep collecting"
    assert states(seen) == {"latency": "passed", "cost": "open", "errors": "passed"}
    assert "too near its margin" in seen.verdict.sentence


def test_where_several_gates_fail_at_one_pair_the_verdict_is_keep_and_one_of_them_is_named() -> None:
    frame = pairs(slower=3.0)
    frame = frame.with_columns(
        primary_ttft_s="primary_latency_s", silent_ttft_s="silent_latency_s", stream=True
    )
    seen = verdict(frame, Plan(gates={"ttft": 1.1, "latency": 1.1}))
    assert (seen.answer, seen.decided_by) == ("keep", "ttft")


def labelled(frame: pl.DataFrame, says: list[str | None], *, since: int) -> pl.DataFrame:
    """The frame with labels (None is none) given one a second from `since` on."""
    given = pl.Series(BEGIN + (np.arange(frame.height) + since) * np.timedelta64(SECOND, "us"))
    frame = frame.with_columns(preference=pl.Series(says, dtype=pl.String))
    when = pl.when(pl.col("preference").is_not_null()).then(given.dt.replace_time_zone("UTC"))
    return frame.with_columns(labelled_at=when)


def test_labels_count_from_when_they_were_given() -> None:
    """A pair that is labelled late does not change what was decided by then."""
    frame = labelled(pairs(), ["silent", None, None] * 200, since=5_000)
    plan = Plan(gates={"preference": 0.5})
    seen = verdict(frame, plan)
    assert (seen.answer, seen.decided_by) == ("switch", "preference")
    others = labelled(pairs(), [None, "primary", "primary"] * 200, since=9_000)
    both = frame.with_columns(
        pl.coalesce(name, others[name]).alias(name) for name in ("preference", "labelled_at")
    )
    assert verdict(both, plan) == seen


def test_at_the_budget_no_label_can_decide_for_a_gate_that_stays_open() -> None:
    plan = Plan(gates={"cost": 1.0, "preference": 0.5}, max_pairs=300)
    frame = labelled(pairs(400, dearer=0.99), [None] * 400, since=5_000)
    seen = told(frame, plan)
    assert (seen.verdict.answer, seen.verdict.after) == ("keep", 300)
    assert "inconclusive" in seen.verdict.sentence
    # what the gates' table shows beside the state is what all pairs show
    assert seen.gates["n"].to_list() == [400, 0]


def test_labels_of_the_pairs_allowed_count_whenever_they_are_given() -> None:
    """And until they are, the gate on them is open; those of later pairs do not."""
    plan = Plan(gates={"preference": 0.5}, max_pairs=300)
    few = labelled(pairs(), ["silent"] * 3 + [None] * 597, since=5_000)
    assert verdict(few, plan).answer == "keep collecting"
    enough = labelled(pairs(), ["silent"] * 290 + [None] * 310, since=5_000)
    seen = verdict(enough, plan)
    assert (seen.answer, seen.after) == ("switch", 300)
    beyond = labelled(pairs(), [None] * 300 + ["silent"] * 300, since=5_000)
    assert verdict(beyond, plan).answer == "keep collecting"
    ties = labelled(pairs(), ["tie"] * 300 + ["silent"] * 300, since=5_000)
    assert "inconclusive" in verdict(ties, plan).sentence


def test_a_gate_on_a_users_metric_is_named() -> None:
    metric = Metric(pl.col("silent_latency_s") < 100)
    plan = Plan(gates={"in time": 0.9}, metrics={"in time": metric})
    seen = verdict(pairs(), plan)
    assert (seen.answer, seen.decided_by) == ("switch", "in time")
    assert "in time > 0.9" in seen.sentence


def test_the_verdict_reads_as_its_sentence() -> None:
    seen = verdict(pairs())
    assert str(seen) == seen.sentence


def test_a_gate_that_must_rest_on_an_hour_is_decided_after_an_hour() -> None:
    """One pair a second: the first pair that starts an hour after the first of all is the 3,601st."""
    frame = pairs(3_700)
    free, bound = (Plan(gates={"errors": 0.05}, min_span=span) for span in (0.0, 3_600.0))
    assert (verdict(frame, free).after or 0) < 3_601
    assert verdict(frame, bound).after == 3_601
    waits = told(frame[:3_600], bound)
    assert waits.verdict.answer == "keep collecting"
    assert "the pairs span 3,599 s of the 3,600 s that it must rest on" in waits.verdict.sentence
    # what is known by then is decided then, also where it has turned since
    worse = pl.concat([frame, pairs(2_000, seed=8, since=3_700, failing=0.5)])
    assert verdict(worse, bound).answer == "switch"
