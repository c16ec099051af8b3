"""A journal's folder or files that somebody removes while it is written to, and who may read them."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mirrorkit.errors import MirrorWarning
from mirrorkit.recording import load
from mirrorkit.records import Call, Pair
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]
ANEW = "was removed, or some of it, while it was written to, and is written anew"


def remove(place: Path, what: str) -> None:
    if what == "folder":
        shutil.rmtree(place)
        return
    for file in place.glob(f"*.{what}"):
        file.unlink()


def filled(place: Path, make: Make) -> FrameStore:
    store = FrameStore(journal=Journal(place))
    for number in range(5):
        store.begun(replace(make(number), silent=Call("unknown")))
        store.append(make(number))
    store.label("p1", "tie", "kept")
    store.begun(replace(make(9), silent=Call("unknown")))
    return store


@pytest.mark.parametrize("what", ["folder", "jsonl", "notes", "begun", "lock"])
@pytest.mark.parametrize("writes", [0, 3])
def test_what_is_removed_while_a_session_runs_is_written_anew(
    tmp_path: Path, make: Make, what: str, writes: int
) -> None:
    place = tmp_path / "journal"
    store = filled(place, make)
    remove(place, what)
    for number in range(5, 5 + writes):
        store.append(make(number))
    with pytest.warns(MirrorWarning, match=ANEW) as told:
        store.journal.close()
    assert len(told) == 1
    frame = load(place).frame
    expected = [f"p{number}" for number in range(5 + writes)] + ["p9"]
    assert frame["pair_id"].to_list() == expected
    assert frame["preference"].to_list() == [None, "tie"] + [None] * (len(expected) - 2)
    assert frame["silent_status"].to_list()[-1] == "unknown"


def test_it_is_noticed_while_nothing_is_written(
    tmp_path: Path, make: Make, eventually: Callable[..., bool]
) -> None:
    place = tmp_path / "journal"
    store = filled(place, make)
    with pytest.warns(MirrorWarning, match=ANEW):
        remove(place, "folder")
        assert eventually(lambda: place.exists() and len(list(place.glob("*.lock"))) == 1)
        assert load(place).frame.height == 5  # it lives, so that what is under way is not shown
    store.journal.close()


def test_a_folder_that_is_moved_away_is_made_again(tmp_path: Path, make: Make) -> None:
    place = tmp_path / "journal"
    store = filled(place, make)
    place.rename(tmp_path / "elsewhere")
    with pytest.warns(MirrorWarning, match=ANEW):
        store.journal.close()
    assert load(place).frame.height == 6


def test_parts_that_are_removed_are_written_anew_from_memory(
    tmp_path: Path, make: Make, eventually: Callable[..., bool]
) -> None:
    place = tmp_path / "journal"
    with Journal(place) as earlier:
        earlier.append(make(100))
    store = FrameStore(journal=Journal(place, roll_rows=3))
    for number in range(8):
        store.append(make(number))
    store.label("p1", "tie", "kept")
    assert store.frame().height == 9
    neighbour = FrameStore(journal=Journal(place, roll_rows=3))
    assert neighbour.frame().height == 9
    assert eventually(lambda: len(list(place.glob("*.parquet"))) == 3)
    shutil.rmtree(place)
    with pytest.warns(MirrorWarning, match=ANEW):
        store.journal.close()
        neighbour.journal.close()
    frame = load(place).frame.sort("started_at")
    assert frame["pair_id"].to_list() == [*(f"p{number}" for number in range(8)), "p100"]
    assert frame["note"].to_list() == [None, "kept"] + [None] * 7


@pytest.fixture
def lax() -> Iterator[None]:
    """A umask that takes no right away."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("lax")
def test_what_is_recorded_is_for_nobody_else_to_read(tmp_path: Path, make: Make) -> None:
    place = tmp_path / "runs" / "journal"
    store = filled(place, make)
    assert {rights(folder) for folder in (place, place.parent)} == {0o700}
    assert {rights(file) for file in place.iterdir()} == {0o600}
    assert {file.suffix for file in place.iterdir()} == {".jsonl", ".notes", ".lock", ".begun"}
    store.journal.close()
    Journal(place).close()
    assert {file.suffix for file in place.iterdir() if not file.name.startswith(".")} == {
        ".parquet",
        ".notes",
    }
    assert {rights(file) for file in place.iterdir()} == {0o600}


@pytest.mark.usefixtures("lax")
def test_a_folder_that_the_user_made_stays_as_it_is(tmp_path: Path, make: Make) -> None:
    place = tmp_path / "shared"
    place.mkdir(mode=0o775)
    filled(place, make).journal.close()
    assert rights(place) == 0o775
    assert {rights(file) for file in place.iterdir()} == {0o600}
