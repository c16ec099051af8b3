"""Opening a folder where others write, close and were killed."""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mirrorkit.recording import load
from mirrorkit.records import Pair
from mirrorkit.store import folder, lines, recovery
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]


def ids(place: Path) -> list[str]:
    return load(place).frame["pair_id"].to_list()


def test_a_segment_whose_part_is_there_is_removed_when_its_writer_is_dead(tmp_path: Path, make: Make) -> None:
    with Journal(tmp_path) as journal:
        journal.append(make(1))
    (part,) = tmp_path.glob("*.parquet")
    part.with_suffix(".jsonl").write_bytes(lines.line(make(1)))
    Journal(tmp_path).close()
    assert list(tmp_path.glob("*.jsonl")) == []
    assert ids(tmp_path) == ["p1"]


def test_what_a_killed_compaction_began_is_removed_when_it_is_old(tmp_path: Path) -> None:
    old, new = tmp_path / ".mirrorkit-old.tmp", tmp_path / ".mirrorkit-new.tmp"
    for file in (old, new):
        file.write_bytes(b"PAR1")
    long_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    os.utime(old, (long_ago, long_ago))
    Journal(tmp_path).close()
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.unwarned
def test_what_goes_while_a_folder_is_opened_is_no_trouble(tmp_path: Path, make: Make) -> None:
    """The folder was listed when another had not yet closed, and it has by now."""
    journal = Journal(tmp_path)
    journal.append(make(1))
    found = folder.listed(tmp_path)
    journal.close()
    recovery.recover(found)
    recovery._recover_writer(found, journal.writer)
    assert ids(tmp_path) == ["p1"]


def test_a_journal_is_where_it_was_opened_wherever_the_program_goes(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal("runs/july", roll_rows=2)
    journal.append(make(0))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for number in range(1, 5):
        journal.append(make(number))
    journal.looked("[]")
    journal.close()
    assert journal.unwritten == 0
    assert ids(tmp_path / "runs/july") == [f"p{number}" for number in range(5)]
    assert [each.name for each in tmp_path.rglob("*.lock")] == []


def test_a_pair_that_comes_after_close_survives_another_session(tmp_path: Path, make: Make) -> None:
    journal = Journal(tmp_path)
    journal.append(make(1))
    journal.close()
    journal.append(make(2))
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    Journal(tmp_path).close()
    journal.append(make(3))
    journal.looked("[]")
    Journal(tmp_path).close()
    journal.append(make(4))
    assert ids(tmp_path) == ["p1", "p2", "p3", "p4"]
    assert journal.unwritten == 0
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == before
    assert not [each.name for each in tmp_path.iterdir() if each.name.endswith((".lock", ".tmp"))]


def test_a_clock_that_goes_back_leaves_what_was_said_last_the_last(tmp_path: Path, make: Make) -> None:
    now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
    times: Any = iter([now, now - timedelta(hours=1)])
    store = FrameStore(journal=Journal(tmp_path, clock=lambda: next(times)))
    store.append(make(1))
    store.label("p1", "tie", "first")
    store.label("p1", "silent", "second")
    store.journal.close()
    assert load(tmp_path).frame["note"].to_list() == ["second"]
