"""What is settled in a journal that is written to, and what others wrote that cannot be read."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mirrorkit.errors import MirrorWarning, RecordingError
from mirrorkit.recording import load
from mirrorkit.records import SCHEMA, Pair
from mirrorkit.store import folder, lines, reading
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal

Make = Callable[..., Pair]


def ids(frame: pl.DataFrame) -> list[str]:
    return frame["pair_id"].to_list()


def settled(place: Path) -> list[str]:
    return ids(reading.in_folder(place, settled=True).pairs.collect())


def test_a_mark_holds_back_what_is_in_older_files_than_its_own(tmp_path: Path, make: Make) -> None:
    """Of requests 3 to 7 only 4 is under way, and the newest file has an old pair alone."""
    with Journal(tmp_path, roll_rows=3) as journal:
        for number in (5, 6, 7):
            journal.append(make(number), make(3).started_at)
        journal.append(make(3), make(4).started_at)
        assert load(tmp_path).complete_before == make(4).started_at
        assert settled(tmp_path) == ["p3"]


def test_a_writer_that_idles_tells_that_its_last_pairs_are_settled(tmp_path: Path, make: Make) -> None:
    """A pair's own line still has its request under way; nothing comes after it."""
    under_way = [make(0).started_at]
    journal = Journal(tmp_path)
    store = FrameStore(journal=journal, complete_before=lambda: under_way[-1])
    for number in (1, 2, 0):
        store.append(make(number))
    journal._duty()
    assert settled(tmp_path) == []
    under_way.append(make(2).started_at)
    journal._duty()
    assert settled(tmp_path) == ["p1", "p0"]
    under_way.append(make(9).started_at)
    journal._duty()
    assert settled(tmp_path) == ["p1", "p2", "p0"]
    assert load(tmp_path).complete_before == make(9).started_at
    store.append(make(10))
    assert settled(tmp_path) == ["p1", "p2", "p0"]
    journal.close()
    assert settled(tmp_path) == ["p1", "p2", "p0", "p10"]


def test_what_was_told_of_a_newer_file_is_not_believed_of_those_found_before(
    tmp_path: Path, make: Make
) -> None:
    under_way = [make(2).started_at]
    journal = Journal(tmp_path, roll_rows=2)
    store = FrameStore(journal=journal, complete_before=lambda: under_way[-1])
    store.append(make(1))
    found = folder.listed(tmp_path)
    for number in (5, 6, 2):
        store.append(make(number))
    under_way.append(make(9).started_at)
    journal._duty()
    assert reading._marks(found)[journal.writer] == make(2).started_at
    assert reading._marks(folder.listed(tmp_path))[journal.writer] == make(9).started_at
    journal.close()


def test_pairs_that_wait_for_the_disk_are_not_told_to_be_settled(tmp_path: Path, make: Make) -> None:
    journal = Journal(tmp_path)
    store = FrameStore(journal=journal, complete_before=lambda: make(9).started_at)
    journal.append(make(1), make(0).started_at)
    journal._pairs.waiting.append(lines.line(make(0), make(0).started_at))
    journal._duty()
    assert load(tmp_path).complete_before == make(0).started_at
    store.append(make(2))
    journal.close()


def test_what_is_written_while_everything_is_read_is_there_once(tmp_path: Path, make: Make) -> None:
    """What waited when the journal was asked is on disk when it is read."""
    with Journal(tmp_path) as journal:
        journal.append(make(1))
        journal.append(make(2))
        journal._pairs.waiting.extend([lines.line(make(2)), lines.line(make(3))])
        assert ids(journal.everything().pairs.collect()) == ["p1", "p2", "p3"]
        journal._pairs.waiting.clear()


def damaged(place: Path) -> None:
    place.write_bytes(b"PAR1 and no more")


def newer(place: Path) -> None:
    metadata = {"mirrorkit.schema_version": str(SCHEMA.version + 1)}
    SCHEMA.frame().write_parquet(place, metadata=metadata)


def newer_segment(place: Path) -> None:
    line = {"schema_version": SCHEMA.version + 1, "pair_id": "p"}
    (place.parent / f"{place.stem}.jsonl").write_text(json.dumps(line) + "\n")
    place.with_name(f"{folder.writer_of(place)}.lock").touch()


def another(place: Path) -> None:
    pl.DataFrame({"prompt": ["hi"]}).write_parquet(place)


@pytest.mark.parametrize("leave", [damaged, newer, newer_segment, another])
def test_a_file_of_somebody_else_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, make: Make, leave: Callable[[Path], None]
) -> None:
    """A running session's own pairs stay in reach, and so do the other writers'."""
    with Journal(tmp_path) as first:
        first.append(make(1))
    store = FrameStore(journal=Journal(tmp_path), most=1)
    started = f"{datetime.now(UTC) - timedelta(days=1):%Y%m%dT%H%M%S%fZ}"
    leave(folder.segment(tmp_path, f"{started}_elsewhere_1_0123abcd", 1).with_suffix(".parquet"))
    store.append(make(2))
    with pytest.warns(MirrorWarning, match="is left out: .*elsewhere_1_0123abcd-000001") as told:
        assert ids(store.frame()) == ["p2"]
    assert len(told) == 1
    assert len(store) == 2
    with pytest.warns(MirrorWarning, match="is left out"):
        assert ids(store.lazy().collect()) == ["p1", "p2"]
    store.journal.close()
    with pytest.raises(RecordingError):
        load(tmp_path)


def test_earlier_pairs_that_cannot_be_read_at_all_are_no_obstacle_to_those_that_come(
    tmp_path: Path, make: Make
) -> None:
    """The file looks right until its rows are read."""
    with Journal(tmp_path) as first:
        first.append(make(1))
    (part,) = tmp_path.glob("*.parquet")
    data = bytearray(part.read_bytes())
    data[4:2_000] = bytes(len(data[4:2_000]))
    part.write_bytes(data)
    store = FrameStore(journal=Journal(tmp_path))
    store.append(make(2))
    with pytest.warns(MirrorWarning, match="what earlier sessions left .* cannot be read"):
        assert len(store) == 1
    assert ids(store.frame()) == ["p2"]
    store.journal.close()
