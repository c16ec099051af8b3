"""Frames go to CSV and Parquet files and come back the same."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO
from uuid import uuid4

import polars as pl

from mirrorkit.errors import MirrorError, MirrorWarning, RecordingError
from mirrorkit.records import SCHEMA

FilePath = str | os.PathLike[str]

ESSENTIAL = ("pair_id", "arm", "primary_status", "silent_status")
"""Without these columns a frame is no recording; any other may be missing, and is null then."""

_PREFIX = "mirrorkit."
_VERSION_KEY = f"{_PREFIX}schema_version"

# What makes a spreadsheet take a cell for a formula, blanks and unseen signs before it or not: OWASP, "CSV
# Injection".
_FORMULA = r"(?:[\s\p{Cc}\p{Cf}]*[=+\-@＝＋－＠]|[\t\r\n])"


def write_csv(frame: pl.DataFrame, path: FilePath, *, neutralise: bool = True) -> None:
    """Write a recording as CSV, which `read` gives back exactly.

    Nested values are JSON, times ISO 8601 in UTC with microseconds. A text cell, or the name of a
    column, that a spreadsheet would run as a formula gets a leading apostrophe, which `read` takes
    off again. With `neutralise=False` only a text that has such an apostrophe of its own gets
    another, so that reading stays unambiguous.

    An existing file is replaced in one step, or stays as it is if writing fails. Columns beyond
    the schema come back as text: CSV does not keep their type, Parquet does.

    Raises RecordingError if the frame is no recording, its folder does not exist, or a column
    beyond the schema is of a type that CSV cannot hold.

    >>> import tempfile
    >>> row = {"pair_id": ["p1"], "arm": ["gpt-4o-mini"], "primary_status": ["ok"], "silent_status": ["ok"]}
    >>> frame = conform(pl.DataFrame({**row, "silent_output": ["=1+1"]}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(frame, f"{folder}/pairs.csv")
    ...     "'=1+1" in open(f"{folder}/pairs.csv").read(), read(f"{folder}/pairs.csv").equals(frame)
    (True, True)
    """
    frame = conform(frame)
    with replacing(path) as file:
        _as_text(frame, neutralise=neutralise).write_csv(file)


def write_parquet(
    frame: pl.DataFrame, path: FilePath, *, kept: Mapping[str, str] = {}, private: bool = False
) -> None:
    """Write a recording as Parquet, with its schema version; `read` gives it back exactly.

    `kept` are texts by name that go with the frame, such as the plan of its comparison; `read_kept`
    gives them back. An existing file is replaced in one step, or stays as it is if writing fails. What is
    `private` nobody but this user may read.

    Raises RecordingError if the frame is no recording, its folder does not exist, a column beyond
    the schema is of a type that Parquet cannot hold, or something is kept as "schema_version",
    which is the file's own.

    >>> import tempfile
    >>> frame = SCHEMA.frame()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(frame, f"{folder}/pairs.parquet", kept={"plan": "{}"})
    ...     read(f"{folder}/pairs.parquet").equals(frame), read_kept(f"{folder}/pairs.parquet")
    (True, {'plan': '{}'})
    """
    frame = conform(frame)
    metadata = {f"{_PREFIX}{name}": text for name, text in kept.items()}
    if _VERSION_KEY in metadata:
        raise RecordingError('nothing can be kept as "schema_version", which is the file\'s own: rename it')
    with replacing(path, 0o600 if private else 0o666) as file:
        frame.write_parquet(file, metadata={**metadata, _VERSION_KEY: str(SCHEMA.version)})


def read(path: FilePath) -> pl.DataFrame:
    """The recording in a .csv or .parquet file, as a frame with today's schema.

    Raises RecordingError if there is no such file, it has another suffix, cannot be read, is no
    recording, or is of a newer schema version than this mirrorkit knows.

    >>> read("nowhere.parquet")
    Traceback (most recent call last):
        ...
    mirrorkit.errors.RecordingError: there is no file 'nowhere.parquet'
    """
    path = _existing(path)
    with readable(f"'{path}'", path.suffix):
        frame = _READERS[path.suffix.lower()](path)
    return _conform(frame, f"'{path}'")


def read_kept(path: FilePath) -> dict[str, str]:
    """What `write_parquet` kept with a recording, by name; nothing for a .csv file.

    Texts that a later version kept are given as they are.

    Raises RecordingError if there is no such file, it has another suffix, or it cannot be read.
    """
    path = _existing(path)
    if path.suffix.lower() == ".csv":
        return {}
    with readable(f"'{path}'", path.suffix), path.open("rb") as file:
        metadata = pl.read_parquet_metadata(file)
    return {
        key.removeprefix(_PREFIX): text
        for key, text in metadata.items()
        if key.startswith(_PREFIX) and key != _VERSION_KEY
    }


def check_readable(path: Path) -> None:
    """Raise RecordingError if a Parquet file is none, or of a newer schema version than is known."""
    with readable(f"'{path}'", path.suffix), path.open("rb") as file:
        _check_version(pl.read_parquet_metadata(file), path)


def conform(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the columns of the schema, in their order and types, and any others after them.

    A missing column is added as null, unless the frame is no recording without it (`ESSENTIAL`).
    A column of another type is cast: text is parsed as `write_csv` writes it, a time without a
    zone is UTC.

    Raises RecordingError if an essential column is missing or a value does not fit its column's type.

    >>> pairs = {"pair_id": [1], "arm": ["mini"], "primary_status": ["ok"], "silent_status": ["ok"]}
    >>> conform(pl.DataFrame(pairs)).select("pair_id", "primary_cost_usd").row(0)
    ('1', None)
    >>> conform(pl.DataFrame({"prompt": ["hi"]}))
    Traceback (most recent call last):
        ...
    mirrorkit.errors.RecordingError: the frame is no recording: it lacks the columns pair_id, arm, \
primary_status, silent_status; it has prompt
    """
    if not isinstance(frame, pl.DataFrame):
        kind = type(frame)
        # a session or a recording; a pandas frame has a `compare`, too, but no `frame`
        has_pairs = hasattr(kind, "compare") and hasattr(kind, "frame")
        hint = ": use .compare() on it, or give its .frame" if has_pairs else ""
        raise RecordingError(
            f"a recording is a polars.DataFrame, not {kind.__module__}.{kind.__qualname__}{hint}"
        )
    return _conform(frame, "the frame")


def _conform(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    if frame.schema == pl.Schema(SCHEMA.columns):
        return frame
    check_essential(frame.columns, name)
    known = [
        fitted(frame[column], kind, name)
        if column in frame.columns
        else pl.repeat(None, frame.height, dtype=kind, eager=True).alias(column)
        for column, kind in SCHEMA.columns.items()
    ]
    others = [column for column in frame.get_columns() if column.name not in SCHEMA.columns]
    return pl.DataFrame([*known, *others])


def check_essential(columns: list[str], name: str) -> None:
    """Raise RecordingError if a frame with these columns is no recording; `name` is the frame's."""
    missing = [column for column in ESSENTIAL if column not in columns]
    if missing:
        lacks = "the columns" if len(missing) > 1 else "the column"
        raise RecordingError(
            f"{name} is no recording: it lacks {lacks} {', '.join(missing)}; it has {_listed(columns)}"
        )


def fitted(column: pl.Series, kind: pl.DataType, name: str) -> pl.Series:
    """The column as this type, or a RecordingError that says why not."""
    if column.dtype == kind:
        return column
    try:
        made = _parsed(column, kind) if column.dtype == pl.String else _cast(column, kind)
    except (pl.exceptions.PolarsError, ValueError) as error:
        of = printable(column.name, 60), printable(str(column.dtype), 200)
        mismatch = f"column '{of[0]}' of {name} is {of[1]} and cannot be made {kind}"
        raise RecordingError(f"{mismatch}: {first_line(error)}") from error
    return made.alias(column.name)


def _parsed(column: pl.Series, kind: pl.DataType) -> pl.Series:
    """Text as this type; a text of blanks, which is no value of any other type, is null."""
    text = column.set(column.str.strip_chars() == "", None)
    if kind == pl.Boolean():
        return text.str.to_lowercase().replace_strict({"true": True, "false": False}, return_dtype=pl.Boolean)
    if isinstance(kind, pl.Datetime):
        return text.str.to_datetime(time_unit=kind.time_unit, time_zone=kind.time_zone)
    if isinstance(kind, pl.List):
        lists = text.str.json_decode(kind)
        if len(lists) != len(text):  # Polars makes a row of each value in a cell
            raise ValueError("a cell is not one JSON list")
        return lists
    return text.cast(kind)


def _cast(column: pl.Series, kind: pl.DataType) -> pl.Series:
    """A value that is no text as this type, provided that it stays the same value."""
    if kind.is_temporal() and column.dtype.is_numeric():
        raise ValueError("a number does not say which time it means; give it as a datetime")
    fitted = column.cast(kind)
    if kind.is_integer() and column.dtype.is_float() and not (fitted == column).all():
        raise ValueError("not all of its values are whole numbers")
    return fitted


def _as_text(frame: pl.DataFrame, *, neutralise: bool) -> pl.DataFrame:
    """The frame as a CSV shows it: nested values as JSON, times as ISO 8601, formulas neutralised."""
    texts = [name for name, kind in frame.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    times = [name for name, kind in SCHEMA.columns.items() if kind.is_temporal()]
    apostrophes = "'*" if neutralise else "'+"
    told = frame.with_columns(
        pl.col(texts).cast(pl.String).str.replace(f"^({apostrophes}{_FORMULA})", "'${1}"),
        pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
        *[_json(name) for name in nested],
    )
    return _with_names(told, f"^({apostrophes}{_FORMULA})", "'${1}")


def _with_names(frame: pl.DataFrame, pattern: str, replaced: str) -> pl.DataFrame:
    """The frame with the names of its columns changed as texts in them are."""
    names = pl.Series(frame.columns, dtype=pl.String).str.replace(pattern, replaced).to_list()
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _json(column: str) -> pl.Expr:
    # Polars writes structs as JSON, and only structs: the column goes into one and out again.
    whole = pl.struct(pl.col(column).alias("v")).struct.json_encode()
    text = whole.str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(pl.col(column).is_not_null()).then(text).alias(column)


# Files are opened here, not by Polars, which would take a * or [ in a path for a pattern.


def _read_csv(path: Path) -> pl.DataFrame:
    with path.open("rb") as file:
        text = pl.read_csv(file, infer_schema=False)
    pattern = f"^'('*{_FORMULA})"
    return _with_names(text.with_columns(pl.all().str.replace(pattern, "${1}")), pattern, "${1}")


def _read_parquet(path: Path) -> pl.DataFrame:
    with path.open("rb") as file:
        _check_version(pl.read_parquet_metadata(file), path)
        file.seek(0)
        return pl.read_parquet(file)


def _check_version(metadata: Mapping[str, str], path: Path) -> None:
    version = metadata.get(_VERSION_KEY, "0")
    if not version.isdecimal():
        raise RecordingError(f"'{path}' says that its schema version is {version!r}, which is no number")
    if int(version) > SCHEMA.version:
        raise RecordingError(
            f"'{path}' has schema version {version}, this mirrorkit knows those up to {SCHEMA.version}: "
            "upgrade mirrorkit to read it"
        )


_READERS: Mapping[str, Callable[[Path], pl.DataFrame]] = {".csv": _read_csv, ".parquet": _read_parquet}


def _existing(path: FilePath) -> Path:
    """The path of a file that may be a recording, or a RecordingError that says why it is none."""
    path = _path(path)
    if path.suffix.lower() not in _READERS:
        if not path.exists():
            raise RecordingError(
                f"there is nothing at '{path}': name a journal's folder, a .parquet or a .csv file"
            )
        raise RecordingError(f"a recording is a .csv or .parquet file, not '{path}'")
    if not path.exists():
        raise RecordingError(f"there is no file '{path}'")
    if path.is_dir():
        raise RecordingError(f"'{path}' is a folder: name the .csv or .parquet file in it")
    if path.stat().st_size == 0:
        raise RecordingError(f"'{path}' is empty: not even a header is in it")
    return path


@contextmanager
def readable(name: str, kind: str = "") -> Iterator[None]:
    """Say of what it is that it cannot be read, as this kind: a stranger's bytes raise errors of any type.

    Raises RecordingError in their place, and our own as they are.
    """
    try:
        yield
    except (MirrorError, MirrorWarning, MemoryError):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        how = f" as {kind}" if kind else ""
        raise RecordingError(f"{name} cannot be read{how}: {first_line(error)}") from error


@contextmanager
def replacing(path: FilePath, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of the one at the path when all went well."""
    # Through a link to the file it points at, as a plain write would.
    path = _path(path).resolve()
    if not path.parent.is_dir():
        raise RecordingError(f"there is no folder '{path.parent}' to write '{path.name}' to: create it first")
    if path.is_dir():
        raise RecordingError(f"'{path}' is a folder: name a file in it")
    temporary = path.with_name(f".mirrorkit-{uuid4().hex}.tmp")
    try:
        with open(temporary, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except pl.exceptions.PolarsError as error:
        raise RecordingError(f"'{path}' could not be written: {first_line(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _path(path: FilePath) -> Path:
    return Path(path).expanduser()


def _listed(names: list[str], most: int = 10) -> str:
    shown = ", ".join(printable(name, 60) for name in names[:most]) or "no columns"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def first_line(error: Exception) -> str:
    """What an error says, without the many lines that Polars adds."""
    return printable(str(error).strip().partition("\n")[0], 400)


def printable(text: str, most: int) -> str:
    r"""A text of a stranger's on one line: what steers a terminal is escaped, what is long is cut.

    >>> printable("\x1b[31mred", 60), printable("a" * 9, 4)
    ('\\x1b[31mred', 'aaa…')
    """
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in cut)
