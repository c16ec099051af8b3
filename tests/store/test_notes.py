"""What was said of pairs, in the order in which it was said."""

import json
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.errors import MirrorWarning
from mirrorkit.records import SCHEMA
from mirrorkit.store import notes
from mirrorkit.store.labels import Annotation

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "later",
    [
        NOW + timedelta(microseconds=500),
        (NOW + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=-5))),
    ],
    ids=["whole second before a fraction", "another zone"],
)
def test_the_last_one_said_wins_however_its_time_is_written(later: datetime) -> None:
    said = [notes.said(Annotation("p", {"note": name}), NOW) for name in ("old",)]
    new = {"at": later.isoformat(), "pair_id": "p", "values": {"note": "new"}}
    for order in ([*said, json.dumps(new).encode()], [json.dumps(new).encode(), *said]):
        told = notes.together(order)
        assert [each.values["note"] for each in told.annotations] == ["old", "new"]


def test_a_line_with_a_time_that_cannot_be_read_comes_first() -> None:
    odd = json.dumps({"at": "soon", "pair_id": "p", "values": {"note": "odd"}}).encode()
    told = notes.together([notes.said(Annotation("p", {"note": "good"}), NOW), odd])
    assert [each.values["note"] for each in told.annotations] == ["odd", "good"]


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"complete_before": 3, "number": "x"}', b"\xff"])
def test_a_lock_that_says_nothing_to_be_understood_says_nothing(text: bytes) -> None:
    assert notes.settled_in(text, 1) is None


def lines_of_labels(many: int) -> list[bytes]:
    label = Annotation("p", {"preference": "tie", "note": "a } note {", "labelled_at": NOW})
    return [notes.said(replace(label, pair_id=f"p{n}"), NOW + timedelta(seconds=n)) for n in range(many)]


@given(st.data())
def test_one_damaged_byte_costs_one_note_at_most(tmp_path_factory: Any, data: Any) -> None:
    whole = lines_of_labels(5)
    text = b"".join(whole)
    place = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
    file = tmp_path_factory.mktemp("journal") / "x.notes"
    file.write_bytes(text[:place] + bytes([byte]) + text[place + 1 :])
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        found = notes.read([file]).annotations
    good = notes.together(whole).annotations
    assert len([each for each in good if each not in found]) <= 1
    # what is read fits its columns
    frame = pl.LazyFrame({"pair_id": [f"p{n}" for n in range(5)]}).with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in SCHEMA.columns.items() if name != "pair_id"
    )
    notes.applied(frame, found).collect()


@pytest.mark.parametrize("damage", [b'"labelled_at":"r', b'"labelled_at":7,"x":"'])
def test_a_date_that_is_damaged_costs_its_note_and_is_named(tmp_path: Path, damage: bytes) -> None:
    first, second, third = lines_of_labels(3)
    file = tmp_path / "x.notes"
    file.write_bytes(first + second.replace(b'"labelled_at":"2', damage) + third)
    with pytest.warns(MirrorWarning, match=f"'{file}' has a line that cannot be read.*line 2"):
        found = notes.read([file]).annotations
    assert [each.pair_id for each in found] == ["p0", "p2"]


def test_a_note_says_nothing_of_what_was_recorded() -> None:
    values = {"silent_cost_usd": 0.0, "pair_id": "q", "note": "mine"}
    (told,) = notes.together([notes.said(Annotation("p", values), NOW)]).annotations
    assert told.values == {"note": "mine"}
