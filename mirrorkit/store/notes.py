"""What was said of recorded pairs, and what was looked at: lines beside the pairs, which never change."""

import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from mirrorkit.errors import MirrorWarning
from mirrorkit.records import SCHEMA
from mirrorkit.store.labels import Annotation
from mirrorkit.store.lines import VERSION

_SAYABLE = frozenset(
    name
    for name in SCHEMA.columns
    if name in ("preference", "note", "labelled_at") or name.startswith("judge")
)
_PYTHON: Mapping[pl.DataType, type] = {
    pl.String(): str,
    pl.Int64(): int,
    pl.Float64(): float,
    pl.Boolean(): bool,
}
_SEAM = re.compile(rb"(?<=\}).(?=\{\"%b\":)" % VERSION.encode(), re.DOTALL)
_HOW = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True)
class Said:
    """All that was said of a journal's pairs, in order of time, and the looks that were taken last."""

    annotations: tuple[Annotation, ...] = ()
    looks: str = "[]"


def said(annotation: Annotation, at: datetime) -> bytes:
    """The line of an annotation."""
    told = {"pair_id": annotation.pair_id, "values": dict(annotation.values)}
    return orjson.dumps({VERSION: SCHEMA.version, "at": at, **told}, option=_HOW, default=str)


def looked(looks: str, at: datetime) -> bytes:
    """The line of the looks that were taken so far."""
    return orjson.dumps({VERSION: SCHEMA.version, "at": at, "looks": looks}, option=_HOW)


def settled(before: datetime, number: int) -> bytes:
    """What a writer says while it lives: its pairs are complete until then, in its files up to this number.

    >>> when = datetime(2026, 11, 22, tzinfo=UTC)
    >>> settled_in(settled(when, 3), 3) == when, settled_in(settled(when, 3), 2)
    (True, None)
    """
    told = {"complete_before": before.isoformat(timespec="microseconds"), "number": f"{number:06d}"}
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def settled_in(text: bytes, number: int) -> datetime | None:
    """Until when a writer's pairs are complete in its files up to this number; None if it does not say."""
    try:
        told = orjson.loads(text)
        return time(told["complete_before"]) if int(told["number"]) <= number else None
    except (ValueError, TypeError, KeyError):
        return None


def read(files: Iterable[Path]) -> Said:
    """What the notes in some files say together; see `lines_in`."""
    return together(lines_in(files))


def lines_in(files: Iterable[Path]) -> list[bytes]:
    """The lines of some files of notes; one that cannot be read is left out, and a MirrorWarning names it."""
    return [line for file in files for line in readable(_lines(file), str(file))]


def readable(lines: Iterable[bytes], name: str) -> list[bytes]:
    """Those of some lines that can be read; a MirrorWarning says which of `name` are left out."""
    told = [line for line in lines if line.strip()]
    good = [line for line in told if _told(line) is not None]
    if len(good) < len(told):
        odd = [number for number, line in enumerate(told, 1) if _told(line) is None]
        many = "a line" if len(odd) == 1 else f"{len(odd):,} lines"
        warnings.warn(
            f"'{name}' has {many} that cannot be read, left out here, the first of them line {odd[0]:,}: "
            "its writer was killed while it wrote, or the file was damaged. Its other notes count.",
            MirrorWarning,
            stacklevel=3,
        )
    return good


def together(lines: Iterable[bytes]) -> Said:
    """What some lines say together, the last one said winning.

    >>> when = datetime(2026, 11, 22)
    >>> together([said(Annotation("p", {"note": "b"}), when), looked("[]", when)]).annotations
    (Annotation(pair_id='p', values={'note': 'b'}),)
    """
    told = sorted((found for line in lines if (found := _told(line))), key=lambda note: note.at)
    looks = [note.looks for note in told if note.looks is not None]
    said = tuple(note.annotation for note in told if note.annotation is not None)
    return Said(said, looks[-1] if looks else "[]")


def without(text: bytes, pair_ids: Collection[str]) -> bytes | None:
    """The lines of notes but for those of some pairs; None where none is of them.

    >>> when = datetime(2026, 11, 22)
    >>> without(said(Annotation("p", {"note": "b"}), when), {"p"}), without(b"{", {"p"})
    (b'', None)
    """
    all_lines = text.splitlines(keepends=True)
    rest = [line for line in all_lines if not _is_of(line, pair_ids)]
    return b"".join(rest) if len(rest) < len(all_lines) else None


def _is_of(line: bytes, pair_ids: Collection[str]) -> bool:
    told = _told(line)
    if told is None:  # nobody knows what it says, unless it names one of them
        return any(pair_id.encode("utf-8", "replace") in line for pair_id in pair_ids)
    return told.annotation is not None and told.annotation.pair_id in pair_ids


def applied(lazy: pl.LazyFrame, annotations: Iterable[Annotation]) -> pl.LazyFrame:
    """The pairs with what was said of them in their rows, as they are read.

    >>> pairs = pl.LazyFrame({"pair_id": ["p1", "p2"], "note": ["", "old"]})
    >>> applied(pairs, [Annotation("p2", {"note": "new"})]).collect()["note"].to_list()
    ['', 'new']
    """
    last: dict[str, dict[str, Any]] = {}
    for annotation in annotations:
        for column, value in annotation.values.items():
            last.setdefault(column, {})[annotation.pair_id] = value
    return lazy.with_columns(
        pl.col("pair_id")
        .replace_strict(
            pl.Series(list(values), dtype=pl.String),
            pl.Series(list(values.values()), dtype=SCHEMA.columns[column]),
            default=pl.col(column),
            return_dtype=SCHEMA.columns[column],
        )
        .alias(column)
        for column, values in last.items()
    )


def _lines(file: Path) -> list[bytes]:
    try:
        found = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    # a line end that was damaged is not to cost the notes on both sides of it
    return [each for line in found for each in ([line] if _told(line) else _SEAM.split(line))]


@dataclass(frozen=True, slots=True)
class _Note:
    """What a line says: of a pair, or which looks were taken."""

    at: datetime
    annotation: Annotation | None
    looks: str | None


def _told(line: bytes) -> _Note | None:
    """What a line says; None if any of it cannot be read, as none of it is to be trusted then."""
    try:
        told = orjson.loads(line)
        looks = told.get("looks")
        if looks is not None and not isinstance(looks, str):
            return None
        return _Note(time(told["at"]) or datetime.min.replace(tzinfo=UTC), _annotation(told), looks)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def time(text: object) -> datetime | None:
    """The time in a text, in UTC where it says no zone; None if there is none."""
    try:
        return _when(text)
    except (ValueError, TypeError, OverflowError):
        return None


def _when(text: Any) -> datetime:
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _annotation(told: Mapping[str, Any]) -> Annotation | None:
    if "values" not in told:
        return None
    pair_id, values = told["pair_id"], told["values"]
    if not isinstance(pair_id, str):
        raise TypeError("the id of a pair is a text")
    known = {name: _value(name, value) for name, value in values.items() if name in _SAYABLE}
    return Annotation(pair_id, known)


def _value(column: str, value: Any) -> Any:
    """The value as its column has it."""
    kind = SCHEMA.columns[column]
    if kind.is_temporal():
        return None if value is None else _when(value)
    if kind.is_float() and type(value) is int:
        value = float(value)
    return value if type(value) is _PYTHON.get(kind) and _fits(value) else None


def _fits(value: Any) -> bool:
    """Whether a column can hold a value of its type."""
    return isfinite(value) if isinstance(value, float) else not isinstance(value, int) or abs(value) < 2**63
