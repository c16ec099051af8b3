"""Pairs come in one by one, a frame goes out; a look costs what is new since the last one."""

from collections.abc import Sequence
from dataclasses import fields, replace
from threading import Lock
from typing import Any, TypeVar

import polars as pl

from mirrorkit.records import SCHEMA, Call, Pair

_Record = TypeVar("_Record", Pair, Call)


class FrameStore:
    """An append-only, thread-safe store of pairs, read as a frame with one row each.

    A look turns only the pairs that are new into rows. Those rows are one more chunk, and chunks
    are merged when they are of like size, so n pairs are in O(log n) chunks.

    >>> store = FrameStore()
    >>> len(store), store.frame().shape[0]
    (0, 0)
    """

    def __init__(self) -> None:
        self._appending = Lock()  # guards _new and _count; held for an instant
        self._looking = Lock()  # guards _chunks and _frame; held while rows are built
        self._new: list[Pair] = []
        self._count = 0
        self._chunks: list[pl.DataFrame] = []
        self._frame = SCHEMA.frame()

    def __len__(self) -> int:
        with self._appending:
            return self._count

    def append(self, pair: Pair) -> None:
        """Add a pair; cheap, and never waits for a look that is under way."""
        with self._appending:
            self._new.append(pair)
            self._count += 1

    def frame(self) -> pl.DataFrame:
        """All pairs so far, one row each, in the order of appending; changing it changes no other look.

        A value that Polars cannot store (a lone surrogate in a text, an int beyond 64 bits) is
        escaped if it is text, null otherwise; its row is there.
        """
        with self._looking:
            with self._appending:
                new = self._new.copy()
            if new:
                chunks = _merged([*self._chunks, _rows(new)])
                frame = pl.concat(chunks, rechunk=False)
                # Pairs are let go only now: an interrupt while their rows are built loses none.
                with self._appending:
                    rest = self._new[len(new) :]
                    self._new, self._chunks, self._frame = rest, chunks, frame
            return self._frame.clone()


def _merged(chunks: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """The same rows in chunks of which each is at least twice as long as the next.

    Each merge makes the chunk that a row is in at least half as long again, so a row is copied
    O(log n) times in all.
    """
    keep, rows = len(chunks) - 1, chunks[-1].height
    while keep and chunks[keep - 1].height < 2 * rows:
        keep -= 1
        rows += chunks[keep].height
    return [*chunks[:keep], pl.concat(chunks[keep:], rechunk=True)]


def _rows(pairs: Sequence[Pair]) -> pl.DataFrame:
    """The pairs as rows; those that Polars refuses are searched by halves, and repaired."""
    try:
        return SCHEMA.frame(pairs)
    except Exception:  # it refuses a value with many types of error, of Python's and its own
        if len(pairs) == 1:
            return _repaired(pairs[0])
        middle = len(pairs) // 2
        return pl.concat([_rows(pairs[:middle]), _rows(pairs[middle:])])


def _repaired(pair: Pair) -> pl.DataFrame:
    """The row of a pair that Polars refuses, with text escaped and null for what it still refuses."""
    primary, silent = _mended(pair.primary, "primary_"), _mended(pair.silent, "silent_")
    return SCHEMA.frame([replace(_mended(pair), primary=primary, silent=silent)])


def _mended(record: _Record, prefix: str = "") -> _Record:
    """The record with each value made storable in its column, which is called prefix + field."""
    columns = {f.name: f"{prefix}{f.name}" for f in fields(record)}
    values = {
        name: _storable(column, getattr(record, name))
        for name, column in columns.items()
        if column in SCHEMA.columns
    }
    return replace(record, **values)


def _storable(column: str, value: Any) -> Any:
    """The value, or the next best that the column can hold.

    >>> _storable("note", "half of a smile: \\ud83d"), _storable("primary_attempts", 2**70)
    ('half of a smile: \\\\ud83d', None)
    """
    value = _escaped(value)
    try:
        pl.DataFrame([(value,)], schema={column: SCHEMA.columns[column]}, orient="row")
    except Exception:
        return None
    return value


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, tuple | list):
        return [_escaped(item) for item in value]
    return value
