"""Stores of one process on one journal: each sees what the others get."""

import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.recording import load
from mirrorkit.records import Judgement, Pair
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]


def ids(store: FrameStore) -> list[str]:
    return store.frame()["pair_id"].to_list()


def open_store(place: Path, **given: Any) -> FrameStore:
    return FrameStore(journal=Journal(place, roll_rows=7), **given)


def test_a_new_session_has_the_pairs_of_an_older_one_those_that_come_later_too(
    tmp_path: Path, make: Make
) -> None:
    """As when a cell is run again while its first session has mirrors under way."""
    oldest = make(0).started_at
    first = open_store(tmp_path, complete_before=lambda: oldest)
    for number in range(20):
        first.append(make(number))
    second = open_store(tmp_path)
    first.append(make(20))
    assert ids(second) == [f"p{number}" for number in range(21)]
    first.append(make(21))
    second.append(make(22))
    first.journal.close()
    first.append(make(23))
    expected = [f"p{number}" for number in range(24)]
    assert ids(second) == expected
    assert len(second) == 24
    assert ids(first) == expected
    second.append(make(24))
    second.label("p0", "tie", None)
    assert ids(first) == expected  # it is closed, and its frame stays as it is
    assert first.frame()["preference"].null_count() == 24
    expected.append("p24")
    second.journal.close()
    assert sorted(load(tmp_path).frame["pair_id"]) == sorted(expected)


def test_a_pair_is_not_settled_while_an_older_one_of_a_neighbour_is_under_way(
    tmp_path: Path, make: Make
) -> None:
    mark = make(3).started_at
    first = open_store(tmp_path, complete_before=lambda: mark)
    second = open_store(tmp_path)
    assert (first.others_before, second.others_before) == (None, mark)
    first.journal.close()
    second.journal.close()


def test_what_is_said_in_one_is_seen_in_the_other_before_its_first_look_and_after(
    tmp_path: Path, make: Make
) -> None:
    first = open_store(tmp_path)
    for number in range(4):
        first.append(make(number))
    first.label("p0", "tie", None)
    second = open_store(tmp_path)
    first.label("p1", "silent", "shorter")
    assert second.frame()["preference"].to_list() == ["tie", "silent", None, None]
    first.label("p2", "primary", None)
    second.label("p0", "silent", None)
    second.judged("p3", Judgement("tie", "alike", False, "m", 0.1, make(9).started_at))
    for store in (first, second):
        assert store.frame()["preference"].to_list() == ["silent", "silent", "primary", None]
        assert store.frame()["judge_preference"].to_list() == [None, None, None, "tie"]
        store.journal.close()


def test_a_session_that_is_gone_gets_nothing_and_holds_up_nobody(tmp_path: Path, make: Make) -> None:
    first = open_store(tmp_path)
    first.append(make(1))
    journal = first.journal
    del first
    gc.collect()
    journal.close()
    second = open_store(tmp_path)
    assert second.others_before is None
    second.append(make(2))
    assert ids(second) == ["p1", "p2"]
    second.journal.close()


def test_the_newest_are_kept_of_all_and_the_journal_has_the_rest(tmp_path: Path, make: Make) -> None:
    first = open_store(tmp_path)
    for number in range(50):
        first.append(make(number))
    second = open_store(tmp_path, most=10)
    for number in range(50, 100):
        (first if number % 2 else second).append(make(number))
    assert len(second) == 100
    assert ids(second) == [f"p{number}" for number in range(90, 100)]
    everything = second.lazy()
    assert everything is not None
    assert sorted(everything.collect()["pair_id"]) == sorted(f"p{number}" for number in range(100))
    first.journal.close()
    second.journal.close()


def test_pairs_that_come_while_others_open_the_journal_and_look_are_seen_once_each(
    tmp_path: Path, make: Make
) -> None:
    first = open_store(tmp_path)

    def write() -> None:
        for number in range(600):
            first.append(make(number))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        stores = []
        while not writing.done() and len(stores) < 12:
            stores.append(open_store(tmp_path))
            seen = ids(stores[-1])
            assert len(seen) == len(set(seen))
        writing.result()
    for store in (first, *stores):
        assert sorted(ids(store)) == sorted(f"p{number}" for number in range(600))
        assert len(store) == 600
        store.journal.close()


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["open", "append", "look", "close"]), st.integers(0, 2)), max_size=40)
)
def test_whatever_is_done_all_sessions_on_a_journal_see_all_of_it(
    tmp_path_factory: Any, make: Make, steps: list[tuple[str, int]]
) -> None:
    place, many = tmp_path_factory.mktemp("journal"), 0
    stores: dict[int, FrameStore] = {}
    for step, which in steps:
        if step == "open" and which not in stores:
            stores[which] = open_store(place)
        elif step == "close" and which in stores:
            stores.pop(which).journal.close()
        elif which in stores and step == "append":
            stores[which].append(make(many))
            many += 1
        elif which in stores and step == "look":
            assert sorted(ids(stores[which])) == sorted(f"p{number}" for number in range(many))
    for store in stores.values():
        assert sorted(ids(store)) == sorted(f"p{number}" for number in range(many))
        store.journal.close()


@pytest.mark.parametrize("where", ["link", "dotted"])
def test_one_folder_is_one_journal_however_it_is_named(tmp_path: Path, make: Make, where: str) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "journal")
    name = tmp_path / "link" if where == "link" else tmp_path / "journal" / ".." / "journal"
    first, second = open_store(tmp_path / "journal"), open_store(name)
    assert ids(second) == []
    first.append(make(1))
    assert ids(second) == ["p1"]
    first.journal.close()
    second.journal.close()
