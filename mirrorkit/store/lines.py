"""A pair as a line of JSON, and lines as rows: what a journal's segment is made of."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any

import orjson
import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.records import SCHEMA, Pair, row
from mirrorkit.store import labels
from mirrorkit.store.rows import rows

VERSION, BEFORE = "schema_version", "complete_before"
"""What a line says besides the columns of the schema."""

_HOW = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_APPEND_NEWLINE
# whole numbers beyond 53 bits are seldom meant, and those beyond 64 are not refused by orjson alone
_STRICTLY = _HOW | orjson.OPT_STRICT_INTEGER
# some versions of Polars panic at a line that is no JSON
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
_NAMES = (VERSION, *SCHEMA.columns)
_TIMES = {name for name, kind in SCHEMA.columns.items() if kind.is_temporal()}
_LISTS = {name for name, kind in SCHEMA.columns.items() if kind.is_nested()}


def line(pair: Pair, complete_before: datetime | None = None, *, plainly: bool = False) -> bytes:
    r"""The pair as a line of JSON, with the names of the schema's columns; those that are null are left out.

    The line says which version of the schema it is of and, where given, until when the record was complete
    when it was written. A value that a frame could not hold is in the line as `rows` would have it, or with
    `plainly`, which does without Polars: escaped if it is text, else null.
    """
    values = row(pair)
    try:
        if not _fits(tuple(map(type, values))) or not _plain(values):
            raise ValueError("some value is not of its column's type")
        return _written(values, complete_before, _STRICTLY)
    except (TypeError, ValueError):
        mended = _mended(values) if plainly else rows([pair]).row(0)
        return _written(mended, complete_before, _HOW)


def read(data: bytes, name: str) -> tuple[pl.DataFrame, int]:
    """The rows in lines of JSON, and the number of bytes of what is no whole line.

    `name` says in messages where they are from. Raises RecordingError if they are of a newer schema version
    than this mirrorkit knows.
    """
    data, torn = _whole(data)
    check_version(data, name)
    try:
        return _frame(data), torn
    except _UNREADABLE:
        return _searched(data.splitlines(keepends=True), torn)


def last(data: bytes) -> dict[str, Any]:
    """What the last whole line says, as JSON has it; nothing where there is no line."""
    whole, _ = _whole(data)
    start = whole.rfind(b"\n", 0, -1) + 1
    return _object(whole[start:]) or {}


def _written(values: Sequence[Any], before: datetime | None, how: int) -> bytes:
    all_values = (SCHEMA.version, *values)
    told = {name: v for name, v in zip(_NAMES, all_values, strict=True) if v is not None}
    if before is not None:
        told[BEFORE] = before
    return orjson.dumps(told, option=how)


def _mended(values: Sequence[Any]) -> list[Any]:
    return [_storable(value, kind) for value, kind in zip(values, SCHEMA.columns.values(), strict=True)]


def _storable(value: Any, kind: pl.DataType) -> Any:
    """The value, or the next best that a column of this kind can hold."""
    if kind.is_nested() and isinstance(value, tuple | list):
        return [labels.storable(text) for text in value if isinstance(text, str)]
    if type(value) is not _python(kind) and not (kind.is_float() and type(value) is int):
        return None
    if isinstance(value, str):
        return labels.storable(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is UTC else None
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    return value if isinstance(value, float) and isfinite(value) else None


@lru_cache(maxsize=4096)
def _fits(kinds: tuple[type, ...]) -> bool:
    """Whether values of these types are what the schema's columns hold, or None."""
    return all(
        kind is type(None) or kind is _python(wanted)
        for kind, wanted in zip(kinds, SCHEMA.columns.values(), strict=True)
    )


def _python(kind: pl.DataType) -> type:
    if kind.is_nested():
        return tuple
    if kind.is_temporal():
        return datetime
    plain = {pl.String(): str, pl.Int64(): int, pl.Float64(): float, pl.Boolean(): bool}
    return plain[kind]


_TIME_PLACES = tuple(place for place, name in enumerate(SCHEMA.columns) if name in _TIMES)
_LIST_PLACES = tuple(place for place, name in enumerate(SCHEMA.columns) if name in _LISTS)


def _plain(values: Sequence[Any]) -> bool:
    """Whether times are in UTC, and lists hold texts."""
    for place in _TIME_PLACES:
        if values[place] is not None and values[place].tzinfo is not UTC:
            return False
    return all(type(item) is str for place in _LIST_PLACES for item in values[place] or ())


def _whole(data: bytes) -> tuple[bytes, int]:
    """The lines without a last one that was torn off, and the number of its bytes."""
    end = data.rfind(b"\n") + 1
    rest = data[end:]
    if rest and _object(rest) is not None:
        return data + b"\n", 0
    return data[:end], len(rest)


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) else None


def check_version(data: bytes, name: str) -> None:
    """Raise RecordingError if the first of these lines is of a newer schema version than is known."""
    first = _object(data[: data.find(b"\n") + 1]) or {}
    version = first.get(VERSION)
    if isinstance(version, int) and version > SCHEMA.version:
        raise RecordingError(
            f"'{name}' has schema version {version}, this mirrorkit knows those up to {SCHEMA.version}: "
            "upgrade mirrorkit"
        )


def _frame(data: bytes) -> pl.DataFrame:
    return pl.read_ndjson(data, schema=dict(SCHEMA.columns)).rechunk()


def _searched(found: Sequence[bytes], torn: int) -> tuple[pl.DataFrame, int]:
    """The rows of those lines that can be read."""
    good: list[pl.DataFrame] = []
    for text in found:
        told = _object(text)
        try:
            if told is None:
                raise pl.exceptions.ComputeError("no JSON object")
            good.append(_frame(text))
        except _UNREADABLE:
            torn += len(text)
    return pl.concat([SCHEMA.frame(), *good], rechunk=True), torn
