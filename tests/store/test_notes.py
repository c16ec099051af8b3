"""What was said of pairs, in the order in which it was said."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

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
