"""Pairs come in one by one, a frame goes out; a look costs what is new since the last one."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any, TypeVar

import polars as pl

from mirrorkit.errors import LabelError
from mirrorkit.records import SCHEMA, Call, Judgement, Pair
from mirrorkit.store import labels

_Record = TypeVar("_Record", Pair, Call)


def _now() -> datetime:
    return datetime.now(UTC)


class FrameStore:
    """An append-only, thread-safe store of pairs, read as a frame with one row each.

    A look turns only the pairs that are new into rows. Those rows are one more chunk, and chunks
    are merged when they are of like size, so n pairs are in O(log n) chunks. What is said of a pair
    later, its labels, is put into its row at the next look; frames handed out earlier stay as they are.

    `recorded` are pairs that were recorded before, with the columns of the schema and maybe others;
    `clock` tells when a label is set.

    >>> store = FrameStore()
    >>> len(store), store.frame().shape[0]
    (0, 0)
    """

    def __init__(self, recorded: pl.DataFrame | None = None, *, clock: Callable[[], datetime] = _now) -> None:
        self._appending = Lock()  # guards _new, _said and _count; held for an instant
        self._looking = Lock()  # guards _chunks and _frame; held while rows are built
        self._new: list[Pair] = []
        self._said: list[labels.Annotation] = []
        self._frame = SCHEMA.frame() if recorded is None else recorded.clone()
        self._chunks: list[pl.DataFrame] = [] if self._frame.is_empty() else [self._frame]
        self._count = self._frame.height
        self._clock = clock

    def __len__(self) -> int:
        with self._appending:
            return self._count

    def append(self, pair: Pair) -> None:
        """Add a pair; cheap, and never waits for a look that is under way."""
        with self._appending:
            self._new.append(pair)
            self._count += 1

    def label(self, pair_id: str, preference: str | None, note: str | None) -> None:
        """Set a person's preference on a pair, or take it back; see `labels.label`.

        Raises LabelError if there is no such pair, or no such preference.
        """
        annotation = labels.label(pair_id, preference, note, self._clock())
        if not self._has(pair_id):
            raise LabelError(
                f"there is no pair {pair_id!r} among the {len(self):,} so far: give a `pair_id` of the frame."
            )
        self._annotate(annotation)

    def judged(self, pair_id: str, judgement: Judgement) -> None:
        """Set a judge's verdict on a pair."""
        self._annotate(labels.verdict(pair_id, judgement))

    def frame(self) -> pl.DataFrame:
        """All pairs so far, one row each, in the order of appending; changing it changes no other look.

        A value that Polars cannot store (a lone surrogate in a text, an int beyond 64 bits) is
        escaped if it is text, null otherwise; its row is there.
        """
        with self._looking:
            self._take_in()
            return self._frame.clone()

    def _has(self, pair_id: object) -> bool:
        if not isinstance(pair_id, str):
            return False
        with self._looking:
            self._take_in()
            return any((chunk.get_column("pair_id") == pair_id).any() for chunk in self._chunks)

    def _annotate(self, annotation: labels.Annotation) -> None:
        with self._appending:
            self._said.append(annotation)

    def _take_in(self) -> None:
        """Make rows of what is new; what it is made of is let go last, so that an interrupt loses none."""
        with self._appending:
            new, said = self._new.copy(), self._said.copy()
        if not new and not said:
            return
        chunks = _merged([*self._chunks, _rows(new)]) if new else self._chunks
        if said:
            chunks = [labels.annotated(chunk, said) for chunk in chunks]
        frame = pl.concat(chunks, rechunk=False) if chunks else self._frame
        with self._appending:
            self._new, self._said = self._new[len(new) :], self._said[len(said) :]
            self._chunks, self._frame = chunks, frame


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
        return labels.storable(value)
    if isinstance(value, tuple | list):
        return [_escaped(item) for item in value]
    return value
