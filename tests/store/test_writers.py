"""Journals with other processes: killed ones, living ones, several at once, forked ones."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirrorkit.errors import MirrorWarning
from mirrorkit.recording import load
from mirrorkit.records import Pair
from mirrorkit.store import folder, lines
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]
Start = Callable[..., Any]

WRITE = """
with_rows = int(sys.argv[2])
journal = Journal(place, roll_rows=with_rows)
for number in range(10**9):
    journal.append(make_pair(number), make_pair(0).started_at)
    print(number, flush=True)
"""


def ids(place: Path) -> list[str]:
    return load(place).frame["pair_id"].to_list()


@pytest.mark.parametrize("roll", [1_000_000, 7])
def test_a_writer_that_is_killed_has_lost_no_pair_that_it_had_finished(
    tmp_path: Path, start: Start, roll: int
) -> None:
    writer = start(WRITE, tmp_path, roll)
    said = [writer.stdout.readline() for _ in range(60)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.readlines()
    writer.wait()
    finished = [int(line) for line in said if line.endswith("\n")]
    assert len(finished) >= 60
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        recording = load(tmp_path)
    found = recording.frame["pair_id"].to_list()
    assert found[: len(finished)] == [f"p{n}" for n in finished]
    assert len(found) - len(finished) in (0, 1)  # one may be on disk whose number was not yet said
    assert recording.complete_before is None
    # the next session makes parts of what was left, and the warning stays
    Journal(tmp_path).close()
    assert not list(tmp_path.glob("*.jsonl"))
    assert not list(tmp_path.glob("*.lock"))
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        assert ids(tmp_path) == found


def test_a_line_that_was_torn_off_is_left_out_and_named(tmp_path: Path, make: Make) -> None:
    whole, torn = lines.line(make(1)), lines.line(make(2))[:-30]
    segment = folder.segment(tmp_path, folder.new_writer(), 1)
    segment.write_bytes(whole + torn)
    assert ids(tmp_path) == ["p1"]
    with pytest.warns(MirrorWarning, match=f"'{segment}' has {len(torn):,} bytes that are no whole line"):
        Journal(tmp_path).close()
    assert ids(tmp_path) == ["p1"]
    assert [file.suffix for file in tmp_path.iterdir() if not file.name.startswith(".")] == [".parquet"]


def test_many_processes_write_to_one_folder_at_once(tmp_path: Path, start: Start) -> None:
    script = """
with Journal(place, roll_rows=40) as journal:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(100):
        journal.append(make_pair(number, pair_id=f"{sys.argv[2]}-{number}"))
"""
    writers = [start(script, tmp_path, name) for name in "abc"]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.wait() == 0, writer.stderr.read()
    assert sorted(ids(tmp_path)) == sorted(f"{name}-{n}" for name in "abc" for n in range(100))


def test_a_living_writer_of_another_process_is_left_alone_and_its_mark_counts(
    tmp_path: Path, start: Start, make: Make
) -> None:
    script = """
journal = Journal(place)
for number in (1, 3):
    journal.append(make_pair(number), make_pair(2).started_at)
print("ready", flush=True)
sys.stdin.readline()
journal.append(make_pair(2), None)
journal.close()
"""
    writer = start(script, tmp_path)
    assert writer.stdout.readline() == "ready\n"
    with Journal(tmp_path):
        assert len(list(tmp_path.glob("*.jsonl"))) == 1
    recording = load(tmp_path)
    assert recording.complete_before == make(2).started_at
    writer.communicate("go\n")
    assert writer.returncode == 0
    recording = load(tmp_path)
    assert recording.complete_before is None
    assert sorted(recording.frame["pair_id"]) == ["p1", "p2", "p3"]


def test_two_processes_that_recover_at_once_do_not_break_each_other(
    tmp_path: Path, start: Start, make: Make
) -> None:
    for _ in range(20):
        writer = folder.new_writer()
        folder.segment(tmp_path, writer, 1).write_bytes(lines.line(make(1, pair_id=writer)))
        (tmp_path / f"{writer}.lock").touch()
    script = "print('ready', flush=True); sys.stdin.readline(); Journal(place).close()"
    openers = [start(script, tmp_path) for _ in range(3)]
    for opener in openers:
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        opener.stdin.write("go\n")
        opener.stdin.flush()
    for opener in openers:
        assert opener.wait() == 0, opener.stderr.read()
    Journal(tmp_path).close()
    with pytest.warns(MirrorWarning, match="20 writers of"):
        found = ids(tmp_path)
    assert len(found) == len(set(found)) == 20
    assert not list(tmp_path.glob("*.jsonl"))


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked child that does this."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking while there are threads, which is what is tested
        child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


forks = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@forks
def test_a_forked_child_never_writes_to_its_parents_files(tmp_path: Path, make: Make) -> None:
    parent = Journal(tmp_path)
    parent.append(make(1))

    def child() -> None:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            parent.append(make(2))
            parent.append(make(3))
        assert ["belongs to the process that forked" in str(each.message) for each in told] == [True]
        parent.close()

    assert in_child(child) == 0
    parent.append(make(4))
    assert ids(tmp_path) == ["p1", "p4"]
    parent.close()
    assert ids(tmp_path) == ["p1", "p4"]


@forks
def test_a_forked_child_has_a_journal_of_its_own_and_the_parent_keeps_its_lock(
    tmp_path: Path, make: Make
) -> None:
    store = FrameStore(journal=Journal(tmp_path))
    store.append(make(1))
    lock = tmp_path / f"{store.journal.writer}.lock"
    busy, freed = threading.Event(), threading.Event()

    def hold() -> None:
        with store._appending, store._looking:
            busy.set()
            freed.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert busy.wait(30)

    def child() -> None:
        own = FrameStore(journal=store.journal.forked(), unreadable="read it elsewhere")
        for number in range(2, 2_000):
            # what no column can hold, now and then: Polars, which would mend it, hangs here
            own.append(make(number, cluster="\ud83d" if number % 500 == 0 else None))
        own.journal.close()

    try:
        assert in_child(child) == 0
    finally:
        freed.set()
        holder.join()
    assert folder.is_alive(folder.listed(tmp_path), store.journal.writer)
    assert lock.exists()
    store.append(make(0))
    store.journal.close()
    expected = sorted(f"p{n}" for n in range(2_000))
    assert sorted(ids(tmp_path)) == expected
    Journal(tmp_path).close()
    assert not list(tmp_path.glob("*.jsonl"))
    assert sorted(ids(tmp_path)) == expected


@forks
def test_a_parent_that_was_killed_is_dead_although_its_child_lives(tmp_path: Path, start: Start) -> None:
    script = """
store = FrameStore(journal=Journal(place))
store.append(make_pair(1))
child = os.fork()
if child == 0:
    own = FrameStore(journal=store.journal.forked(), unreadable="read it elsewhere")
    print("ready", flush=True)
    sys.stdin.readline()
    own.append(make_pair(2))
    own.journal.close()
    print("done", flush=True)
    os._exit(0)
time.sleep(1000)
"""
    parent = start(script, tmp_path)
    assert parent.stdout.readline() == "ready\n"
    parent.send_signal(signal.SIGKILL)
    os.waitpid(parent.pid, 0)
    found = folder.listed(tmp_path)
    assert [folder.is_alive(found, writer) for writer in found.writers()] == [False, True]
    parent.stdin.write("go\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "done\n"
    with pytest.warns(MirrorWarning, match="1 writer of"):
        assert ids(tmp_path) == ["p1", "p2"]
