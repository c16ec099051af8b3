from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.errors import RecordingError
from mirrorkit.records import SCHEMA
from mirrorkit.store.files import conform
from mirrorkit.store.lazily import conformed

PAIR = {"pair_id": ["p"], "arm": ["mini"], "primary_status": ["ok"], "silent_status": ["ok"]}
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def test_a_frame_with_the_schema_is_given_back_as_it_is() -> None:
    lazy = SCHEMA.frame().lazy()
    assert conformed(lazy) is lazy


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("pair_id", 7),
        ("pair_id", True),
        ("lag_s", 1),
        ("lag_s", "0.5"),
        ("lag_s", " "),
        ("stream", "True"),
        ("stream", ""),
        ("tags", '["a","b"]'),
        ("tags", None),
        ("primary_attempts", 3.0),
        ("primary_attempts", "3"),
        ("started_at", "2026-11-22T09:00:00.000001+00:00"),
        ("started_at", NOW.replace(tzinfo=None)),
        ("started_at", NOW.astimezone(timezone(timedelta(hours=2))).isoformat()),
        ("mine", "kept"),
    ],
)
@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_column_is_what_conform_makes_of_it(column: str, value: Any, engine: Any) -> None:
    frame = pl.DataFrame({**PAIR, column: [value]})
    assert_frame_equal(conformed(frame.lazy()).collect(engine=engine), conform(frame))


def test_a_type_that_cannot_be_the_columns_is_said_before_any_row_is_read() -> None:
    frame = pl.DataFrame({**PAIR, "started_at": [17]})
    with pytest.raises(RecordingError, match="column 'started_at' of the parts is Int64 and cannot be made"):
        conformed(frame.lazy(), "the parts")


@pytest.mark.parametrize(
    ("column", "value"),
    [("primary_attempts", 1.5), ("lag_s", "soon"), ("stream", "maybe"), ("tags", "[1][2]")],
)
def test_a_value_that_does_not_fit_is_an_error_when_it_is_read(column: str, value: Any) -> None:
    lazy = conformed(pl.LazyFrame({**PAIR, column: [value]}))
    with pytest.raises((pl.exceptions.PolarsError, RecordingError), match="cannot be made"):
        lazy.collect()


def test_what_is_no_recording_is_refused_with_what_it_lacks() -> None:
    with pytest.raises(RecordingError, match=r"lacks the columns pair_id, arm, .*; it has a"):
        conformed(pl.LazyFrame({"a": [1]}))
    with pytest.raises(RecordingError, match="not DataFrame"):
        conformed(SCHEMA.frame())  # type: ignore[arg-type]


def test_a_file_that_is_not_there_is_said(tmp_path: Any) -> None:
    with pytest.raises(RecordingError, match="the parts cannot be read"):
        conformed(pl.scan_parquet(tmp_path / "nowhere.parquet"), "the parts")


@given(st.sets(st.sampled_from(list(SCHEMA.columns)), max_size=20))
def test_missing_columns_are_null_as_conform_has_them(missing: set[str]) -> None:
    call = pl.DataFrame({**PAIR, "started_at": [NOW], "note": ["x"]})
    frame = conform(call).drop(missing - set(PAIR))
    assert_frame_equal(conformed(frame.lazy()).collect(), conform(frame))
