"""What is said of a pair after it was recorded is in its row, and only there."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.errors import LabelError, MirrorError
from mirrorkit.records import SCHEMA, Call, Judgement, Pair
from mirrorkit.store.files import conform, read, write_csv, write_parquet
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.labels import Annotation, annotated

STARTED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DATA = Path(__file__).parent / "data"
JUDGED = Judgement("silent", "it is right", False, "gpt-4.1", 0.002, STARTED)


def pair(pair_id: str) -> Pair:
    return Pair(
        pair_id=pair_id,
        request_id="r",
        trace_id="t",
        arm="mini",
        call_type="completion",
        started_at=STARTED,
        lag_s=None,
        cluster=None,
        tags=(),
        model_group="big",
        messages="[]",
        params=None,
        stream=False,
        primary=Call("ok"),
        silent=Call("ok"),
    )


def clock() -> Iterator[datetime]:
    at = STARTED
    while True:
        at += timedelta(minutes=1)
        yield at


def filled(count: int) -> FrameStore:
    ticks = clock()
    store = FrameStore(clock=lambda: next(ticks))
    for number in range(count):
        store.append(pair(f"p{number}"))
    return store


def said(store: FrameStore, pair_id: str) -> dict[str, Any]:
    (row,) = store.frame().filter(pair_id=pair_id).iter_rows(named=True)
    return {name: row[name] for name in ("preference", "note", "labelled_at")}


def test_a_label_is_in_its_row_and_in_no_other() -> None:
    store = filled(3)
    before = store.frame()
    store.label("p1", "silent", "shorter")
    assert said(store, "p1") == {
        "preference": "silent",
        "note": "shorter",
        "labelled_at": STARTED + timedelta(minutes=1),
    }
    after = store.frame()
    assert_frame_equal(after.filter(pl.col("pair_id") != "p1"), before.filter(pl.col("pair_id") != "p1"))
    named = ("preference", "note", "labelled_at")
    assert_frame_equal(after.drop(named), before.drop(named))


def test_a_frame_handed_out_earlier_never_changes() -> None:
    store = filled(3)
    store.label("p0", "tie", None)
    first = store.frame()
    kept = first.clone().rechunk()
    store.label("p0", "primary", "no")
    store.judged("p1", JUDGED)
    store.append(pair("p3"))
    store.frame()
    assert_frame_equal(first, kept)


def test_the_last_word_counts_and_can_be_taken_back() -> None:
    store = filled(1)
    store.label("p0", "silent", "first thought")
    store.label("p0", "primary", None)
    assert said(store, "p0") == {
        "preference": "primary",
        "note": "first thought",
        "labelled_at": STARTED + timedelta(minutes=2),
    }
    store.label("p0", None, None)
    assert said(store, "p0") == {
        "preference": None,
        "note": "first thought",
        "labelled_at": STARTED + timedelta(minutes=3),
    }
    store.label("p0", None, "")
    assert said(store, "p0")["note"] == ""


def test_a_judges_verdict_stands_beside_a_persons() -> None:
    store = filled(2)
    store.label("p0", "primary", "mine")
    store.judged("p0", JUDGED)
    row = store.frame().row(0, named=True)
    assert (row["preference"], row["note"]) == ("primary", "mine")
    assert {name: row[name] for name in row if name.startswith("judge")} == {
        "judge_preference": "silent",
        "judge_reason": "it is right",
        "judge_flipped": False,
        "judge_model": "gpt-4.1",
        "judge_cost_usd": 0.002,
        "judged_at": STARTED,
    }
    store.judged("p0", Judgement(None, None, None, None, None, STARTED))
    assert store.frame()["judge_preference"].to_list() == [None, None]


def test_no_text_of_a_judge_keeps_the_frame_from_being_looked_at() -> None:
    store = filled(1)
    store.judged("p0", Judgement("tie", "why \ud83d", False, "model \ud83d", None, STARTED))
    assert store.frame().select("judge_reason", "judge_model").row(0) == ("why \\ud83d", "model \\ud83d")


@pytest.mark.parametrize(
    ("pair_id", "preference", "note", "says"),
    [
        ("p9", "silent", None, "no pair 'p9' among the 2"),
        (None, "silent", None, "no pair None"),
        (7, "silent", None, "no pair 7"),
        ("p1", "left", None, "preference='left': give one of 'primary', 'silent', 'tie', or None"),
        ("p1", "Silent", None, "preference='Silent'"),
        ("p1", True, None, "preference=True"),
        ("p1", ["tie"], None, r"preference=\['tie'\]"),
        ("p1", "tie", 3, "note=3: give a text"),
    ],
)
def test_what_cannot_be_a_label_is_named_with_its_value_and_changes_nothing(
    pair_id: Any, preference: Any, note: Any, says: str
) -> None:
    store = filled(2)
    before = store.frame()
    with pytest.raises(LabelError, match=says) as caught:
        store.label(pair_id, preference, note)
    assert isinstance(caught.value, MirrorError)
    assert_frame_equal(store.frame(), before)


def test_a_pair_that_nobody_looked_at_yet_can_be_labelled() -> None:
    store = filled(1)
    store.label("p0", "tie", None)
    assert store.frame()["preference"].to_list() == ["tie"]


def test_a_note_that_no_file_can_hold_is_escaped() -> None:
    store = filled(1)
    store.label("p0", None, "half of a smile: \ud83d")
    store.judged("p0", Judgement("tie", "\ud83d", True, None, None, STARTED))
    assert store.frame().row(0, named=True)["note"] == "half of a smile: \\ud83d"
    assert store.frame().row(0, named=True)["judge_reason"] == "\\ud83d"


@given(
    st.lists(
        st.one_of(
            st.just("append"),
            st.just("look"),
            st.tuples(st.integers(0, 60), st.sampled_from(["primary", "silent", "tie", None])),
        ),
        max_size=80,
    )
)
def test_labels_set_between_pairs_and_looks_in_any_order_all_hold(steps: list[Any]) -> None:
    store, count, told = FrameStore(), 0, dict[int, str | None]()
    for step in steps:
        if step == "append":
            store.append(pair(f"p{count}"))
            count += 1
        elif step == "look":
            store.frame()
        elif count:
            number, preference = step[0] % count, step[1]
            store.label(f"p{number}", preference, None)
            told[number] = preference
    frame = store.frame()
    assert frame["pair_id"].to_list() == [f"p{n}" for n in range(count)]
    assert frame["preference"].to_list() == [told.get(n) for n in range(count)]


def test_labels_from_many_threads_while_pairs_come_in_all_arrive() -> None:
    store, threads, each = FrameStore(), 4, 100
    start, done = Barrier(threads + 1), Event()

    def write(thread: int) -> None:
        start.wait()
        for number in range(each):
            store.append(pair(f"{thread}-{number}"))
            store.label(f"{thread}-{number}", "tie", f"{thread}-{number}")

    def look() -> None:
        start.wait()
        while not done.is_set():
            store.frame()

    with ThreadPoolExecutor(threads + 1) as pool:
        looking = pool.submit(look)
        for writer in [pool.submit(write, thread) for thread in range(threads)]:
            writer.result()
        done.set()
        looking.result()
    frame = store.frame()
    assert frame.height == threads * each
    assert (frame["note"] == frame["pair_id"]).all()
    assert (frame["preference"] == "tie").all()


def test_a_pair_that_was_recorded_twice_is_labelled_in_both_rows() -> None:
    frame = pl.DataFrame({"pair_id": ["a", "b", "a"], "note": ["1", "2", "3"]})
    seen = annotated(frame, [Annotation("a", {"note": "x"}), Annotation("c", {"note": "y"})])
    assert seen["note"].to_list() == ["x", "2", "x"]
    assert frame["note"].to_list() == ["1", "2", "3"]
    assert annotated(frame, [Annotation("c", {"note": "y"})]) is frame


def test_a_look_with_nothing_new_does_not_grow_with_the_pairs_that_are_labelled() -> None:
    ids = [f"p{n}" for n in range(200_000)]
    rows = pl.DataFrame({"pair_id": ids}).with_columns(
        pl.lit("mini").alias("arm"), primary_status=pl.lit("ok"), silent_status=pl.lit("ok")
    )
    store = FrameStore(conform(rows))
    for number in range(100):
        store.label(f"p{number}", "silent", None)

    def looks() -> float:
        began = time.perf_counter()
        for _ in range(100):
            store.frame()
        return time.perf_counter() - began

    began = time.perf_counter()
    assert store.frame()["preference"].null_count() == len(ids) - 100
    putting_in = time.perf_counter() - began
    assert min(looks() for _ in range(3)) / 100 < putting_in / 4


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet"])
def test_labels_and_verdicts_are_in_what_is_written(tmp_path: Path, name: str) -> None:
    store = filled(3)
    store.label("p0", "silent", "=1+1")
    store.judged("p1", JUDGED)
    store.judged("p2", Judgement(None, "Timeout", None, None, None, STARTED + timedelta(microseconds=1)))
    write = write_csv if name.endswith("csv") else write_parquet
    write(store.frame(), tmp_path / name)
    assert_frame_equal(read(tmp_path / name), store.frame())


@pytest.mark.parametrize("name", ["version1.csv", "version1.parquet"])
def test_a_recording_of_the_first_schema_loads_with_nulls_and_can_be_labelled(
    tmp_path: Path, name: str
) -> None:
    frame = read(DATA / name)
    assert frame.schema == pl.Schema(SCHEMA.columns)
    assert frame["arm"].to_list() == ["next", "control", "next", "control"]
    assert frame["silent_status"].to_list() == ["ok", "ok", "error", "ok"]
    assert frame["preference"].to_list() == ["silent", None, "tie", None]
    assert frame["note"].to_list() == ["'=better", "x", None, None]
    assert frame["primary_cost_usd"].null_count() == 0
    new = list(SCHEMA.columns)[list(SCHEMA.columns).index("note") + 1 :]
    assert new[0] == "labelled_at"
    assert len(new) == 7
    assert all(frame[column].null_count() == frame.height for column in new)
    store = FrameStore(frame)
    store.label(frame["pair_id"][1], "tie", None)
    write_csv(store.frame(), tmp_path / "new.csv")
    again = read(tmp_path / "new.csv")
    assert_frame_equal(again, store.frame())
    assert again["preference"].to_list() == ["silent", "tie", "tie", None]
    assert again["labelled_at"].null_count() == 3
