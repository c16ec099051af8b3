"""Pairs that are larger than memory: what fits is collected once, the long texts are read batch by batch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from mirrorkit.compare.selection import SIDES
from mirrorkit.errors import RecordingError

TEXTS = (
    "messages",
    "params",
    *(f"{side}_{name}" for side in SIDES for name in ("error_message", "output", "tool_calls")),
    "note",
    "judge_reason",
)
"""The columns of a recording that may be longer than all others together."""

ROWS = 10_000
"""So many rows of texts are in memory at once."""


def gathered(lazy: pl.LazyFrame) -> pl.DataFrame:
    """All columns of a recording but its long texts.

    Raises RecordingError if it cannot be read.

    >>> from mirrorkit.records import SCHEMA
    >>> "primary_output" in gathered(SCHEMA.frame().lazy()).columns
    False
    """
    return _collected(lazy.drop(TEXTS))


def batches(
    frame: pl.DataFrame, lazy: pl.LazyFrame | None, names: Sequence[str], start: int = 0
) -> Iterator[pl.DataFrame]:
    """The pairs from the row `start` on, part by part, with at least `pair_id` and the columns named.

    Without `lazy`, or if no column is named, they are those of `frame`, at once; otherwise those of `lazy`.

    Raises RecordingError if it cannot be read.
    """
    if lazy is None or not names:
        yield frame[start:]
    elif start < frame.height:
        wanted = lazy.select("pair_id", *names)
        yield from _slices(wanted, start) if _is_seekable(wanted) else _in_one_go(wanted, start)


def _slices(lazy: pl.LazyFrame, start: int, rows: int = ROWS) -> Iterator[pl.DataFrame]:
    batch = _collected(lazy.slice(start, rows))
    while batch.height:
        yield from batch.iter_slices(ROWS)
        start += batch.height
        batch = _collected(lazy.slice(start, rows))


def _in_one_go(lazy: pl.LazyFrame, start: int) -> Iterator[pl.DataFrame]:
    if not hasattr(lazy, "collect_batches"):  # an older Polars: slices again, but fewer
        yield from _slices(lazy, start, 10 * ROWS)
        return
    with _reading():
        rows = iter(lazy.slice(start).collect_batches(chunk_size=ROWS, engine="streaming"))
    while True:
        with _reading():
            batch = next(rows, None)
        if batch is None:
            return
        yield batch


def _is_seekable(lazy: pl.LazyFrame) -> bool:
    """Whether rows in its middle are read without those before them: only Parquet files are.

    Then slices are best: in one go, whole row groups of texts are held. Of anything else, such as a filter or
    a CSV file, each slice would be worked out from the first row on.
    """
    with _reading():
        plan = lazy.slice(1, 1).explain()
    return "Parquet SCAN" in plan and "SLICE: " in plan and "SLICE[" not in plan and "UNION" not in plan


def of_pairs(table: pl.DataFrame, ids: pl.Series, at: int = 0) -> pl.DataFrame:
    """The rows of these pairs in a table with a `pair_id`: from the row `at` on, if they are there.

    They are elsewhere where the record has grown in its middle since it was first read.

    >>> table = pl.DataFrame({"pair_id": ["a", "b", "c"], "n": [1, 2, 3]})
    >>> [of_pairs(table, pl.Series("pair_id", ids), 1)["n"].to_list() for ids in (["b", "c"], ["c", "a"])]
    [[2, 3], [3, 1]]
    """
    there = table[at : at + len(ids)]
    if there["pair_id"].equals(ids):
        return there
    once = table.unique("pair_id", keep="first", maintain_order=True)
    return ids.to_frame("pair_id").join(once, on="pair_id", how="left", maintain_order="left")


def put_together(frame: pl.DataFrame, added: pl.DataFrame) -> pl.DataFrame:
    """The columns of both as they lie: with_columns would copy a frame that is in several chunks."""
    mine = (column for column in frame.get_columns() if column.name not in added.columns)
    return pl.DataFrame([*mine, *added.get_columns()])


def with_texts(frame: pl.DataFrame, lazy: pl.LazyFrame | None) -> pl.DataFrame:
    """A few pairs with their long texts, which are those of `lazy` if the frame is without them.

    Raises RecordingError if it cannot be read.
    """
    if lazy is None:
        return frame
    ids = frame["pair_id"]
    texts = _collected(lazy.select("pair_id", *TEXTS).filter(pl.col("pair_id").is_in(ids.to_list())))
    return put_together(frame, of_pairs(texts, ids).select(TEXTS))


def _collected(lazy: pl.LazyFrame) -> pl.DataFrame:
    with _reading():
        return lazy.collect(engine="streaming")


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        message = str(error).strip().partition("\n")[0]
        raise RecordingError(f"the lazy frame cannot be read: {message}") from error
