import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mirrorkit.compare.looked import Looked
from mirrorkit.comparison import Comparison
from mirrorkit.errors import LabelError, RecordingError
from mirrorkit.recording import Readable, Recording, describe, load
from mirrorkit.records import SCHEMA

STARTED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def frame(pairs: int = 25, **columns: Any) -> pl.DataFrame:
    """Pairs a minute apart; a column is a value for all of them, or a list."""
    given = {
        "pair_id": [f"p{n}" for n in range(pairs)],
        "arm": "gpt-4o-mini",
        "model_group": "gpt-4o",
        "started_at": [STARTED + timedelta(minutes=n) for n in range(pairs)],
        "primary_status": "ok",
        "silent_status": "ok",
        "primary_latency_s": [0.1 * (n + 1) for n in range(pairs)],
        **columns,
    }
    listed = {name: value if isinstance(value, list) else [value] * pairs for name, value in given.items()}
    schema = {name: SCHEMA.columns.get(name) for name in listed}
    return Recording(pl.DataFrame(listed, schema=schema)).frame


def test_a_recording_is_the_frame_it_was_made_from() -> None:
    recording = Recording(frame(3))
    assert_frame_equal(recording.frame, frame(3))
    assert len(recording) == 3


def test_the_pairs_of_a_recording_never_change() -> None:
    source = frame(3)
    recording = Recording(source)
    source[0, "note"] = "changed"
    recording.frame[0, "note"] = "changed"
    recording.frame.drop_in_place("note")
    assert_frame_equal(recording.frame, frame(3))
    for name in ("frame", "more"):
        with pytest.raises(AttributeError):
            setattr(recording, name, source)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet"])
def test_a_label_is_put_beside_the_pairs_and_goes_to_the_next_file(tmp_path: Path, name: str) -> None:
    recording = Recording(frame(3).with_columns(mine=pl.lit("x")))
    before = recording.frame
    recording.label("p1", "silent", note="shorter")
    assert before["preference"].to_list() == [None] * 3
    assert recording.frame["preference"].to_list() == [None, "silent", None]
    write = recording.to_csv if name.endswith("csv") else recording.to_parquet
    write(tmp_path / name)
    loaded = load(tmp_path / name)
    assert_frame_equal(loaded.frame, recording.frame)
    loaded.label("p1", None)
    assert loaded.frame["preference"].null_count() == 3
    with pytest.raises(LabelError, match="no pair 'p9' among the 3"):
        loaded.label("p9", "tie")


def test_a_label_says_when_it_was_set() -> None:
    recording, before = Recording(frame(1)), datetime.now(UTC)
    recording.label("p0", "tie")
    assert before <= recording.frame["labelled_at"][0] <= datetime.now(UTC)


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(RecordingError, match="is no recording"):
        Recording(pl.DataFrame({"a": [1]}))


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet"])
def test_a_recording_is_written_and_loaded_the_same(tmp_path: Path, name: str) -> None:
    recording = Recording(frame(3, note=["=1+1", None, ""], tags=[["a"], [], None]))
    write = recording.to_csv if name.endswith("csv") else recording.to_parquet
    write(tmp_path / name)
    assert_frame_equal(load(tmp_path / name).frame, recording.frame)


def test_neutralising_can_be_turned_off(tmp_path: Path) -> None:
    Recording(frame(1, note="=1+1")).to_csv(tmp_path / "safe.csv")
    Recording(frame(1, note="=1+1")).to_csv(tmp_path / "raw.csv", neutralise=False)
    assert "'=1+1" in (tmp_path / "safe.csv").read_text("utf-8")
    assert "'=1+1" not in (tmp_path / "raw.csv").read_text("utf-8")


def test_a_recording_is_compared_as_its_frame_is() -> None:
    assert isinstance(Recording(frame()).compare(), Comparison)


def test_whatever_has_a_frame_is_readable(tmp_path: Path) -> None:
    class Live(Readable):
        frame = frame(2)
        complete_before = None
        _looked = Looked()

    Live().to_parquet(tmp_path / "live.parquet")
    assert len(load(tmp_path / "live.parquet")) == 2
    with pytest.raises(TypeError):
        Readable()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (frame(), "25 pairs, gpt-4o → gpt-4o-mini, 2026-11-22 09:00 to 09:24 UTC, 0 % with errors"),
        (frame(1), "1 pair, gpt-4o → gpt-4o-mini, 2026-11-22 09:00 UTC, 0 % with errors"),
        (frame(0), "no pairs"),
        (
            frame(
                3, arm=["control", "a", "b"], silent_status=["ok", "timeout", "abandoned"], started_at=None
            ),
            "3 pairs, gpt-4o → a, b, control, 33.3 % with errors",
        ),
        (
            frame(5, arm=list("abcde"), primary_status=None, silent_status=None, started_at=STARTED),
            "5 pairs, gpt-4o → a, b, c and 2 more, 2026-11-22 09:00 UTC",
        ),
        (
            frame(2, model_group=None, started_at=[STARTED, STARTED + timedelta(days=1)]),
            "2 pairs, gpt-4o-mini, 2026-11-22 09:00 to 2026-11-23 09:00 UTC, 0 % with errors",
        ),
        (
            frame(2, primary_status=["error", "ok"], silent_status=["error", "ok"], started_at=None),
            "2 pairs, gpt-4o → gpt-4o-mini, 50 % with errors",
        ),
    ],
)
def test_a_recording_says_in_one_line_what_it_holds(given: pl.DataFrame, line: str) -> None:
    assert describe(given) == line
    assert repr(Recording(given)) == f"Recording: {line}"


def test_the_line_is_one_line_and_holds_no_text_of_the_pairs() -> None:
    texts = dict.fromkeys(("messages", "params", "primary_output", "silent_output", "note"), "secret")
    line = repr(Recording(frame(2, arm="two\nlines", **texts)))
    assert "two lines" in line
    assert "\n" not in line
    assert "secret" not in line


def test_reading_a_recording_and_comparing_it_imports_no_litellm_plotly_or_widgets(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    Recording(frame()).to_parquet(path)
    code = (
        "import sys; from mirrorkit.recording import load; load(sys.argv[1]).compare(); "
        "print([m for m in ('litellm', 'plotly', 'ipywidgets') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
