import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.errors import RecordingError
from mirrorkit.records import SCHEMA, Call, Pair
from mirrorkit.store import lines
from mirrorkit.store.rows import rows

Make = Callable[..., Pair]
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def read(data: bytes) -> pl.DataFrame:
    frame, torn = lines.read(data, "it")
    assert torn == 0
    return frame


def test_a_line_is_one_json_object_with_the_schemas_names_and_its_version(make: Make) -> None:
    text = lines.line(make(1, note="two\nlines"), NOW)
    assert text.count(b"\n") == 1
    told = json.loads(text)
    assert told["schema_version"] == SCHEMA.version
    assert told["complete_before"] == "2026-11-22T09:00:00Z"
    assert told["note"] == "two\nlines"
    assert set(told) - {"schema_version", "complete_before"} < set(SCHEMA.columns)
    assert None not in told.values()
    assert "complete_before" not in json.loads(lines.line(make(1)))


@pytest.mark.parametrize(
    "value",
    ["\ud83d cut", "NUL \x00", "\u2028\x85\r\n", {"not": "text"}, b"bytes", object(), 7, True, ["x"], ""],
)
def test_an_odd_text_comes_back_as_the_frame_has_it(make: Make, value: Any) -> None:
    pair = make(1, note=value, silent=Call("ok", output=value))
    assert_frame_equal(read(lines.line(pair)), rows([pair]))


@pytest.mark.parametrize(
    "value",
    [
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        2**200,
        1.0,
        1.5,
        "many",
        True,
        float("nan"),
        [1],
    ],
)
def test_an_odd_number_comes_back_as_the_frame_has_it(make: Make, value: Any) -> None:
    call = Call("ok", latency_s=value, input_tokens=value, cost_usd=value, fell_back=value)
    pair = make(1, silent=call, lag_s=value)
    assert_frame_equal(read(lines.line(pair)), rows([pair]))


@pytest.mark.parametrize(
    "value",
    [
        NOW.replace(microsecond=1),
        NOW.replace(tzinfo=None),
        NOW.astimezone(timezone(timedelta(hours=5, minutes=30))),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "2026-11-22",
        None,
    ],
)
def test_a_time_comes_back_as_the_frame_has_it(make: Make, value: Any) -> None:
    pair = make(1, started_at=value)
    assert_frame_equal(read(lines.line(pair)), rows([pair]))


@pytest.mark.parametrize("value", [(), ("a", "b"), ("\udc00",), (1, "a"), None, ["list"], "text"])
def test_tags_come_back_as_the_frame_has_them(make: Make, value: Any) -> None:
    pair = make(1, tags=value)
    assert_frame_equal(read(lines.line(pair)), rows([pair]))


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(),
    st.lists(st.text(st.characters()), max_size=3),
    st.dictionaries(st.text(), st.integers(), max_size=2),
)
texts = st.text(st.characters())


@given(
    st.lists(
        st.tuples(texts, anything, anything, st.floats(), st.integers(-(2**66), 2**66), st.lists(texts)),
        max_size=5,
    )
)
def test_whatever_the_pairs_hold_their_lines_are_the_rows_of_the_frame(make: Make, drawn: list[Any]) -> None:
    pairs = [
        make(n, messages=text, note=one, lag_s=number, tags=tuple(tags),
             silent=Call("ok", output=two, cost_usd=number, attempts=count, cache_hit=one))
        for n, (text, one, two, number, count, tags) in enumerate(drawn)
    ]  # fmt: skip
    data = b"".join(map(lines.line, pairs))
    assert data.count(b"\n") == len(pairs)
    assert_frame_equal(read(data), rows(pairs))


@given(st.lists(st.tuples(texts, anything, anything, st.integers(-(2**66), 2**66)), max_size=3))
def test_a_line_is_made_without_polars_where_that_is_asked_for(make: Make, drawn: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl, "DataFrame", lambda *_, **__: pytest.fail("Polars was asked"))
        made = [
            lines.line(
                make(n, note=text, lag_s=one, started_at=two, tags=(text, one),
                     silent=Call("ok", output=two, cost_usd=one, attempts=count, cache_hit=two)),
                plainly=True,
            )
            for n, (text, one, two, count) in enumerate(drawn)
        ]  # fmt: skip
    frame = read(b"".join(made))
    assert frame["pair_id"].to_list() == [f"p{n}" for n in range(len(drawn))]
    for row, (text, one, two, count) in zip(frame.iter_rows(named=True), drawn, strict=True):
        assert row["note"] == text.encode("utf-8", "backslashreplace").decode()
        assert row["silent_attempts"] == (count if -(2**63) <= count < 2**63 else None)
        assert row["silent_cache_hit"] == (two if isinstance(two, bool) else None)
        is_number = type(one) is float or (type(one) is int and abs(one) < 2**63)
        assert row["lag_s"] == (float(one) if is_number and isfinite(one) else None)
        assert row["started_at"] is None


@given(st.integers(0, 10_000))
def test_a_segment_that_is_cut_at_any_byte_keeps_all_whole_rows(make: Make, place: int) -> None:
    pairs = [make(n, note="é\ud83d\x00😀" * n) for n in range(6)]
    each = [lines.line(pair) for pair in pairs]
    data = b"".join(each)
    data = data[: place % (len(data) + 1)]
    # a line that lacks nothing but its end is whole
    whole = sum(len(b"".join(each[: n + 1])) - 1 <= len(data) for n in range(6))
    frame, torn = lines.read(data, "it")
    assert_frame_equal(frame, rows(pairs[:whole]))
    assert torn == max(0, len(data) - len(b"".join(each[:whole])))


@pytest.mark.parametrize(
    "bad", [b"\x00\x00\x00\n", b'{"pair_id": \n', b"[1]\n", b'{"lag_s":"soon"}\n', b"\xff\n"]
)
def test_damage_in_the_middle_costs_only_the_lines_it_is_in(make: Make, bad: bytes) -> None:
    frame, torn = lines.read(lines.line(make(1)) + bad + lines.line(make(2)), "it")
    assert frame["pair_id"].to_list() == ["p1", "p2"]
    assert torn == len(bad)


def test_a_line_of_a_newer_version_is_refused() -> None:
    newer = json.dumps({"schema_version": SCHEMA.version + 1, "pair_id": "p"}).encode()
    with pytest.raises(RecordingError, match=f"'it' has schema version {SCHEMA.version + 1}.*upgrade"):
        lines.read(newer + b"\n", "it")


def test_a_line_of_the_first_version_has_nulls_where_it_says_nothing() -> None:
    frame, _ = lines.read(b'{"schema_version":1,"pair_id":"p","arm":"a","more":{"x":1}}\n', "it")
    assert frame.schema == pl.Schema(SCHEMA.columns)
    assert frame.row(0, named=True) == {**dict.fromkeys(SCHEMA.columns), "pair_id": "p", "arm": "a"}


def test_the_last_line_is_the_last_whole_one(make: Make) -> None:
    assert lines.last(b"") == {}
    data = lines.line(make(1)) + lines.line(make(2), NOW)
    assert lines.last(data)["complete_before"] == "2026-11-22T09:00:00Z"
    assert lines.last(data[:-5])["pair_id"] == "p1"
    assert lines.last(data[:-1])["pair_id"] == "p2"
