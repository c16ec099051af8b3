"""Silent calls that were begun: whatever death comes, each of them is a row."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.errors import MirrorWarning
from mirrorkit.recording import load, scan
from mirrorkit.records import Call, Pair
from mirrorkit.store.begun import Begun
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]
Start = Callable[..., Any]


def begun(pair: Pair) -> Pair:
    return replace(pair, silent=Call("unknown"), lag_s=None)


def die(journal: Journal) -> None:
    """Leave things as a process that is killed does: all its files and its lock are closed, and stay."""
    journal._worker.close()
    journal._let_go()
    journal._process = -1


def statuses(place: Path) -> dict[str, str]:
    frame = load(place).frame
    assert frame["pair_id"].n_unique() == frame.height
    return dict(frame.select("pair_id", "silent_status").iter_rows())


def files(place: Path, suffix: str) -> list[Path]:
    return [file for file in place.iterdir() if file.suffix == suffix]


def test_after_a_kill_each_call_that_was_begun_has_a_row(tmp_path: Path, make: Make, start: Start) -> None:
    script = """
from dataclasses import replace
from mirrorkit.records import Call
store = FrameStore(journal=Journal(place))
for number in range(4):
    store.begun(replace(make_pair(number), silent=Call("unknown")))
store.append(make_pair(1))
store.dropped("p2")
print("ready", flush=True)
time.sleep(1000)
"""
    writer = start(script, tmp_path)
    assert writer.stdout.readline() == "ready\n"
    assert statuses(tmp_path) == {"p1": "ok"}  # it lives, and its calls are under way
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    expected = {"p1": "ok", "p0": "unknown", "p3": "unknown"}
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing"):
        assert statuses(tmp_path) == expected
    store = FrameStore(journal=Journal(tmp_path))
    assert dict(store.frame().select("pair_id", "silent_status").iter_rows()) == expected
    store.journal.close()
    assert not files(tmp_path, ".begun")
    with pytest.warns(MirrorWarning, match="1 writer of"):
        assert statuses(tmp_path) == expected
    lazily = scan(tmp_path).filter(pl.col("silent_status") == "unknown").collect(engine="streaming")
    assert lazily["pair_id"].to_list() == ["p0", "p3"]
    assert lazily["primary_output"].to_list() == ["answer 0", "answer 3"]
    assert lazily["silent_cost_usd"].to_list() == [None, None]


@pytest.mark.parametrize("roll", [1_000_000, 7])
def test_a_kill_amid_the_work_leaves_a_row_of_each_call_that_was_begun(
    tmp_path: Path, start: Start, roll: int
) -> None:
    script = """
from dataclasses import replace
from mirrorkit.records import Call
store = FrameStore(journal=Journal(place, roll_rows=int(sys.argv[2])))
for number in range(10**9):
    store.begun(replace(make_pair(number), silent=Call("unknown")))
    print(number, flush=True)
    if number >= 5:
        store.append(make_pair(number - 5))
"""
    writer = start(script, tmp_path, roll)
    said = [writer.stdout.readline() for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.readlines()
    writer.wait()
    begun_ones = [int(line) for line in said if line.endswith("\n")]
    for _ in range(2):
        with pytest.warns(MirrorWarning, match="1 writer of"):
            found = statuses(tmp_path)
        assert set(found) >= {f"p{number}" for number in begun_ones}
        assert len(found) - len(begun_ones) in (0, 1)  # one may be on disk whose number was not yet said
        assert 5 <= list(found.values()).count("unknown") <= 7
        Journal(tmp_path).close()


def test_a_journal_that_is_closed_leaves_nothing_of_what_was_begun(tmp_path: Path, make: Make) -> None:
    with Journal(tmp_path) as journal:
        for number in range(3):
            journal.begun(begun(make(number)))
        assert len(files(tmp_path, ".begun")) == 1
        for number in range(2):
            journal.append(make(number))
        journal.dropped("p2")
    assert not files(tmp_path, ".begun")
    assert statuses(tmp_path) == {"p0": "ok", "p1": "ok"}


@pytest.mark.parametrize("others", [0, 1, 2])
def test_a_pair_that_comes_after_all_takes_the_place_of_the_unknown_one(
    tmp_path: Path, make: Make, others: int
) -> None:
    journal = Journal(tmp_path)
    for number in range(2):
        journal.begun(begun(make(number)))
    journal.append(make(0))
    journal.close()
    assert statuses(tmp_path) == {"p0": "ok", "p1": "unknown"}
    for _ in range(others):
        Journal(tmp_path).close()
    assert len(files(tmp_path, ".begun")) == (0 if others else 1)
    assert statuses(tmp_path) == {"p0": "ok", "p1": "unknown"}
    journal.append(make(1))
    journal.close()
    assert not files(tmp_path, ".begun")
    assert statuses(tmp_path) == {"p0": "ok", "p1": "ok"}
    assert scan(tmp_path).collect(engine="streaming")["silent_status"].to_list() == ["ok", "ok"]


def test_a_death_between_the_part_and_the_lines_counts_each_call_once(tmp_path: Path, make: Make) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        journal.begun(begun(make(number)))
    die(journal)
    (file,) = files(tmp_path, ".begun")
    left = file.read_bytes()
    Journal(tmp_path).close()
    file.write_bytes(left)
    for _ in range(2):
        with pytest.warns(MirrorWarning, match="1 writer of"):
            assert statuses(tmp_path) == dict.fromkeys(("p0", "p1", "p2"), "unknown")
        Journal(tmp_path).close()
    assert not files(tmp_path, ".begun")


def test_a_line_that_was_torn_off_or_damaged_costs_no_other(tmp_path: Path, make: Make) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        journal.begun(begun(make(number)))
    die(journal)
    (file,) = files(tmp_path, ".begun")
    first, second, third = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + second.replace(b"{", b"<", 1) + third[:-20])
    with pytest.warns(MirrorWarning, match="1 writer of"):
        assert statuses(tmp_path) == {"p0": "unknown"}


def test_the_rows_of_unknown_outcome_come_after_their_writers_and_before_the_next_ones(
    tmp_path: Path, make: Make
) -> None:
    first = Journal(tmp_path, roll_rows=2)
    for number in range(6):
        first.begun(begun(make(number)))
    for number in (3, 2, 1, 0):
        first.append(make(number))
    die(first)
    for opened in range(2):
        with Journal(tmp_path) as journal:
            journal.append(make(10 + opened))
    with pytest.warns(MirrorWarning, match="1 writer of"):
        found = load(tmp_path).frame["pair_id"].to_list()
    assert found == ["p3", "p2", "p1", "p0", "p4", "p5", "p10", "p11"]


@pytest.mark.filterwarnings("ignore:.*ended without closing")
@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["begin", "append", "drop", "die", "close", "look"]), st.integers(0, 5)),
        max_size=30,
    )
)
def test_whatever_comes_each_call_that_was_begun_is_one_row_or_was_dropped(
    tmp_path_factory: Any, make: Make, steps: list[tuple[str, int]]
) -> None:
    place = tmp_path_factory.mktemp("journal")
    journal, run = Journal(place, roll_rows=3), 0
    under_way: set[str] = set()
    expected: dict[str, str] = {}
    for step, number in steps:
        pair = make(number, pair_id=f"{run}-{number}")
        if step == "begin" and pair.pair_id not in expected:
            journal.begun(begun(pair))
            under_way.add(pair.pair_id)
        elif step == "append" and pair.pair_id not in expected:
            journal.append(pair)
            under_way.discard(pair.pair_id)
            expected[pair.pair_id] = "ok"
        elif step == "drop":
            journal.dropped(pair.pair_id)
            under_way.discard(pair.pair_id)
        elif step == "look":
            assert statuses(place) == expected
        elif step in ("die", "close"):
            die(journal) if step == "die" else journal.close()
            expected |= dict.fromkeys(under_way, "unknown")
            if expected:
                assert statuses(place) == expected
            journal, run, under_way = Journal(place, roll_rows=3), run + 1, set()
    assert statuses(place) == expected
    store = FrameStore(journal=Journal(place))
    assert dict(store.frame().select("pair_id", "silent_status").iter_rows()) == expected
    store.journal.close()
    journal.close()


def test_the_lines_of_calls_that_ended_are_removed_while_others_are_under_way(tmp_path: Path) -> None:
    """A writer that lives for months keeps on disk what is under way, and not what it has ever begun."""
    begun, line = Begun(tmp_path, "writer"), b"x" * 2**19 + b"\n"
    begun.add("slow", line)
    for number in range(100):
        begun.add(f"p{number}", line)
        begun.end(f"p{number}")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * 5 * 2**20
    begun.end("slow")
    begun.close()
    assert not os.listdir(tmp_path)


def test_a_file_is_emptied_when_nothing_is_under_way(tmp_path: Path) -> None:
    begun, line = Begun(tmp_path, "writer"), b"x" * 2**17 + b"\n"
    for number in range(50):
        begun.add(f"p{number}", line)
        begun.end(f"p{number}")
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2**19
    begun.close()


def test_a_session_without_a_journal_has_nothing_to_tell(make: Make) -> None:
    store = FrameStore()
    store.begun(begun(make(1)))
    store.dropped("p1")
    assert len(store) == 0
