"""Pairs become rows; what Polars refuses is made storable, so that no row is lost."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import polars as pl

from mirrorkit.records import SCHEMA, Call, Pair
from mirrorkit.store import labels

_Record = TypeVar("_Record", Pair, Call)

_NUMBERS = tuple(name for name, kind in SCHEMA.columns.items() if kind.is_float())


def rows(pairs: Sequence[Pair]) -> pl.DataFrame:
    """The pairs as a frame, one row each, whatever they hold.

    A value that Polars cannot store (a lone surrogate in a text, an int beyond 64 bits) is escaped if it is
    text, null otherwise; a number that is not finite is null, too.

    >>> rows([]).height
    0
    """
    frame = _built(pairs)
    wild = frame.select((~pl.col(_NUMBERS).is_finite()).any()).row(0)
    odd = [name for name, found in zip(_NUMBERS, wild, strict=True) if found]
    return frame.with_columns(pl.when(pl.col(odd).is_finite()).then(pl.col(odd))) if odd else frame


def _built(pairs: Sequence[Pair]) -> pl.DataFrame:
    """The pairs as rows; those that Polars refuses are searched by halves, and repaired."""
    try:
        return SCHEMA.frame(pairs)
    except Exception:  # it refuses a value with many types of error, of Python's and its own
        if len(pairs) == 1:
            return _repaired(pairs[0])
        middle = len(pairs) // 2
        return pl.concat([_built(pairs[:middle]), _built(pairs[middle:])])


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
