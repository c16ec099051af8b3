"""What was said of recorded pairs, and what was looked at: lines beside the pairs, which never change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from mirrorkit.records import SCHEMA
from mirrorkit.store.labels import Annotation
from mirrorkit.store.lines import VERSION

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
    """What the notes in some files say together; a line that cannot be read is left out."""
    return together(lines_in(files))


def lines_in(files: Iterable[Path]) -> list[bytes]:
    """The lines of some files of notes."""
    return [line for file in files for line in _lines(file)]


def together(lines: Iterable[bytes]) -> Said:
    """What some lines say together, the last one said winning.

    >>> when = datetime(2026, 11, 22)
    >>> together([said(Annotation("p", {"note": "b"}), when), looked("[]", when)]).annotations
    (Annotation(pair_id='p', values={'note': 'b'}),)
    """
    told = sorted((found for line in lines if (found := _told(line))), key=_when)
    looks = [found["looks"] for found in told if isinstance(found.get("looks"), str)]
    annotations = (_annotation(found) for found in told)
    return Said(tuple(each for each in annotations if each is not None), looks[-1] if looks else "[]")


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
        return file.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def _told(line: bytes) -> dict[str, Any] | None:
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) and "at" in told else None


def _when(told: Mapping[str, Any]) -> datetime:
    return time(told["at"]) or datetime.min.replace(tzinfo=UTC)


def time(text: object) -> datetime | None:
    """The time in a text, in UTC where it says no zone; None if there is none."""
    try:
        read = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return read.replace(tzinfo=UTC) if read is not None and read.tzinfo is None else read


def _annotation(told: Mapping[str, Any]) -> Annotation | None:
    pair_id, values = told.get("pair_id"), told.get("values")
    if not isinstance(pair_id, str) or not isinstance(values, dict):
        return None
    known = {name: _value(name, value) for name, value in values.items() if name in SCHEMA.columns}
    return Annotation(pair_id, known)


def _value(column: str, value: Any) -> Any:
    """The value as its column has it."""
    kind = SCHEMA.columns[column]
    if kind.is_temporal():
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    fits = isinstance(value, str | bool | int | float) and pl.Series([value]).dtype == kind
    return float(value) if kind.is_float() and isinstance(value, int) else value if fits else None
