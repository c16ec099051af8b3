"""A recording that is larger than memory: what `files` does to a frame, done as it is read."""

from collections.abc import Callable, Collection

import polars as pl

from mirrorkit.errors import RecordingError
from mirrorkit.records import SCHEMA
from mirrorkit.store import files


def conformed(lazy: pl.LazyFrame, name: str = "the frame") -> pl.LazyFrame:
    """The lazy frame with the columns of the schema, in their order and types, and any others after them.

    It does lazily what `files.conform` does, by the names and types of the columns alone: a missing column
    is null, unless the frame is no recording without it. Reads no rows; a value that does not fit the type
    of its column is an error of Polars' when the frame is collected.

    `name` is what messages call the frame. Raises RecordingError if an essential column is missing, a column
    is of a type that cannot be made the schema's, or the names of the columns cannot be read.

    >>> pairs = {"pair_id": [1], "arm": ["mini"], "primary_status": ["ok"], "silent_status": ["ok"]}
    >>> conformed(pl.LazyFrame(pairs)).select("pair_id", "primary_cost_usd").collect().row(0)
    ('1', None)
    >>> conformed(pl.LazyFrame({"prompt": ["hi"]}))
    Traceback (most recent call last):
        ...
    mirrorkit.errors.RecordingError: the frame is no recording: it lacks the columns pair_id, arm, \
primary_status, silent_status; it has prompt
    """
    if not isinstance(lazy, pl.LazyFrame):
        raise RecordingError(f"this takes a polars.LazyFrame, not {type(lazy).__qualname__}")
    try:
        schema = lazy.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RecordingError(f"{name} cannot be read: {files.first_line(error)}") from error
    if schema == pl.Schema(SCHEMA.columns):
        return lazy
    files.check_essential(schema.names(), name)
    known = [_column(column, schema, kind, name) for column, kind in SCHEMA.columns.items()]
    return lazy.select(*known, *_others(schema.names()))


def _others(names: Collection[str]) -> list[pl.Expr]:
    return [pl.col(column) for column in names if column not in SCHEMA.columns]


def _column(column: str, schema: pl.Schema, kind: pl.DataType, name: str) -> pl.Expr:
    """The expression that makes a column of the schema."""
    if column not in schema:
        return pl.lit(None, dtype=kind).alias(column)
    found = schema[column]
    if found == kind:
        return pl.col(column)
    if found == pl.Null() or _is_safe(found, kind):
        return pl.col(column).cast(kind)
    if not _is_possible(found, kind):
        raise RecordingError(f"column '{column}' of {name} is {found} and cannot be made {kind}")
    return pl.col(column).map_batches(_fitting(kind, name), return_dtype=kind, is_elementwise=True)


def _is_safe(found: pl.DataType, kind: pl.DataType) -> bool:
    """Whether Polars' own cast gives the same values, or says that it cannot."""
    if kind.is_integer():
        return found.is_integer()
    if kind.is_float():
        return found.is_integer() or found.is_float()
    if kind.is_temporal():
        return isinstance(found, pl.Datetime)
    return kind == pl.String() and not found.is_nested() and found != pl.Binary()


def _is_possible(found: pl.DataType, kind: pl.DataType) -> bool:
    """Whether there is any value of this type that becomes one of that type."""
    try:
        files.fitted(pl.Series("column", [], dtype=found), kind, "it")
    except RecordingError:
        return False
    return True


def _fitting(kind: pl.DataType, name: str) -> Callable[[pl.Series], pl.Series]:
    return lambda column: files.fitted(column, kind, name)
