"""Work on a store that never answers: nobody waits for it longer than is said."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.recording import load
from mirrorkit.records import Pair
from mirrorkit.store import cloud, deadline, frame
from mirrorkit.store.deadline import Lane
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]


@pytest.fixture
def mute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What Journal takes for an object store that takes every request, and answers none."""
    monkeypatch.setenv("MIRRORKIT_SPOOL", str(tmp_path / "spool"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()[:2]
        url = f"http://{host}:{port}"
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "aws_region": "us-east-1"}
        options = {"aws_endpoint_url": url, "aws_allow_http": "true", **keys}
        yield {"place": f"s3://bucket/{tmp_path.name}", "storage_options": options}


def test_a_journal_is_closed_in_time_and_says_where_its_pairs_are(mute: dict[str, Any], make: Make) -> None:
    journal = Journal(**mute)
    journal.append(make(1))
    began = time.monotonic()
    with pytest.warns(MirrorWarning, match=f"is not closed after 1 s; what it has is in '{journal.folder}'"):
        journal.close(1)
    assert time.monotonic() - began < 5
    # the next one finds them here
    assert [file.suffix for file in journal.folder.glob("2*-*")] == [".parquet"]


def test_without_a_deadline_a_store_that_does_not_answer_is_given_up(
    mute: dict[str, Any], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "ANSWER_S", 0.2)
    with pytest.warns(MirrorWarning, match="could not be uploaded yet, and is tried again") as told:
        journal = Journal(**mute)
        journal.append(make(1))
        began = time.monotonic()
        journal.close()
    assert time.monotonic() - began < 10
    # that of another test's journal may be told of meanwhile
    assert any(str(journal.folder) in str(each.message) for each in told)
    with pytest.raises(RecordingError, match="cannot be read: there is no answer in time"):
        load(mute["place"], storage_options=mute["storage_options"])


def test_a_look_has_this_sessions_pairs_in_time(
    mute: dict[str, Any], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame, "_PATIENCE_S", 0.2)
    store = FrameStore(journal=Journal(**mute))
    store.append(make(1))
    began = time.monotonic()
    with pytest.warns(MirrorWarning, match="what earlier sessions left .* no answer in time.* tries again"):
        assert store.frame().height == 1
    for _ in range(3):
        assert store.frame().height == 1
    assert time.monotonic() - began < 5
    store.journal.close(0.1)


def test_what_is_asked_next_waits_for_what_is_not_answered_yet() -> None:
    lane, answered, done = Lane(), threading.Event(), []
    with pytest.raises(TimeoutError, match="no answer in time"):
        lane.do(lambda: (answered.wait(30), done.append("first")), 0.01)
    with pytest.raises(TimeoutError, match="not answered yet"):
        lane.do(lambda: done.append("second"), 0.01)
    answered.set()
    lane.do(lambda: done.append("third"), 30)
    assert done == ["first", "third"]


@pytest.mark.parametrize("error", [ValueError, TimeoutError, KeyboardInterrupt])
def test_what_work_raises_is_raised_where_it_is_waited_for(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("why")

    with pytest.raises(error, match="why"):
        deadline.within(fail, 30)
    lane = Lane()
    with pytest.raises(error, match="why"):
        lane.do(fail, 30)
    lane.do(lambda: None, 30)
