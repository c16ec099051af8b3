"""What is said of pairs once they are recorded: a person's labels and a judge's verdicts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, get_args

import polars as pl

from mirrorkit.errors import LabelError
from mirrorkit.records import SCHEMA, Judgement, Preference


class _Word(Enum):
    KEEP = "keep"
    NO_NOTE = "no note"


KEEP: Any = _Word.KEEP
"""In place of a preference: the pair's stays as it is, whatever it is by now."""

NO_NOTE: Any = _Word.NO_NOTE
"""In place of a note: the pair is to be as if it had never had one, where None leaves the note as it is."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """New values for some columns of one pair's row."""

    pair_id: str
    values: Mapping[str, Any]


def label(pair_id: str, preference: str | None, note: str | None, at: datetime) -> Annotation:
    """A person's preference, or None to take it back; a `note` of None leaves the pair's note as it is.

    `KEEP` and `NO_NOTE` are for who sets one of the two alone. Raises LabelError for another word.

    >>> from datetime import UTC
    >>> sorted(label("p1", "tie", None, datetime(2026, 11, 22, tzinfo=UTC)).values)
    ['labelled_at', 'preference']
    >>> sorted(label("p1", KEEP, "too long", datetime(2026, 11, 22, tzinfo=UTC)).values)
    ['labelled_at', 'note']
    """
    words = get_args(Preference)
    if preference is not None and preference is not KEEP and preference not in words:
        raise LabelError(
            f"preference={preference!r}: give one of {', '.join(map(repr, words))}, or None to take it back."
        )
    if note is not None and note is not NO_NOTE and not isinstance(note, str):
        raise LabelError(f"note={note!r}: give a text, or None to leave the note as it is.")
    # one that is taken back has its time too, or an older copy of the pair would bring it back
    values: dict[str, Any] = {"labelled_at": at}
    if preference is not KEEP:
        values["preference"] = preference
    if note is not None:
        values["note"] = None if note is NO_NOTE else storable(note)
    return Annotation(pair_id, values)


def verdict(pair_id: str, judgement: Judgement) -> Annotation:
    """A judge's verdict, which takes the place of an earlier one."""
    values = {
        "judge_preference": judgement.preference,
        "judge_reason": judgement.reason,
        "judge_flipped": judgement.flipped,
        # names, too, are what a provider sent
        "judge_model": judgement.model,
        "judge_cost_usd": judgement.cost_usd,
        "judged_at": judgement.judged_at,
    }
    safe = {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}
    return Annotation(pair_id, safe)


def storable(text: str) -> str:
    """The text with what no file can hold, a lone surrogate, escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def annotated(frame: pl.DataFrame, annotations: Iterable[Annotation]) -> pl.DataFrame:
    """The frame with the annotations in the rows of their pairs, the last one said winning.

    The frame given is not changed, and is given back where it holds none of these pairs.

    >>> frame = pl.DataFrame({"pair_id": ["p1", "p2"], "note": ["", "old"]})
    >>> annotated(frame, [Annotation("p2", {"note": "new"})])["note"].to_list()
    ['', 'new']
    """
    last: dict[str, dict[str, Any]] = {}
    for annotation in annotations:
        for column, value in annotation.values.items():
            last.setdefault(column, {})[annotation.pair_id] = value
    for column, values in last.items():
        frame = _with_values(frame, column, values)
    return frame


def _with_values(frame: pl.DataFrame, column: str, values: Mapping[str, Any]) -> pl.DataFrame:
    said = pl.DataFrame(
        {"pair_id": list(values), "value": list(values.values())},
        schema={"pair_id": pl.String, "value": SCHEMA.columns[column]},
    )
    ids = frame.get_column("pair_id")
    rows = ids.is_in(said.get_column("pair_id").implode()).arg_true()
    if rows.is_empty():
        return frame
    new = ids.gather(rows).to_frame().join(said, on="pair_id", how="left", maintain_order="left")
    return frame.with_columns(frame.get_column(column).clone().scatter(rows, new.get_column("value")))
