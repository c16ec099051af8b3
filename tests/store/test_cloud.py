"""Journals in an object store, which is a local one that speaks S3's protocol."""

import logging
import os
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.recording import delete, load, scan
from mirrorkit.records import Call, Pair
from mirrorkit.store import cloud, files, folder, lines, locks, notes, reading
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal
from mirrorkit.store.labels import Annotation
from mirrorkit.store.rows import rows
from mirrorkit.store.uploads import Uploads

Make = Callable[..., Pair]


KEYS = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}


def client(url: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **KEYS)


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    """Polars' storage options for a store with a bucket called "bucket"."""
    from moto import server as moto

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    url = f"http://{host}:{port}"
    client(url).create_bucket(Bucket="bucket")
    yield {"aws_endpoint_url": url, "aws_allow_http": "true", "aws_region": "us-east-1", **KEYS}
    running.stop()


@pytest.fixture
def place(
    server: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What Journal takes for a prefix of this test's own, with its spool in a folder of the test's."""
    monkeypatch.setenv("MIRRORKIT_SPOOL", str(tmp_path / "spool"))
    name = re.sub("[^a-z0-9_]", "-", request.node.name.lower())
    return {"place": f"s3://bucket/{name}", "storage_options": server}


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
    prefix.tell(cloud.State(writer, "open", now, mark, 1))
    recording = load(place["place"], storage_options=place["storage_options"])
    assert recording.complete_before == mark
    prefix.tell(cloud.State(writer, "open", now - timedelta(hours=1), mark, 1))
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        recording = load(place["place"], storage_options=place["storage_options"])
    assert recording.complete_before is None


def states(place: dict[str, Any]) -> list[str]:
    return [state.state for state in told(place)]


def told(place: dict[str, Any]) -> list[cloud.State]:
    return cloud.Prefix(place["place"], place["storage_options"]).told()[1]


def preferences(place: dict[str, Any]) -> list[str | None]:
    loaded = load(place["place"], storage_options=place["storage_options"])
    return loaded.frame.sort("pair_id")["preference"].to_list()


@pytest.fixture
def ours(place: dict[str, Any]) -> Iterator[Uploads]:
    """The uploads of a writer that lives, whose clock goes on by a second each time it is read."""
    spool = cloud.spool(place["place"])
    spool.mkdir(parents=True)
    writer, seconds = folder.new_writer(), count()
    held = locks.hold_new(spool / f"{writer}.lock")
    now = folder.now()
    prefix = cloud.Prefix(place["place"], place["storage_options"])
    yield Uploads(prefix, spool, writer, lambda: now + timedelta(seconds=next(seconds)))
    os.close(held)


def put_part(uploads: Uploads, number: int, pairs: list[Pair], before: datetime | None = None) -> Path:
    """A part as the writer makes it when a segment is full."""
    part = folder.segment(uploads.spool, uploads.writer, number).with_suffix(".parquet")
    kept = {} if before is None else {lines.BEFORE: before.isoformat()}
    files.write_parquet(rows(pairs), part, kept=kept)
    return part


def end(uploads: Uploads) -> None:
    (uploads.spool / f"{uploads.writer}.lock").unlink()


@pytest.mark.parametrize("sessions", [1, 2])
def test_a_killed_session_keeps_its_labels_and_looks(
    place: dict[str, Any], make: Make, sessions: int
) -> None:
    spool = cloud.spool(place["place"])
    spool.mkdir(parents=True)
    writer = folder.new_writer()
    folder.segment(spool, writer, 1).write_bytes(lines.line(make(1)))
    label = notes.said(Annotation("p1", {"preference": "tie"}), folder.now())
    (spool / f"{writer}.notes").write_bytes(label + notes.looked("[1]", folder.now()))
    (spool / f"{writer}.lock").touch()
    opened = [Journal(**place) for _ in range(sessions)]
    for journal in opened:
        journal.close()
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        assert preferences(place) == ["tie"]
    with Journal(**place) as next_one:
        assert next_one.earlier().said.looks == "[1]"
    assert list(spool.glob("2*")) == []


@pytest.mark.parametrize("another_between", [False, True])
def test_a_label_after_close_is_added_to_the_earlier_ones(
    place: dict[str, Any], make: Make, another_between: bool
) -> None:
    store = FrameStore(journal=Journal(**place))
    store.append(make(1))
    store.append(make(2))
    store.label("p1", "tie", None)
    store.journal.close()
    if another_between:
        Journal(**place).close()
    store.label("p2", "silent", None)
    store.journal.close()
    assert preferences(place) == ["tie", "silent"]
    Journal(**place).close()
    assert preferences(place) == ["tie", "silent"]
    assert left(store.journal) == []


def test_a_pair_after_close_is_uploaded_too(place: dict[str, Any], make: Make) -> None:
    journal = Journal(**place)
    journal.append(make(1))
    journal.close()
    journal.append(make(2))
    journal.close()
    assert ids(place) == ["p1", "p2"]


def test_a_note_may_hold_any_character_and_end_within_one(place: dict[str, Any], make: Make) -> None:
    journal = Journal(**place)
    store = FrameStore(journal=journal)
    store.append(make(1))
    note = "a\u2028b\u2029c\u0085d\x0be"
    store.label("p1", "tie", note)
    with (journal.folder / f"{journal.writer}.notes").open("ab") as torn:
        torn.write('{"at": "é'.encode()[:-1])
    journal.close()
    loaded = load(place["place"], storage_options=place["storage_options"])
    assert loaded.frame["note"].to_list() == [note]


def test_what_is_told_is_that_of_the_parts_that_are_there(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    first, second = make(2).started_at, make(6).started_at
    put_part(ours, 1, [make(1), make(3)], first)
    ours.own("open")
    assert [(state.complete_before, state.parts) for state in told(place)] == [(first, 1)]
    part = put_part(ours, 2, [make(2), make(5)], second)
    cloud.Prefix(place["place"], place["storage_options"]).upload(part)
    assert ids(place) == ["p1", "p3"]
    ours.own("open")
    assert [(state.complete_before, state.parts) for state in told(place)] == [(second, 2)]
    assert sorted(ids(place)) == ["p1", "p2", "p3", "p5"]


def test_a_writer_that_begins_while_the_store_is_read_is_read_as_settled_as_it_says(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    def begin() -> None:
        put_part(ours, 1, [make(1), make(3)], make(2).started_at)
        ours.own("open")

    begins = [begin]

    class Busy(cloud.Prefix):
        def parts(self) -> list[str]:
            if begins:
                begins.pop()()
            return super().parts()

    read = reading.in_cloud(Busy(place["place"], place["storage_options"]), settled=True)
    assert read.pairs.collect()["pair_id"].to_list() == ["p1"]


def test_a_part_keeps_until_when_it_was_complete(place: dict[str, Any], ours: Uploads, make: Make) -> None:
    part = put_part(ours, 1, [make(1)], make(2).started_at)
    before = files.read_kept(part)
    ours.own("open")
    key = f"{place['place'].removeprefix('s3://bucket/')}/{part.name}"
    client(place["storage_options"]["aws_endpoint_url"]).download_file("bucket", key, os.fspath(part))
    assert files.read_kept(part) == before == {lines.BEFORE: make(2).started_at.isoformat()}


def test_an_idle_writer_shows_signs_of_life_and_says_when_it_closes(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    ours.own("open")
    assert told(place) == []
    put_part(ours, 1, [make(1)])
    ours.own("open")
    earlier = told(place)[0]
    ours.own("open")
    assert told(place)[0].at > earlier.at
    ours.own("closed")
    assert states(place) == ["closed"]


@pytest.mark.skipif(sys.platform == "win32", reason="what is locked cannot be read")
def test_an_idle_writer_tells_that_its_last_pairs_are_settled(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    put_part(ours, 1, [make(1)], make(1).started_at)
    lock = ours.spool / f"{ours.writer}.lock"
    lock.write_bytes(notes.settled(make(9).started_at, 2))
    ours.own("open")
    assert told(place)[0].complete_before == make(1).started_at  # a second part is not there yet
    lock.write_bytes(notes.settled(make(9).started_at, 1))
    ours.own("open")
    assert told(place)[0].complete_before == make(9).started_at


def test_that_a_writer_closed_is_told_later_if_it_could_not_be(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    put_part(ours, 1, [make(1)])
    ours.own("open")
    end(ours)
    ours.clear()
    assert states(place) == ["open"]
    Journal(**place).close()
    assert states(place) == ["closed"]
    assert list(ours.spool.glob("2*")) == []


def test_a_damaged_part_does_not_keep_those_of_others_here(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    earlier_one = folder.new_writer().replace("20", "19", 1)
    (ours.spool / f"{earlier_one}-000001.parquet").write_bytes(b"no Parquet")
    put_part(ours, 1, [make(1)])
    end(ours)
    with pytest.warns(MirrorWarning, match="could not be uploaded yet"):
        Journal(**place).close()
    assert ids(place) == ["p1"]


def test_what_a_forked_worker_spooled_is_uploaded_by_its_parent(place: dict[str, Any], make: Make) -> None:
    parent = Journal(**place)
    worker = Journal(**place, compacts=False, roll_rows=2)
    for number in range(3):
        worker.append(make(number))
    worker.said(Annotation("p1", {"preference": "tie"}))
    worker.close()
    assert {Path(name).suffix for name in left(worker)} == {".jsonl", ".notes", ".lock"}
    parent.close()
    assert preferences(place) == [None, "tie", None]
    assert states(place) == ["closed"]
    assert left(parent) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_what_a_killed_fork_spooled_is_uploaded_by_its_parent(place: dict[str, Any], make: Make) -> None:
    parent = Journal(**place)
    parent.append(make(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking while there are threads
        child = os.fork()
    if child == 0:
        try:
            parent.forked().append(make(2))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    parent.close()
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        assert ids(place) == ["p1", "p2"]


def test_a_living_neighbours_parts_are_settled_as_it_says_on_this_machine(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    put_part(ours, 1, [make(1), make(3)], make(2).started_at)
    ours.own("open")
    segment = folder.segment(ours.spool, ours.writer, 2)
    segment.write_bytes(lines.line(make(2), make(4).started_at) + lines.line(make(5), make(4).started_at))
    with Journal(**place) as journal:
        earlier = journal.earlier()
        assert sorted(earlier.pairs.collect()["pair_id"]) == ["p1", "p2", "p3"]
        assert earlier.before == make(4).started_at


def test_notes_are_read_while_they_are_replaced(place: dict[str, Any]) -> None:
    prefix = cloud.Prefix(place["place"], place["storage_options"])
    writer, now = folder.new_writer(), folder.now()

    def tell(many: int) -> None:
        prefix.tell(cloud.State(writer, "open", now, None, 1), [b"%d" % number for number in range(many)])

    tell(1)
    with ThreadPoolExecutor(1) as pool:
        # fewer than a reader tries, so that it can never be too often for it
        telling = [pool.submit(tell, many * 7919 % 31 * 50) for many in range(30)]
        while not telling[-1].done():
            assert len(prefix.told()[1]) == 1
    for each in telling:
        each.result()


def test_each_prefix_has_a_spool_of_its_own_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIRRORKIT_SPOOL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert cloud.spool("s3://a/b").parent == tmp_path / "mirrorkit" / "spool"
    assert cloud.spool("s3://a/b") != cloud.spool("s3://a-b")
    monkeypatch.setenv("MIRRORKIT_SPOOL", os.fspath(tmp_path / "here"))
    assert cloud.spool("s3://a/b").parent == tmp_path / "here"


def test_the_calls_that_a_killed_session_had_under_way_are_uploaded_by_the_next(
    place: dict[str, Any], make: Make
) -> None:
    killed = Journal(**place)
    for number in range(4):
        killed.begun(replace(make(number), silent=Call("unknown")))
    killed.append(make(1))
    killed._worker.close()
    killed._let_go()
    opened = Journal(**place)
    expected = {"p0": "unknown", "p1": "ok", "p2": "unknown", "p3": "unknown"}
    statuses = opened.everything().pairs.select("pair_id", "silent_status").collect()
    assert dict(statuses.iter_rows()) == expected
    opened.close()
    assert left(opened) == []
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        frame = load(place["place"], storage_options=place["storage_options"]).frame
    assert dict(frame.select("pair_id", "silent_status").iter_rows()) == expected
    # one that came after all, from a process that was thought dead
    late = folder.segment(opened.folder, killed.writer, 7)
    late.write_bytes(lines.line(make(2)))
    Journal(**place).close()
    frame = load(place["place"], storage_options=place["storage_options"]).frame
    assert dict(frame.select("pair_id", "silent_status").iter_rows()) == expected | {"p2": "ok"}


def test_sessions_of_one_process_see_each_others_pairs(place: dict[str, Any], make: Make) -> None:
    mark = make(1).started_at
    first = FrameStore(journal=Journal(**place, roll_rows=2), complete_before=lambda: mark)
    for number in range(5):
        first.append(make(number))
    second = FrameStore(journal=Journal(**place))
    first.append(make(5))
    second.append(make(6))
    assert sorted(second.frame()["pair_id"]) == [f"p{number}" for number in range(7)]
    assert second.others_before == mark
    first.journal.close()
    second.journal.close()
    assert sorted(ids(place)) == [f"p{number}" for number in range(7)]


def test_pairs_are_deleted_from_the_store_with_what_was_said_of_them(
    place: dict[str, Any], make: Make
) -> None:
    store = FrameStore(journal=Journal(**place, roll_rows=2))
    for number in range(6):
        store.append(make(number, cluster=f"c{number % 2}"))
    for number in (0, 1):
        store.label(f"p{number}", "tie", f"of p{number}")
    store.journal.close()
    options = place["storage_options"]
    before = load(place["place"], storage_options=options).frame
    assert delete(place["place"], clusters=["c0"], storage_options=options) == 3
    assert_frame_equal(
        load(place["place"], storage_options=options).frame, before.filter(pl.col("cluster") == "c1")
    )
    lines_there = b"".join(cloud.Prefix(place["place"], options).told()[0])
    assert b"of p1" in lines_there
    assert b"of p0" not in lines_there
    assert states(place) == ["closed"]
    assert delete(place["place"], clusters=["c0"], storage_options=options) == 0
    with pytest.raises(RecordingError, match="there is no journal at"):
        delete(place["place"] + "/none", clusters=["c0"], storage_options=options)


def test_pairs_that_a_living_session_has_said_something_of_are_not_deleted(
    place: dict[str, Any], ours: Uploads, make: Make
) -> None:
    put_part(ours, 1, [make(1), make(2)])
    said = notes.said(Annotation("p1", {"preference": "tie"}), folder.now())
    (ours.spool / f"{ours.writer}.notes").write_bytes(said)
    ours.own("open")
    options = place["storage_options"]
    with pytest.raises(RecordingError, match=f"still written to, of {ours.writer}"):
        delete(place["place"], request_ids=["r1"], storage_options=options)
    assert sorted(ids(place)) == ["p1", "p2"]
    assert delete(place["place"], request_ids=["r2"], storage_options=options) == 1
    assert ids(place) == ["p1"]


def test_a_first_look_while_the_store_is_down_forgets_nothing(place: dict[str, Any], make: Make) -> None:
    from moto import server as moto

    with Journal(**place) as earlier:
        earlier.append(make(1))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    down = {"aws_endpoint_url": f"http://127.0.0.1:{port}", "max_retries": 0}
    store = FrameStore(journal=Journal(place["place"], storage_options=place["storage_options"] | down))
    store.append(make(2))
    with pytest.warns(MirrorWarning, match="what earlier sessions left .* tries again"):
        assert store.frame()["pair_id"].to_list() == ["p2"]
    up = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    up.start()
    try:
        assert store.frame()["pair_id"].to_list() == ["p1", "p2"]
        store.journal.close()
    finally:
        up.stop()
    assert ids(place) == ["p1", "p2"]
