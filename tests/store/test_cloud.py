"""Journals in an object store, which is a local one that speaks S3's protocol."""

import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.recording import load, scan
from mirrorkit.records import Pair
from mirrorkit.store import cloud, folder, lines
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal
from mirrorkit.store.rows import rows

Make = Callable[..., Pair]


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """Polars' storage options for a store with a bucket called "bucket"."""
    import boto3
    from moto import server as moto

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys).create_bucket(Bucket="bucket")
    yield {"aws_endpoint_url": url, "aws_allow_http": "true", "aws_region": "us-east-1", **keys}
    running.stop()


@pytest.fixture
def place(
    server: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What Journal takes for a prefix of this test's own, with its spool in a folder of the test's."""
    monkeypatch.setenv("MIRRORKIT_SPOOL", str(tmp_path / "spool"))
    return {"place": f"s3://bucket/{request.node.name}", "storage_options": server}


def ids(place: dict[str, Any], more: str = "") -> list[str]:
    return load(place["place"] + more, storage_options=place["storage_options"]).frame["pair_id"].to_list()


def left(journal: Journal) -> list[str]:
    return [file.name for file in journal.folder.iterdir() if not file.name.startswith(".")]


def test_pairs_and_labels_are_in_the_store_when_the_journal_is_closed(
    place: dict[str, Any], make: Make
) -> None:
    store = FrameStore(journal=Journal(**place, roll_rows=2))
    for number in range(5):
        store.append(make(number))
    store.label("p1", "silent", "shorter")
    store.looked('[{"pairs": 5}]')
    store.journal.close()
    options = place["storage_options"]
    assert_frame_equal(load(place["place"], storage_options=options).frame, store.frame())
    assert_frame_equal(
        scan(place["place"], storage_options=options).collect(engine="streaming"), store.frame()
    )
    assert left(store.journal) == []
    plain = pl.read_parquet(f"{place['place']}/*.parquet", storage_options=options)
    assert plain.drop("note", "preference", "labelled_at").equals(
        store.frame().drop("note", "preference", "labelled_at")
    )


def test_a_session_goes_on_where_the_last_one_was(place: dict[str, Any], make: Make) -> None:
    with Journal(**place) as first:
        first.append(make(1))
        first.looked('[{"pairs": 1}]')
    second = FrameStore(journal=Journal(**place), most=1)
    second.append(make(2))
    assert second.looks == '[{"pairs": 1}]'
    assert (len(second), second.frame()["pair_id"].to_list()) == (2, ["p2"])
    assert second.lazy().collect()["pair_id"].to_list() == ["p1", "p2"]
    second.label("p1", "tie", None)
    second.journal.close()
    loaded = load(place["place"], storage_options=place["storage_options"])
    assert loaded.frame["preference"].to_list() == ["tie", None]
    assert loaded.complete_before is None


def test_several_prefixes_are_read_by_one_glob(place: dict[str, Any], make: Make) -> None:
    for name in ("a", "b"):
        with Journal(f"{place['place']}/{name}", storage_options=place["storage_options"]) as journal:
            journal.append(make(1, pair_id=name))
    assert ids(place, "/**") == ["a", "b"]
    assert ids(place, "/*/") == ["a", "b"]
    assert ids(place, "/a") == ["a"]
    with pytest.raises(RecordingError, match="there is no journal at"):
        ids(place, "/c")


def test_what_cannot_be_uploaded_stays_and_the_next_session_uploads_it(
    place: dict[str, Any], make: Make
) -> None:
    refused = {**place["storage_options"], "aws_endpoint_url": "http://127.0.0.1:9", "max_retries": "0"}
    broken = Journal(place["place"], storage_options=refused)
    broken.append(make(1))
    with pytest.warns(MirrorWarning, match="could not be uploaded yet, and is tried again") as told:
        broken.close()
    assert len(told) == 1
    assert [Path(name).suffix for name in left(broken)] == [".parquet"]
    with Journal(**place) as journal:
        journal.append(make(2))
        assert journal.everything().pairs.collect()["pair_id"].to_list() == ["p1", "p2"]
    assert ids(place) == ["p1", "p2"]
    assert left(journal) == []


def test_what_a_killed_session_left_is_uploaded_by_the_next(place: dict[str, Any], make: Make) -> None:
    spool = cloud.spool(place["place"])
    spool.mkdir(parents=True)
    writer = folder.new_writer()
    folder.segment(spool, writer, 1).write_bytes(lines.line(make(1)))
    (spool / f"{writer}.lock").touch()
    with Journal(**place):
        pass
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        assert ids(place) == ["p1"]
    assert list(spool.glob("2*")) == []


def test_a_living_writers_mark_counts_and_that_of_one_long_silent_does_not(
    place: dict[str, Any], make: Make, tmp_path: Path
) -> None:
    prefix = cloud.Prefix(place["place"], place["storage_options"])
    part = tmp_path / f"{folder.new_writer()}-000001.parquet"
    rows([make(1), make(3)]).write_parquet(part)
    prefix.upload(part)
    mark, writer = make(2).started_at, folder.writer_of(part)
    now = folder.now()
    prefix.tell(writer, tmp_path / "none", "open", mark, now)
    recording = load(place["place"], storage_options=place["storage_options"])
    assert recording.complete_before == mark
    prefix.tell(writer, tmp_path / "none", "open", mark, now - timedelta(hours=1))
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        recording = load(place["place"], storage_options=place["storage_options"])
    assert recording.complete_before is None


def test_each_prefix_has_a_spool_of_its_own_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIRRORKIT_SPOOL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert cloud.spool("s3://a/b").parent == tmp_path / "mirrorkit" / "spool"
    assert cloud.spool("s3://a/b") != cloud.spool("s3://a-b")
    monkeypatch.setenv("MIRRORKIT_SPOOL", os.fspath(tmp_path / "here"))
    assert cloud.spool("s3://a/b").parent == tmp_path / "here"
