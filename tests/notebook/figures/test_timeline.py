"""A run in bins: few, of a length people count in, and every request in one of them."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.notebook.figures.timeline import MOST, timeline

MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))


def frame(moments: list[datetime | None]) -> pl.DataFrame:
    return pl.DataFrame({"started_at": moments}, schema={"started_at": pl.Datetime("us", "UTC")})


@given(st.lists(st.none() | MOMENTS, max_size=20), st.integers(2, MOST))
def test_every_known_start_is_in_one_of_few_bins(moments: list[datetime | None], most: int) -> None:
    of = frame(moments)
    when = timeline(of, most)
    bins = of.select(when.bins()).to_series()
    assert 1 <= when.count <= most
    if when.dated:
        assert [number is None for number in bins] == [moment is None for moment in moments]
    assert all(0 <= number < when.count for number in bins.drop_nulls())
    assert len({when.middle(number) for number in range(when.count)}) == when.count


@pytest.mark.parametrize(
    ("seconds", "length"),
    [(0, "1 s"), (30, "1 s"), (100, "2 s"), (1_800, "1 min"), (86_400, "30 min"), (86_400 * 30, "1 d")],
)
def test_a_bin_is_as_long_as_people_count(seconds: int, length: str) -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    assert timeline(frame([start, start + timedelta(seconds=seconds)])).length() == length


def test_a_bin_starts_on_a_round_time() -> None:
    start = datetime(2026, 11, 1, 9, 13, 7, tzinfo=UTC)
    when = timeline(frame([start, start + timedelta(hours=1)]))
    assert when.name(0) == "2026-11-01 09:12:00 UTC, 2 min"
    assert when.middle(0) == "2026-11-01 09:13:00"


def test_where_no_start_is_known_pairs_are_counted_in_their_order() -> None:
    when = timeline(frame([None] * 150))
    assert (when.dated, when.length(), when.count) == (False, "3 pairs", 50)
    assert when.name(1) == "pairs 4 to 6"
