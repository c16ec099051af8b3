"""Chunks are merged and made small, and hold the same rows as before."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.store.chunks import WHOLE, merged, newest, slimmed

LONG = "an answer that is longer than the twelve bytes that Polars keeps within a view "

values = st.lists(st.none() | st.sampled_from(["", LONG]) | st.text(max_size=30), min_size=1, max_size=40)


def column_of(texts: list[str | None], times: int, in_turn: bool) -> pl.Series:
    """Each text so many times, in turn or one after the other: few in all, few at first, or many."""
    several = texts * times if in_turn else [text for text in texts for _ in range(times)]
    return pl.Series("text", several, dtype=pl.String)


@settings(max_examples=60)
@given(values, st.integers(1, 40), st.booleans())
def test_a_slimmed_chunk_equals_the_original_whatever_texts_and_nulls_it_holds(
    texts: list[str | None], times: int, in_turn: bool
) -> None:
    text = column_of(texts, times, in_turn)
    number = pl.Series("number", [None if each is None else len(each) for each in text], dtype=pl.Int64)
    tags = pl.Series("tags", [None if each is None else [each, None] for each in text], pl.List(pl.String))
    chunk = pl.DataFrame([text, number, tags, pl.Series("none", [None] * len(text), dtype=pl.Float64)])
    slim = slimmed(chunk)
    assert_frame_equal(slim, chunk)
    assert slim.null_count().rows() == chunk.null_count().rows()


@pytest.mark.parametrize(
    "texts",
    [
        [LONG, None, "short"] * 1_000,
        [f"{LONG}{number}" if number % 3 else None for number in range(3_000)],
        [LONG] * 1_000 + [f"{LONG}{number}" for number in range(2_000)],
        [None] * 3_000,
        [None] * 2_999 + [LONG],
    ],
    ids=["few", "many", "many after few", "null", "null but one"],
)
def test_a_long_chunk_is_merged_in_one_piece_and_no_text_changes(
    texts: list[str | None],
) -> None:
    # as texts lie in a store: in the buffers of many small frames
    small = [
        pl.DataFrame({"text": pl.Series(texts[at : at + 100], dtype=pl.String)})
        for at in range(0, 3_000, 100)
    ]
    (chunk,) = merged([pl.concat(small[:15], rechunk=True), pl.concat(small[15:], rechunk=True)])
    assert chunk["text"].to_list() == texts
    assert chunk.n_chunks() == 1


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_merged_chunks_hold_all_rows_in_order_and_each_is_whole_or_twice_the_next(sizes: list[int]) -> None:
    chunks: list[pl.DataFrame] = []
    count = 0
    for size in sizes:
        rows = pl.DataFrame({"at": range(count, count + size)})
        count += size
        chunks = merged([*chunks, rows], whole=100)
        assert all(one.height >= min(2 * other.height, 100) for one, other in pairwise(chunks))
    assert [at for chunk in chunks for at in chunk["at"]] == list(range(count))


def test_a_whole_chunk_is_copied_no_more() -> None:
    whole = pl.DataFrame({"at": range(WHOLE)})
    first, rest = merged([whole, whole[:5]])
    assert first is whole
    assert rest.height == 5


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(0, 40))
def test_the_newest_chunks_have_so_many_rows_and_no_chunk_more_than_that_takes(
    sizes: list[int], most: int
) -> None:
    chunks = [pl.DataFrame({"at": range(size)}) for size in sizes]
    kept = newest(chunks, most)
    height = sum(chunk.height for chunk in kept)
    assert height >= min(most, sum(sizes))
    if kept:
        assert height - kept[0].height < most
