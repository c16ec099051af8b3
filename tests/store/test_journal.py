import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mirrorkit.errors import ConfigError, LabelError, MirrorWarning, RecordingError
from mirrorkit.recording import load, scan
from mirrorkit.records import SCHEMA, Judgement, Pair
from mirrorkit.store import folder, lines
from mirrorkit.store.files import read, read_kept, write_parquet
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal
from mirrorkit.store.rows import rows

Make = Callable[..., Pair]
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DATA = Path(__file__).parent / "data"


def names(folder: Path) -> list[str]:
    return sorted(file.suffix for file in folder.iterdir() if not file.name.startswith("."))


def ids(frame: pl.DataFrame) -> list[str]:
    return frame["pair_id"].to_list()


def filled(folder: Path, pairs: list[Pair], **given: Any) -> Journal:
    journal = Journal(folder, **given)
    for pair in pairs:
        journal.append(pair)
    return journal


def part_of(place: Path) -> Path:
    """Where a part of a new writer would be."""
    return folder.segment(place, folder.new_writer(), 1).with_suffix(".parquet")


def test_a_pair_is_on_disk_when_append_returns(tmp_path: Path, make: Make) -> None:
    journal = filled(tmp_path, [make(1), make(2)])
    (segment,) = tmp_path.glob("*.jsonl")
    assert segment.read_bytes() == lines.line(make(1)) + lines.line(make(2))
    assert_frame_equal(load(tmp_path).frame, rows([make(1), make(2)]))
    journal.close()


def test_a_closed_journal_is_parquet_that_any_reader_knows(tmp_path: Path, make: Make) -> None:
    pairs = [make(n) for n in range(5)]
    filled(tmp_path, pairs, roll_rows=2).close()
    assert names(tmp_path) == [".parquet"] * 3
    parts = sorted(tmp_path.glob("*.parquet"))
    assert_frame_equal(pl.concat(map(pl.read_parquet, parts)), rows(pairs))
    assert_frame_equal(read(parts[0]), rows(pairs[:2]))
    assert pl.read_parquet_metadata(parts[0])["mirrorkit.schema_version"] == str(SCHEMA.version)


def test_a_segment_that_is_full_by_bytes_becomes_a_part(tmp_path: Path, make: Make) -> None:
    journal = filled(tmp_path, [make(n) for n in range(4)], roll_bytes=2 * len(lines.line(make(0))))
    journal.close()
    assert names(tmp_path) == [".parquet"] * 2


def test_a_journal_without_pairs_leaves_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path / "new" / "folder") as journal:
        assert names(journal.folder) == [".lock"]
        assert len(load(journal.folder)) == 0
    assert names(tmp_path / "new" / "folder") == []
    with pytest.raises(RecordingError, match="there is no journal in the folder"):
        load(tmp_path / "new" / "folder")


def test_closing_twice_and_appending_after_it_lose_nothing(tmp_path: Path, make: Make) -> None:
    journal = filled(tmp_path, [make(1)])
    journal.close()
    journal.append(make(2))
    journal.close()
    assert ids(load(tmp_path).frame) == ["p1", "p2"]
    Journal(tmp_path).close()
    assert names(tmp_path) == [".parquet"] * 2
    assert ids(load(tmp_path).frame) == ["p1", "p2"]


def test_threads_and_files_are_back_to_where_they_were_after_close(tmp_path: Path, make: Make) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc")
    filled(tmp_path, [make(1)], roll_rows=1).close()
    before = held()
    for _ in range(3):
        journal = filled(tmp_path, [make(1), make(2), make(3)], roll_rows=2)
        journal.looked("[]")
        journal.close()
    assert held() == before


@pytest.mark.unwarned
def test_pairs_of_many_threads_are_each_written_once(tmp_path: Path, make: Make) -> None:
    journal = Journal(tmp_path, roll_rows=70)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.append(make(n)), range(800)))
    assert sorted(ids(load(tmp_path).frame)) == sorted(f"p{n}" for n in range(800))
    journal.close()
    assert sorted(ids(load(tmp_path).frame)) == sorted(f"p{n}" for n in range(800))


def test_a_journal_is_read_while_it_is_written_and_compacted(tmp_path: Path, make: Make) -> None:
    """Each look sees the pairs that were there before it, each once and in order."""
    journal, done = Journal(tmp_path, roll_rows=5), threading.Event()

    def write() -> None:
        for number in range(300):
            journal.append(make(number))
        done.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        looks = []
        while not done.is_set():
            looks.append(ids(load(tmp_path).frame))
        writing.result()
    for look in looks:
        assert look == [f"p{n}" for n in range(len(look))]
    assert [len(look) for look in looks] == sorted(len(look) for look in looks)
    journal.close()


@settings(max_examples=40)
@given(st.lists(st.sampled_from(["append", "look", "label", "judge", "again"]), max_size=40))
def test_whatever_is_done_the_journal_holds_what_the_frame_does(
    tmp_path_factory: Any, make: Make, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    store = FrameStore(journal=Journal(folder, roll_rows=3))
    count = 0
    for step in steps:
        if step == "append":
            store.append(make(count))
            count += 1
        elif step == "look":
            assert_frame_equal(load(folder).frame, store.frame())
        elif step == "again":
            store.journal.close()
            store = FrameStore(journal=Journal(folder, roll_rows=2))
        elif count and step == "label":
            store.label(f"p{count // 2}", "tie" if count % 2 else None, f"note {count}")
        elif count:
            store.judged(f"p{count - 1}", Judgement("silent", "why \ud83d", False, "m", 0.5, NOW))
    assert_frame_equal(load(folder).frame, store.frame())
    assert_frame_equal(scan(folder).collect(engine="streaming"), store.frame())
    assert len(store) == count
    store.journal.close()
    shutil.rmtree(folder)


def test_a_session_goes_on_where_the_last_one_was(tmp_path: Path, make: Make) -> None:
    first = FrameStore(journal=Journal(tmp_path))
    for number in range(3):
        first.append(make(number))
    first.label("p1", "silent", "shorter")
    first.looked('[{"pairs": 3}]')
    first.journal.close()
    second = FrameStore(journal=Journal(tmp_path))
    second.append(make(3))
    assert second.looks == '[{"pairs": 3}]'
    assert len(second) == 4
    assert ids(second.frame()) == ["p0", "p1", "p2", "p3"]
    assert second.frame()["note"].to_list() == [None, "shorter", None, None]
    second.label("p0", "tie", None)
    second.journal.close()
    assert load(tmp_path).frame["preference"].to_list() == ["tie", "silent", None, None]


def test_only_the_newest_pairs_stay_in_memory_and_all_are_in_the_journal(tmp_path: Path, make: Make) -> None:
    store = FrameStore(journal=Journal(tmp_path, roll_rows=400), most=100)
    for number in range(1_000):
        store.append(make(number))
        if number == 50:
            assert store.lazy() is None
    assert len(store) == 1_000
    assert ids(store.frame()) == [f"p{n}" for n in range(900, 1_000)]
    assert sum(chunk.height for chunk in store._chunks) < 1_000
    store.label("p3", "tie", "old")
    store.label("p999", "silent", None)
    with pytest.raises(LabelError, match="no pair 'p1000' among the 1,000"):
        store.label("p1000", "tie", None)
    everything = store.lazy().collect()
    assert ids(everything) == [f"p{n}" for n in range(1_000)]
    assert everything.filter(pl.col("preference").is_not_null())["pair_id"].to_list() == ["p3", "p999"]
    store.journal.close()
    again = FrameStore(journal=Journal(tmp_path), most=10)
    assert (len(again), ids(again.frame())) == (1_000, [f"p{n}" for n in range(990, 1_000)])
    assert again.lazy().collect().height == 1_000
    again.journal.close()


def test_most_without_a_journal_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_pairs_in_memory=5 takes a journal"):
        FrameStore(most=5)


@pytest.mark.parametrize("most", [0, -1, 1e3, "9", True])
def test_most_is_a_whole_number(tmp_path: Path, most: Any) -> None:
    with (
        Journal(tmp_path) as journal,
        pytest.raises(ConfigError, match=f"max_pairs_in_memory={most!r} takes .* a whole number"),
    ):
        FrameStore(journal=journal, most=most)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_journal_that_is_a_file_or_below_one_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecordingError, match=r"is a file|cannot be opened.*name another folder"):
        Journal(tmp_path / name)


def test_a_folder_that_cannot_be_written_to_is_refused() -> None:
    with pytest.raises(RecordingError, match="name another folder"):
        Journal("/proc/mirrorkit")


def test_a_journal_with_a_file_of_a_newer_version_is_not_loaded(tmp_path: Path) -> None:
    newer = SCHEMA.version + 1
    segment = folder.segment(tmp_path, folder.new_writer(), 1)
    segment.write_text(json.dumps({"schema_version": newer, "pair_id": "p"}) + "\n")
    for use in (load, scan):
        with pytest.raises(RecordingError, match=f"has schema version {newer}.*upgrade mirrorkit"):
            use(tmp_path)
    segment.unlink()
    part = segment.with_suffix(".parquet")
    SCHEMA.frame().write_parquet(part, metadata={"mirrorkit.schema_version": str(newer)})
    for use in (load, scan):
        with pytest.raises(RecordingError, match=f"has schema version {newer}.*upgrade mirrorkit"):
            use(tmp_path)


def test_a_part_of_an_older_version_is_read_with_the_others(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, [make(1)]).close()
    shutil.copy(DATA / "version1.parquet", part_of(tmp_path))
    store = FrameStore(journal=Journal(tmp_path))
    expected = pl.concat([rows([make(1)]), read(DATA / "version1.parquet")])
    assert_frame_equal(load(tmp_path).frame, expected, check_row_order=False)
    assert_frame_equal(scan(tmp_path).collect(engine="streaming"), expected, check_row_order=False)
    assert_frame_equal(store.frame(), expected, check_row_order=False)
    store.journal.close()


def test_a_segment_beside_its_part_counts_once(tmp_path: Path, make: Make) -> None:
    """As a crash leaves it between the part's being there and the segment's being gone."""
    filled(tmp_path, [make(1), make(2)]).close()
    (part,) = tmp_path.glob("*.parquet")
    part.with_suffix(".jsonl").write_bytes(lines.line(make(1)) + lines.line(make(2)))
    assert ids(load(tmp_path).frame) == ["p1", "p2"]
    journal = Journal(tmp_path)
    assert ids(load(tmp_path).frame) == ["p1", "p2"]
    journal.close()


def test_what_a_living_writer_waits_for_goes_with_the_recording(tmp_path: Path, make: Make) -> None:
    mark = make(3).started_at
    writer = Journal(tmp_path)
    for number in (1, 2, 4):
        writer.append(make(number), mark)
    assert load(tmp_path).complete_before == mark
    other = FrameStore(journal=Journal(tmp_path))
    assert ids(other.frame()) == ["p1", "p2"]
    writer.append(make(3), None)
    assert load(tmp_path).complete_before is None
    writer.append(make(6), make(5).started_at)
    writer.close()
    assert load(tmp_path).complete_before is None
    other.journal.close()
    (part,) = tmp_path.glob("*.parquet")
    assert read_kept(part)["complete_before"] == make(5).started_at.isoformat().replace("+00:00", "Z")


def test_a_writer_of_another_machine_is_alive_while_its_files_change(tmp_path: Path, make: Make) -> None:
    writer = "20261122T090000000000Z_elsewhere_17_0123abcd"
    segment, lock = tmp_path / f"{writer}-000001.jsonl", tmp_path / f"{writer}.lock"
    segment.write_bytes(lines.line(make(5), make(4).started_at))
    lock.touch()
    assert load(tmp_path).complete_before == make(4).started_at
    Journal(tmp_path).close()
    assert segment.exists()
    long_ago = (datetime.now(UTC) - timedelta(minutes=30)).timestamp()
    for file in (segment, lock):
        os.utime(file, (long_ago, long_ago))
    with pytest.warns(MirrorWarning, match="1 writer of .* ended without closing, at the latest at"):
        assert load(tmp_path).complete_before is None


def test_notes_that_cannot_be_read_are_no_obstacle_and_are_named(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, [make(1)]).close()
    odd = [
        b"{",
        b"[]",
        b'{"at":1}',
        b'{"at":"x","pair_id":"p1","values":{"note":7,"nope":1,"judged_at":3}}',
        b"\xff",
    ]
    file = tmp_path / f"{folder.new_writer()}.notes"
    file.write_bytes(b"\n".join(odd))
    with pytest.warns(MirrorWarning, match=f"'{file}' has 4 lines that cannot be read"):
        frame = load(tmp_path).frame
    assert ids(frame) == ["p1"]
    assert frame["note"].to_list() == [None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting takes rights that this user lacks")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_pairs_wait_in_memory_while_the_disk_is_full_and_are_written_when_it_is_not(
    small_disk: Path, make: Make
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(40_000))
    store = FrameStore(journal=Journal(small_disk / "journal"))
    journal = store.journal
    with pytest.warns(MirrorWarning, match="is not on disk yet.*No space left") as seen:
        for number in range(100):
            store.append(make(number))
    assert len([each for each in seen if "is not on disk yet" in str(each.message)]) == 1
    assert 0 < journal.unwritten < 100
    assert ids(store.frame()) == [f"p{n}" for n in range(100)]
    on_disk = ids(load(small_disk / "journal").frame)
    assert on_disk == [f"p{n}" for n in range(100 - journal.unwritten)]
    assert ids(journal.everything().pairs.collect()) == [f"p{n}" for n in range(100)]
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    store.append(make(100))
    journal.close()
    assert journal.unwritten == 0
    assert ids(load(small_disk / "journal").frame) == [f"p{n}" for n in range(101)]


def test_a_disk_that_stays_full_is_told_of_at_close_and_nothing_is_raised(
    small_disk: Path, make: Make
) -> None:
    journal = Journal(small_disk / "journal")
    with pytest.warns(MirrorWarning) as seen:
        for number in range(200):
            journal.append(make(number))
        journal.close()
    told = [str(each.message) for each in seen]
    assert any("was closed with pairs or labels that are not on disk" in text for text in told)
    whole = ids(load(small_disk / "journal").frame)
    assert whole == [f"p{n}" for n in range(200 - journal.unwritten)]


def test_a_file_beside_a_journal_is_read_with_it(tmp_path: Path, make: Make) -> None:
    for name in ("a", "b"):
        filled(tmp_path / name, [make(1, pair_id=name)]).close()
    write_parquet(rows([make(2)]), tmp_path / "c.parquet")
    expected = ["a", "b", "p2"]
    assert ids(load(tmp_path / "a", tmp_path / "b", tmp_path / "c.parquet").frame) == expected
    assert ids(load(f"{tmp_path}/?", tmp_path / "c.parquet").frame) == expected
    assert sorted(ids(load(f"{tmp_path}/**").frame)) == expected
    assert ids(load(f"{tmp_path}/*/").frame) == ["a", "b"]
    assert ids(load(f"file://{tmp_path}/a").frame) == ["a"]
    assert ids(load(f"{tmp_path}/a/*.parquet").frame) == ["a"]
    assert sorted(ids(scan(f"{tmp_path}/**").collect(engine="streaming"))) == expected
    with pytest.raises(RecordingError, match="no recording and no journal matches"):
        load(f"{tmp_path}/nothing*")


def test_a_folder_with_other_files_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for use in (load, scan):
        with pytest.raises(RecordingError, match="there is no journal in the folder"):
            use(tmp_path)
    for name in ("other.parquet", "uv.lock", "data.jsonl", "july.notes"):
        pl.DataFrame({"a": [1]}).write_parquet(tmp_path / name)
    for use in (load, scan):
        with pytest.raises(RecordingError, match="there is no journal in the folder"):
            use(tmp_path)
    pl.DataFrame({"a": [1]}).write_parquet(part_of(tmp_path))
    for use in (load, scan):
        with pytest.raises(RecordingError, match="is no recording"):
            use(tmp_path)


def test_columns_that_a_later_reader_added_are_kept(tmp_path: Path, make: Make) -> None:
    filled(tmp_path, [make(1)]).close()
    write_parquet(rows([make(2)]).with_columns(mine=pl.lit("x")), part_of(tmp_path))
    assert load(tmp_path).frame["mine"].to_list() == [None, "x"]
    assert scan(tmp_path).collect()["mine"].to_list() == [None, "x"]
