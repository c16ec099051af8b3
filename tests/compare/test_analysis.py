"""A comparison is a function of the pairs alone: not of the order of rows, nor of who looked when."""

import itertools
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.analysis import Analysis, analyse
from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from mirrorkit.comparison import compare
from mirrorkit.errors import CompareError, RecordingError

GATES = {"latency": 1.2, "cost": 1.1, "errors": 0.5, "preference": 0.3}


def told(frame: pl.DataFrame, *, before: Any = None, **plan: Any) -> Analysis:
    set_up = Plan().with_changes(**{"gates": GATES, **plan})
    return analyse(measured(frame, set_up, differences(frame, set_up.rules)), set_up, before=before)


def alike(one: Analysis, other: Analysis) -> bool:
    return (
        one.table.equals(other.table)
        and one.gates.equals(other.gates)
        and one.fields.equals(other.fields)
        and (one.verdict, one.findings, one.warnings) == (other.verdict, other.findings, other.warnings)
    )


def traffic(recorded, seed: int, count: int = 260) -> pl.DataFrame:
    """Requests mirrored to two models and control; some fail, all are labelled, some are in conversations."""
    random = np.random.default_rng(seed)
    parts = []
    for arm in ("mini", "nano", "control"):
        status = random.choice(["ok", "ok", "ok", "ok", "error", "cancelled"], count).tolist()
        part = recorded(
            count,
            name=arm,
            arm=arm,
            model_group=random.choice(["big", "huge"], count).tolist(),
            status=("ok", status),
            latency_s=(random.lognormal(0, 0.2, count).tolist(), random.lognormal(0, 0.2, count).tolist()),
            cost_usd=(0.01, random.lognormal(-5, 0.2, count).tolist()),
            output=(random.choice(["a", "b", '{"k": 1}'], count).tolist(), '{"k": 2}'),
            preference=random.choice(["silent", "tie", "primary"], count).tolist(),
            cluster=[str(number // 2) if seed % 2 else None for number in range(count)],
        )
        late = pl.Series(random.permutation(count) * 1_000_000).cast(pl.Duration("us"))
        parts.append(part.with_columns(labelled_at=pl.col("started_at") + late))
    return pl.concat(parts)


@pytest.mark.slow
@settings(max_examples=6)
@given(st.integers(0, 999), st.integers(0, 999))
def test_the_order_of_the_rows_changes_nothing(recorded, seed: int, shuffled: int) -> None:
    frame = traffic(recorded, seed)
    mixed = frame[np.random.default_rng(shuffled).permutation(frame.height).tolist()]
    assert alike(told(frame), told(mixed))


@pytest.mark.slow
def test_two_recordings_put_together_are_the_same_either_way(recorded) -> None:
    frame = traffic(recorded, 3)
    one, other = frame.filter(pl.col("arm") != "nano"), frame.filter(pl.col("arm") == "nano")
    for parts in ((one, other), (frame[::2], frame[1::2]), (frame[:100], frame[50:])):
        assert alike(told(pl.concat(parts)), told(pl.concat(parts[::-1])))


def test_of_a_pair_in_two_recordings_the_later_label_counts_whichever_comes_first(recorded) -> None:
    unlabelled = recorded(3)
    days = (unlabelled["started_at"] + timedelta(days=day) for day in (1, 2))
    one, other = (
        unlabelled.with_columns(preference=pl.lit(word), labelled_at=day)
        for word, day in zip(("primary", "silent"), days, strict=True)
    )
    for parts in itertools.permutations([unlabelled, one, other]):
        seen = told(pl.concat(parts))
        assert seen.table.filter(metric="preference").select("n", "effect").row(0) == (3, 1.0)
        assert seen.pairs.height == 3
        assert seen.warnings[0].text == "6 pairs came twice (same pair_id), and are counted once."


def test_the_primary_is_named_alike_whatever_the_order_of_its_groups(recorded) -> None:
    frame = recorded(200, model_group=["huge", "big"] * 100, latency_s=(1.0, 2.0))
    for rows in (frame, frame.reverse()):
        assert told(rows, gates={"latency": 1.1}).verdict.sentence.startswith(
            "Keep big, huge, not mini: the gate latency"
        )


def test_the_verdict_stands_while_pairs_are_added(recorded) -> None:
    frame = recorded(400, latency_s=(1.0, [0.9, 1.1] * 60 + [9.0] * 280))
    seen = [told(frame[:count], gates={"latency": 1.2}).verdict for count in (99, 100, 150, 400)]
    assert [each.answer for each in seen] == ["keep collecting", "switch", "switch", "switch"]
    assert len({each.sentence.partition(" Since then ")[0] for each in seen[1:]}) == 1
    assert seen[-1].after == 100


def test_a_live_prefix_leaves_later_pairs_out_and_says_so(recorded) -> None:
    frame = recorded(120, latency_s=(1.0, [0.9, 1.1] * 60))
    before = frame["started_at"][99]
    early = told(frame, before=before, gates={"latency": 1.2})
    assert (early.pairs.height, early.verdict.answer) == (99, "keep collecting")
    assert [each.number for each in early.warnings] == [1, 2]
    alone = told(frame[:99], gates={"latency": 1.2})
    assert early.table.equals(alone.table)
    assert early.verdict == alone.verdict
    assert (
        told(frame, before=before + timedelta(seconds=1), gates={"latency": 1.2}).verdict.answer == "switch"
    )


def test_pairs_whose_start_is_unknown_are_not_held_back(recorded) -> None:
    frame = recorded(3, started_at=None)
    assert told(frame, before=recorded(1)["started_at"][0]).pairs.height == 3


def test_when_every_pair_waits_there_is_nothing_to_tell_but_that(recorded) -> None:
    seen = told(recorded(3), before=recorded(1)["started_at"][0])
    assert seen.table.is_empty()
    assert seen.gates.is_empty()
    assert seen.verdict.answer == "keep collecting"
    assert "waits for an older request" in seen.verdict.sentence
    assert seen.warnings[0].number == 1


def test_with_control_pairs_alone_there_is_nothing_to_switch_to(recorded) -> None:
    seen = told(recorded(300, arm="control", latency_s=1.0))
    assert seen.verdict.answer == "keep collecting"
    assert "no other model to switch to" in seen.verdict.sentence
    assert seen.gates.is_empty()
    assert seen.table["arm"].unique().to_list() == ["control"]


def test_a_frame_without_the_schema_or_without_pairs_is_refused() -> None:
    with pytest.raises(RecordingError, match="is no recording: it lacks the columns pair_id, arm"):
        compare(pl.DataFrame({"a": [1]}))
    with pytest.raises(RecordingError, match=r"a recording is a polars.DataFrame, not builtins.dict"):
        compare({"pair_id": ["p"]})  # type: ignore[arg-type]


@pytest.mark.parametrize("column", ["pair_id", "arm"])
def test_a_pair_without_id_or_arm_is_refused_with_what_to_do(recorded, column: str) -> None:
    nameless = recorded(3).with_columns(pl.when(pl.int_range(pl.len()) > 0).then(column).alias(column))
    with pytest.raises(CompareError, match=r"1 of 3 pairs have no pair_id or no arm.*drop_nulls"):
        compare(nameless)


@pytest.mark.slow
@pytest.mark.unwarned
@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"status": ("ok", "error")},
        {"status": "timeout"},
        {"status": "weird"},
        {"status": None},
        {"cost_usd": None, "latency_s": 1.0},
        *({"latency_s": (v, 1.0), "cost_usd": v} for v in (float("nan"), -1.0, 0.0, float("inf"), 1e308)),
        *({"latency_s": (1.0, v), "cost_usd": (1.0, v)} for v in (float("nan"), -1.0, 0.0, 1e308, 5e-324)),
        {"cluster": "c", "latency_s": 1.0, "output": "x"},
        {"started_at": None, "latency_s": 1.0},
        {"request_id": None, "model_group": None, "stream": None},
    ],
)
def test_whatever_the_pairs_are_like_every_gap_has_its_reason(recorded, count: int, columns: dict) -> None:
    seen = compare(recorded(count, **columns), gates={**GATES, "latency_with_errors": 1.1}, progress=False)
    for row in seen.table.iter_rows(named=True):
        assert all(row[name] is not None for name in ("effect", "low", "high")) or row["note"]
    assert seen.verdict.answer in ("switch", "keep", "keep collecting")
    assert seen.gates["state"].is_in(["passed", "failed", "open"]).all()
    assert (seen.gates["n"] > 0).all() or seen.verdict.sentence
    # what nothing is known of is neither passed nor failed
    assert seen.gates.filter(pl.col("n") == 0)["state"].unique().to_list() in ([], ["open"])


def test_without_outputs_what_rests_on_them_says_that_nothing_is_known(recorded) -> None:
    seen = compare(recorded(3, output="x"), outputs=False).table.filter(metric="identical")
    assert seen["note"].to_list() == [
        "no usable pair; 3 left out: answers not compared (primary 3, silent 3)"
    ]


def test_one_plan_of_everything(recorded) -> None:
    frame = traffic(recorded, 2)
    seen = compare(
        frame, gates={"mine": 0.2}, metrics={"mine": pl.col("silent_latency_s") > 0.5}, slo_s=2, max_pairs=50
    )
    words = "gates: mine > 0.2; alpha 0.05; slo_s 2; at most 50 pairs; own metrics: mine ["
    assert seen.plan.words().startswith(words)
    assert seen.gates["metric"].to_list() == ["mine", "mine"]
    assert {"mine", "over_slo"} <= set(seen.table["metric"])
    assert seen.frame.equals(frame)


def test_labels_are_counted_as_they_come_also_of_pairs_that_are_held_back(recorded) -> None:
    """Or a label that was given early would come before those that were counted already."""
    start = recorded(1)["started_at"][0]
    frame = recorded(60, preference=["silent"] * 30 + ["primary"] * 30).with_columns(
        labelled_at=pl.Series([start + timedelta(minutes=60 + at) for at in range(30)]
                              + [start + timedelta(minutes=at) for at in range(30)])
    )  # fmt: skip
    held = told(frame, before=frame["started_at"][30], gates={"preference": 0.5}).verdict
    assert held.answer == told(frame, gates={"preference": 0.5}).verdict.answer == "keep"


def test_what_has_turned_since_its_gate_was_decided_is_told(recorded) -> None:
    early, later = (
        recorded(300, latency_s=(1.0, [0.9, 1.0, 0.95] * 100)),
        recorded(3_000, name="q", latency_s=(1, 3)),
    )
    frame = pl.concat([early, later.with_columns(pl.col("started_at") + timedelta(hours=1))])
    seen = told(frame, gates={"latency": 1.1})
    assert seen.verdict.answer == "switch"
    assert " Since then latency has been ×2." in seen.verdict.sentence
    assert seen.verdict.sentence.endswith("above the margin.")
    assert any("and stays so, but since then latency has been ×2." in each.text for each in seen.warnings)
    assert not any("stays so" in each.text for each in told(early, gates={"latency": 1.1}).warnings)
    assert "Since then" not in told(early, gates={"latency": 1.1}).verdict.sentence


def test_so_is_a_model_that_was_kept_out_and_has_become_good(recorded) -> None:
    early, later = (
        recorded(300, latency_s=(1.0, [1.9, 2.0, 1.95] * 100)),
        recorded(3_000, name="q", latency_s=(2, 1)),
    )
    frame = pl.concat([early, later.with_columns(pl.col("started_at") + timedelta(hours=1))])
    seen = told(frame, gates={"latency": 1.1}).verdict
    assert seen.answer == "keep"
    assert "Since then latency has been ×0.5" in seen.sentence
    assert seen.sentence.endswith("below the margin.")


def test_a_bill_of_nothing_decides_nothing(recorded) -> None:
    frame = recorded(400, cost_usd=(0.0, 0.01))
    seen = told(frame, gates={"cost": 1.0})
    assert seen.verdict.answer == "keep collecting"
    assert "no ratio: the primary side is 0" in seen.verdict.sentence


def test_a_label_and_a_judgement_in_two_copies_of_a_pair_both_count(recorded) -> None:
    at = recorded(1)["started_at"][0]
    labelled = recorded(3, preference="silent", labelled_at=at, output="x")
    judged = recorded(3, judge_preference="tie", judged_at=at, output="x")
    for copies in ([labelled, judged], [judged, labelled]):
        seen = told(pl.concat(copies)).pairs
        assert seen.select("preference", "judge_preference").rows() == [("silent", "tie")] * 3
        assert seen["pair_id"].to_list() == labelled["pair_id"].to_list()


def test_starts_that_are_partly_unknown_are_refused(recorded) -> None:
    frame = recorded(3)
    some = frame.with_columns(started_at=pl.when(pl.col("pair_id") != "p1").then("started_at"))
    with pytest.raises(CompareError, match="1 of 3 pairs have no started_at"):
        compare(some)
