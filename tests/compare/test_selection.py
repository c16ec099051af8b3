"""Which pairs a metric rests on: the order of pairs, the arms, and what is left out for which reason."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.compare.selection import (
    SIDES,
    Omission,
    Reason,
    arms,
    arms_by_start,
    flag,
    gap,
    in_order,
    known,
    of_arm,
    select,
)

T = datetime(2026, 11, 2, tzinfo=UTC)
OK = {f"{side}_status": "ok" for side in SIDES}


def started(*seconds: int | None, ids: str = "abcdefgh") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "started_at": [None if each is None else T + timedelta(seconds=each) for each in seconds],
            "pair_id": list(ids[: len(seconds)]),
        },
        schema_overrides={"started_at": pl.Datetime("us", "UTC")},
    )


@pytest.mark.parametrize(
    ("seconds", "order"),
    [
        ((1, 2, 3), "abc"),
        ((3, 1, 2), "bca"),
        ((2, None, 1), "cab"),
        ((None, None, None), "abc"),
        ((1, 1, 0), "cab"),
    ],
)
def test_pairs_are_in_the_order_of_their_requests_and_unknown_starts_come_last(
    seconds: tuple[int | None, ...], order: str
) -> None:
    assert "".join(in_order(started(*seconds))["pair_id"]) == order


@given(st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_is_the_same_however_the_rows_came(seconds: list[int | None], random) -> None:
    frame = started(*seconds)
    places = list(range(frame.height))
    random.shuffle(places)
    if any(each is not None for each in seconds):
        assert in_order(frame[places]).equals(in_order(frame))


def test_arms_come_by_first_appearance_or_by_start_and_control_is_always_last() -> None:
    frame = started(3, 1, 2, 0).with_columns(arm=pl.Series(["b", "c", "a", "control"]))
    assert arms(frame) == ["b", "c", "a", "control"]
    assert arms_by_start(frame) == arms_by_start(frame.reverse()) == ["c", "a", "b", "control"]
    assert arms_by_start(started(1, 1).with_columns(arm=pl.Series(["b", "a"]))) == ["a", "b"]


def test_an_arm_has_its_own_pairs_alone() -> None:
    frame = pl.DataFrame({"arm": ["a", "b", "a", None], "pair_id": [1, 2, 3, 4]})
    assert of_arm(frame, "a")["pair_id"].to_list() == [1, 3]
    assert of_arm(frame, "c").is_empty()
    assert of_arm(frame[[0, 2]], "a").height == 2


@st.composite
def marked(draw: st.DrawFn) -> tuple[pl.DataFrame, int]:
    count, reasons = draw(st.integers(0, 12)), draw(st.integers(0, 20))
    column = st.lists(st.sampled_from([False, False, False, True]), min_size=count, max_size=count)
    columns = {f"{side}_{number}": draw(column) for number in range(reasons) for side in SIDES}
    return pl.DataFrame({"row": list(range(count)), **columns}, schema_overrides={"row": pl.Int64}), reasons


@given(marked())
def test_selecting_is_what_a_look_at_each_pair_by_itself_would_give(given_: tuple[pl.DataFrame, int]) -> None:
    frame, count = given_
    reasons = [
        Reason(f"reason {number}", lambda side, number=number: pl.col(f"{side}_{number}").cast(pl.Boolean))
        for number in range(count)
    ]
    kept, tally = [], {number: [0, 0, 0] for number in range(count)}
    for row in frame.iter_rows(named=True):
        first = next((n for n in range(count) if row[f"primary_{n}"] or row[f"silent_{n}"]), None)
        if first is None:
            kept.append(row["row"])
            continue
        for place, add in enumerate((1, row[f"primary_{first}"], row[f"silent_{first}"])):
            tally[first][place] += add
    words = tuple(
        f"{pairs} left out: reason {number} (primary {primary}, silent {silent})"
        for number, (pairs, primary, silent) in tally.items()
        if pairs
    )
    seen = select(frame, reasons)
    assert (seen.pairs["row"].to_list(), seen.left_out) == (kept, words)


def test_a_number_is_known_if_it_is_finite_and_not_negative() -> None:
    values = [0.0, 5e-324, 1e308, None, float("nan"), -1.0, float("inf"), -float("inf")]
    frame = pl.DataFrame({"primary_x": values, "silent_x": [1.0] * 8, **OK})
    seen = select(frame, known("x", lambda side: pl.col(f"{side}_x")))
    assert seen.pairs["primary_x"].to_list() == [0.0, 5e-324, 1e308]
    assert seen.left_out == (
        "1 left out: x unknown (primary 1, silent 0)",
        "4 left out: x negative or not finite (primary 4, silent 0)",
    )


def test_an_unknown_flag_is_no_reason() -> None:
    frame = pl.DataFrame({"primary_hit": [None, True], "silent_hit": [None, False]})
    assert select(frame, [flag("hit", lambda side: pl.col(f"{side}_hit"))]).pairs.height == 1


@st.composite
def unknown(draw: st.DrawFn) -> tuple[pl.DataFrame, list[Reason]]:
    """Pairs with reasons of all sorts, some of them gaps, and calls of any outcome."""
    count = draw(st.integers(1, 12))
    sorts = draw(st.lists(st.sampled_from([None, "side", "pair"]), min_size=1, max_size=4))
    column = st.lists(st.sampled_from([False, False, True]), min_size=count, max_size=count)
    statuses = st.lists(st.sampled_from(["ok", "ok", "error", None]), min_size=count, max_size=count)
    columns = {f"{side}_{number}": draw(column) for number in range(len(sorts)) for side in SIDES}
    for number, sort in enumerate(sorts):
        if sort == "pair":
            columns[f"silent_{number}"] = columns[f"primary_{number}"]
    made = {"row": list(range(count)), **columns, **{f"{side}_status": draw(statuses) for side in SIDES}}
    reasons = [
        Reason(f"reason {number}", lambda side, number=number: pl.col(f"{side}_{number}"), sort)
        for number, sort in enumerate(sorts)
    ]
    return pl.DataFrame(
        made, schema_overrides=dict.fromkeys((f"{s}_status" for s in SIDES), pl.String)
    ), reasons


@given(unknown())
def test_left_out_for_one_sides_sake_is_what_a_look_at_each_pair_would_give(
    given_: tuple[pl.DataFrame, list[Reason]],
) -> None:
    frame, reasons = given_
    alone, tally = [], {number: [0, 0, 0] for number in range(len(reasons))}
    for row in frame.iter_rows(named=True):
        has = [{side: row[f"{side}_{n}"] for side in SIDES} for n in range(len(reasons))]
        first = next((n for n, sides in enumerate(has) if any(sides.values())), None)
        if first is None or row["primary_status"] != "ok" or row["silent_status"] != "ok":
            continue
        lacks = {
            side: any(has[n][side] for n, reason in enumerate(reasons) if reason.gap == "side")
            for side in SIDES
        }
        one_sided = reasons[first].gap == "side" and lacks["primary"] != lacks["silent"]
        if one_sided or reasons[first].gap == "pair":
            alone.append(row["row"])
            for place, add in enumerate((1, has[first]["primary"], has[first]["silent"])):
                tally[first][place] += add
    seen = select(frame, reasons)
    assert seen.one_sided["row"].to_list() == alone
    assert seen.omissions == tuple(
        Omission(f"reason {n}", *counts) for n, counts in tally.items() if counts[0]
    )


def test_what_to_do_about_a_gap_goes_with_it() -> None:
    frame = pl.DataFrame({"primary_x": [1, None], "silent_x": [1, 2], **OK})
    unknown_x = gap("x unknown", lambda side: pl.col(f"{side}_x").is_null(), "say what x is")
    assert select(frame, [unknown_x]).omissions == (Omission("x unknown", 1, 1, 0, "say what x is"),)
