"""Pairs are taken out of a record for good, and nothing else is lost."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.errors import ConfigError, RecordingError
from mirrorkit.recording import delete, load
from mirrorkit.records import Call, Pair
from mirrorkit.store.files import read_kept
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]


def filled(place: Path, make: Make, *, pairs: int = 10, first: int = 0, roll: int = 3) -> FrameStore:
    """A store that runs, with pairs of three conversations."""
    store = FrameStore(journal=Journal(place, roll_rows=roll))
    for number in range(first, first + pairs):
        store.append(make(number, cluster=f"c{number % 3}"))
    store.label(f"p{first}", "tie", f"of p{first}")
    store.label(f"p{first + 1}", "silent", f"of p{first + 1}")
    return store


def ids(place: Path) -> list[str]:
    return load(place).frame["pair_id"].to_list()


def everywhere(place: Path) -> bytes:
    return b"".join(file.read_bytes() for file in place.iterdir())


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        ({"clusters": ["c0"]}, {0, 3, 6, 9}),
        ({"clusters": {"c1", "c2", "c9"}}, {1, 2, 4, 5, 7, 8}),
        ({"request_ids": ["r1", "r7", "r99"]}, {1, 7}),
        ({"before": datetime(2026, 11, 22, 9, 0, 4, tzinfo=UTC)}, {0, 1, 2, 3}),
        ({"before": datetime(2026, 11, 22, 9, 0, 4)}, {0, 1, 2, 3}),
        ({"before": timedelta(days=36_500)}, set()),
        ({"before": timedelta(days=-36_500)}, set(range(10))),
        ({"request_ids": []}, set()),
    ],
)
def test_pairs_are_gone_by_age_request_or_conversation_and_no_others(
    tmp_path: Path, make: Make, which: Any, gone: set[int]
) -> None:
    place = tmp_path / "journal"
    filled(place, make).journal.close()
    before = load(place).frame
    assert delete(place, **which) == len(gone)
    rest = before.filter(~before["pair_id"].is_in([f"p{number}" for number in gone]))
    if rest.height:
        assert_frame_equal(load(place).frame, rest)
    for number in (0, 1):
        assert (f"of p{number}".encode() in everywhere(place)) == (number not in gone)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_keeps_its_other_pairs_and_what_goes_with_them(
    tmp_path: Path, make: Make, suffix: str
) -> None:
    filled(tmp_path / "journal", make).journal.close()
    recording, file = load(tmp_path / "journal"), tmp_path / f"pairs.{suffix}"
    recording._before = make(8).started_at
    recording.compare(gates={"cost": 1.0}, progress=False)
    (recording.to_csv if suffix == "csv" else recording.to_parquet)(file)
    kept = read_kept(file)
    assert delete(file, clusters=["c0"]) == 4
    assert ids(file) == ["p1", "p2", "p4", "p5", "p7", "p8"]
    assert read_kept(file) == kept
    assert load(file).complete_before == make(8).started_at
    assert delete(f"{tmp_path}/*.{suffix}", clusters=["c1"]) == 3


def test_what_a_dead_session_left_is_deleted_from_too(tmp_path: Path, make: Make) -> None:
    store = filled(tmp_path / "lives", make)
    for number in (20, 21):
        store.begun(replace(make(number, cluster="c0"), silent=Call("unknown")))
    shutil.copytree(tmp_path / "lives", tmp_path / "died")
    store.journal.close()
    with pytest.warns(UserWarning, match="1 writer of"):
        assert len(ids(tmp_path / "died")) == 12
    assert delete(tmp_path / "died", clusters=["c0"]) == 6
    with pytest.warns(UserWarning, match="1 writer of"):
        assert ids(tmp_path / "died") == ["p1", "p2", "p4", "p5", "p7", "p8"]
    assert b"of p0" not in everywhere(tmp_path / "died")


def test_what_a_session_writes_to_is_left_alone_and_it_is_named(
    tmp_path: Path, make: Make, eventually: Callable[..., bool]
) -> None:
    filled(tmp_path, make, first=30).journal.close()
    store = filled(tmp_path, make)
    assert eventually(lambda: len(list(tmp_path.glob("*.jsonl"))) == 1)  # p9 is in it
    before = everywhere(tmp_path)
    for which in ({"clusters": ["c0"]}, {"request_ids": ["r9"]}, {"request_ids": ["r0"]}):
        with pytest.raises(RecordingError, match=f"still written to, of {store.journal.writer}.*close"):
            delete(tmp_path, **which)
    assert everywhere(tmp_path) == before
    assert delete(tmp_path, request_ids=["r4", "r34"]) == 2
    assert delete(tmp_path, request_ids=["r3", "r5"]) == 2  # of its first part nothing is left
    store.append(make(10))
    store.journal.close()
    assert delete(tmp_path, request_ids=["r9"]) == 1
    expected = {0, 1, 2, 6, 7, 8, 10, *range(30, 40)} - {34}
    assert sorted(ids(tmp_path)) == sorted(f"p{number}" for number in expected)


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["append", "label", "close", "delete"]), max_size=25))
def test_whatever_is_done_in_between_what_stays_is_all_that_was_not_deleted(
    tmp_path_factory: Any, make: Make, steps: list[str]
) -> None:
    place, many = tmp_path_factory.mktemp("journal"), 0
    store = FrameStore(journal=Journal(place, roll_rows=2))
    expected: dict[str, str | None] = {}
    for step in steps:
        if step == "append":
            store.append(make(many, cluster=f"c{many % 2}"))
            expected[f"p{many}"] = None
            many += 1
        elif step == "label" and expected:
            pair_id = next(reversed(expected))
            store.label(pair_id, None, f"note of {pair_id}")
            expected[pair_id] = f"note of {pair_id}"
        else:
            store.journal.close()
            if step == "delete" and any(place.iterdir()):
                delete(place, clusters=["c1"])
                expected = {pair_id: note for pair_id, note in expected.items() if int(pair_id[1:]) % 2 == 0}
            store = FrameStore(journal=Journal(place, roll_rows=2))
        assert dict(store.frame().select("pair_id", "note").iter_rows()) == expected
    store.journal.close()
    shutil.rmtree(place)


def test_what_makes_no_sense_is_refused(tmp_path: Path, make: Make) -> None:
    for given_ in ({}, {"before": timedelta(days=1), "clusters": ["c"]}, {"clusters": "c"}, {"before": 7}):
        with pytest.raises(ConfigError):
            delete(tmp_path, **given_)  # type: ignore[arg-type]
    with pytest.raises(RecordingError, match="there is no journal in the folder"):
        delete(tmp_path, clusters=["c"])
    with pytest.raises(RecordingError, match="no file"):
        delete(tmp_path / "none.parquet", clusters=["c"])
    with pytest.raises(RecordingError, match="no recording and no journal matches"):
        delete(tmp_path / "*", clusters=["c"])
    with pytest.raises(RecordingError, match="is a glob: pairs are deleted from one URL at a time"):
        delete("s3://bucket/july/**", clusters=["c"])
