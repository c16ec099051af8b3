"""Which journals and files a place names."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from mirrorkit.recording import load, scan
from mirrorkit.records import Pair
from mirrorkit.store import labels
from mirrorkit.store.files import write_parquet
from mirrorkit.store.frame import FrameStore
from mirrorkit.store.journal import Journal
from mirrorkit.store.rows import rows

Make = Callable[..., Pair]
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def ids(frame: pl.DataFrame) -> list[str]:
    return frame["pair_id"].to_list()


@pytest.mark.parametrize("pattern", ["*", "*.parquet", "*-000001.*", "**", "../*/*.jsonl"])
def test_a_glob_of_a_journals_files_is_the_journal(tmp_path: Path, make: Make, pattern: str) -> None:
    place = tmp_path / "july"
    journal = Journal(place, roll_rows=3)
    for number in range(7):
        journal.append(make(number))
    journal.said(labels.label("p0", "tie", None, NOW))
    journal._worker.close()  # what is full is a part now
    frame = load(f"{place}/{pattern}").frame
    assert ids(frame) == [f"p{number}" for number in range(7)]
    assert frame["preference"][0] == "tie"
    journal.close()


def test_an_export_into_a_journals_folder_is_not_the_journals(tmp_path: Path, make: Make) -> None:
    with Journal(tmp_path) as journal:
        journal.append(make(1))
    load(tmp_path).to_parquet(tmp_path / "export.parquet")
    assert len(load(tmp_path)) == scan(tmp_path).collect().height == len(load(f"{tmp_path}/*")) == 1
    store = FrameStore(journal=Journal(tmp_path))
    assert len(store) == 1
    store.journal.close()
    assert len(load(f"{tmp_path}/export*")) == 1


def test_a_folder_with_files_that_end_like_a_journals_is_none_to_a_glob(tmp_path: Path, make: Make) -> None:
    place = tmp_path / "it"
    place.mkdir()
    for name in ("uv.lock", "data.jsonl", "x.notes", "x.ended"):
        (place / name).write_text("{}\n")
    write_parquet(rows([make(1)]), place / "pairs.parquet")
    assert ids(load(f"{tmp_path}/**").frame) == ["p1"]


def test_a_scan_of_a_journal_has_only_what_its_living_writers_have_settled(
    tmp_path: Path, make: Make
) -> None:
    journal = Journal(tmp_path, roll_rows=2)
    for number in (1, 5, 6):
        journal.append(make(number), make(3).started_at)
    assert ids(scan(tmp_path).collect()) == ["p1"]
    assert ids(load(tmp_path).frame) == ["p1", "p5", "p6"]
    assert load(tmp_path).complete_before == make(3).started_at
    journal.close()
    assert ids(scan(tmp_path).collect()) == ["p1", "p5", "p6"]


@pytest.mark.parametrize("name", ["runs [1]", "runs *", "what?", "{a,b}"])
def test_a_journal_in_a_folder_with_an_odd_name_is_read_as_any(tmp_path: Path, make: Make, name: str) -> None:
    with Journal(tmp_path / name) as journal:
        journal.append(make(1))
    assert ids(load(tmp_path / name).frame) == ids(scan(tmp_path / name).collect()) == ["p1"]
    store = FrameStore(journal=Journal(tmp_path / name))
    assert ids(store.frame()) == ["p1"]
    store.journal.close()
