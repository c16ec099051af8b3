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
from mirrorkit.errors import CompareError, LabelError, RecordingError
from mirrorkit.recording import Readable, Recording, describe, load
from mirrorkit.records import SCHEMA
from mirrorkit.store.files import write_parquet
from mirrorkit.store.frame import FrameStore
from pairs import recorded

STARTED = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def frame(pairs: int = 25, **columns: Any) -> pl.DataFrame:
    """Pairs a minute apart; a column is a value for all of them, or a list."""
    given = {
        "arm": "gpt-4o-mini",
        "model_group": "gpt-4o",
        "started_at": [STARTED + timedelta(minutes=n) for n in range(pairs)],
        "primary_latency_s": [0.1 * (n + 1) for n in range(pairs)],
    }
    return recorded(pairs, **{**given, **columns})


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
    Live(frame(2)).to_parquet(tmp_path / "live.parquet")
    assert len(load(tmp_path / "live.parquet")) == 2
    with pytest.raises(TypeError):
        Readable()  # type: ignore[abstract]


class Live(Readable):
    """What a session is to its reader: pairs come in, and some requests may be under way."""

    def __init__(self, pairs: pl.DataFrame, complete_before: datetime | None = None) -> None:
        self.pairs, self.before = pairs, complete_before
        self._looked = Looked()
        self._store = FrameStore()

    @property
    def frame(self) -> pl.DataFrame:
        return self.pairs

    @property
    def complete_before(self) -> datetime | None:
        return self.before


def fast(pairs: int) -> pl.DataFrame:
    return frame(pairs, primary_latency_s=1.0, silent_latency_s=[0.9 + 0.2 * (n % 2) for n in range(pairs)])


def told(comparison: Comparison) -> list[str]:
    return [str(pitfall) for pitfall in comparison.warnings if "changed after a look" in str(pitfall)]


def test_gates_that_were_set_at_the_first_look_stay_for_the_next() -> None:
    live = Live(fast(50))
    live.compare(gates={"latency": 1.2}, alpha=0.1, max_pairs=500)
    live.pairs = fast(120)
    seen = live.compare()
    assert (dict(seen.plan.gates), seen.plan.alpha, seen.plan.max_pairs) == ({"latency": 1.2}, 0.1, 500)
    assert seen.verdict.answer == "switch"
    assert told(seen) == []


def test_changing_gates_after_a_look_is_told_with_what_they_were_and_after_how_many_pairs() -> None:
    live = Live(fast(120))
    live.compare(gates={"latency": 0.9})
    live.pairs = fast(150)
    (seen,) = told(live.compare(gates={"latency": 1.2}))
    assert "after a look at 120 pairs (then gates: latency < ×0.9; alpha 0.05" in seen
    assert "at 150 pairs gates: latency < ×1.2" in seen
    assert told(live.compare()) == [seen]


def test_a_look_taken_while_earlier_ones_are_read_is_not_lost() -> None:
    live = Live(fast(120))

    class Slow(FrameStore):
        """Is asked for the looks of before by a dashboard's thread, while a cell compares."""

        @property
        def looks(self) -> str:
            read, live._store = super().looks, FrameStore()
            live.compare(gates={"latency": 0.9}, progress=False)
            return read

    live._store = Slow()
    assert [look.pairs for look in live._remembered().looks] == [120]


def test_a_look_that_failed_was_none() -> None:
    live = Live(fast(0))
    with pytest.raises(CompareError, match="no pairs to compare"):
        live.compare(gates={"latency": 0.9})
    live.pairs = fast(10)
    with pytest.raises(CompareError, match="there is no metric 'charm'"):
        live.compare(gates={"charm": 1})
    assert told(live.compare(gates={"latency": 1.2})) == []


def test_gates_and_looks_go_with_the_recording(tmp_path: Path) -> None:
    live = Live(fast(120))
    live.compare(gates={"latency": 0.9})
    seen = live.compare(gates={"latency": 1.2}, ignore=[r"\d+"])
    live.to_parquet(tmp_path / "one.parquet")
    loaded = load(tmp_path / "one.parquet")
    again = loaded.compare()
    assert again.plan == seen.plan
    assert again.verdict == seen.verdict
    assert [str(each) for each in again.warnings] == [str(each) for each in seen.warnings]
    loaded.compare(alpha=0.01)
    loaded.to_parquet(tmp_path / "two.parquet")
    third = load(tmp_path / "two.parquet").compare()
    assert (third.plan.alpha, len(told(third))) == (0.01, 2)


def test_a_gate_of_a_recording_means_what_it_meant_when_it_was_set(tmp_path: Path) -> None:
    """At most 5 points worse was once set as json_valid=-0.05, and is kept as it was."""
    given = '"gates": {"json_valid": -0.05}, "alpha": 0.05'
    old = f'[{{"pairs": 9, "words": "gates: json_valid > -5 points; alpha 0.05", "given": {{{given}}}}}]'
    write_parquet(frame(9), tmp_path / "old.parquet", kept={"plan": old})
    kept = load(tmp_path / "old.parquet").compare()
    assert kept.plan == load(tmp_path / "old.parquet").compare(gates={"json_valid": 0.05}).plan
    assert kept.gates["gate"].to_list() == ["json_valid > -5 points"]


def test_the_verdict_of_a_recording_is_that_of_the_session_mid_flight(tmp_path: Path) -> None:
    started = fast(120)["started_at"]
    for place, answer in ((99, "keep collecting"), (100, "switch")):
        live = Live(fast(120), started[place])
        seen = live.compare(gates={"latency": 1.2})
        live.to_parquet(tmp_path / "pairs.parquet")
        loaded = load(tmp_path / "pairs.parquet")
        assert loaded.complete_before == started[place]
        assert seen.verdict.answer == answer
        again = loaded.compare()
        assert again.verdict == seen.verdict
        assert again.table.equals(seen.table)
        loaded.to_parquet(tmp_path / "again.parquet")
        assert load(tmp_path / "again.parquet").compare().verdict == seen.verdict


def test_a_gate_on_a_metric_whose_function_was_not_kept_asks_for_it(tmp_path: Path) -> None:
    quick = {"quick": lambda pair: pair["silent_latency_s"] < 2}
    live = Live(fast(120))
    seen = live.compare(gates={"quick": 0.5}, metrics=quick)
    assert live.compare().verdict == seen.verdict
    live.to_parquet(tmp_path / "pairs.parquet")
    loaded = load(tmp_path / "pairs.parquet")
    with pytest.raises(CompareError, match=r"there is no metric 'quick' .* given by metrics="):
        loaded.compare()
    again = loaded.compare(metrics=quick)
    assert (again.verdict, told(again)) == (seen.verdict, [])
    assert loaded.compare(gates={"latency": 1.2}).verdict.decided_by == "latency"


def test_a_csv_file_holds_no_gates(tmp_path: Path) -> None:
    live = Live(fast(120))
    live.compare(gates={"latency": 1.2})
    live.to_csv(tmp_path / "pairs.csv")
    assert set(load(tmp_path / "pairs.csv").compare().plan.gates) == {"latency", "cost", "errors"}


@pytest.mark.parametrize(
    "kept",
    [
        {"plan": "{"},
        {"plan": '[{"pairs": 1, "words": "x", "given": {}}]'},
        {"complete_before": "yesterday"},
        {"complete_before": ""},
        {"more": "of a later version"},
    ],
)
def test_what_cannot_be_read_beside_the_pairs_is_no_obstacle(tmp_path: Path, kept: dict[str, str]) -> None:
    write_parquet(fast(120), tmp_path / "pairs.parquet", kept=kept)
    loaded = load(tmp_path / "pairs.parquet")
    assert loaded.complete_before is None
    assert loaded.compare(gates={"latency": 1.2}).verdict.answer == "switch"


def test_a_time_without_a_zone_beside_the_pairs_is_utc(tmp_path: Path) -> None:
    write_parquet(fast(9), tmp_path / "pairs.parquet", kept={"complete_before": "2026-11-22T09:05:00"})
    assert len(load(tmp_path / "pairs.parquet").compare()._told.pairs) == 5


def test_answers_are_compared_once_for_all_looks() -> None:
    texts: list[str] = []

    def clean(text: str) -> str:
        texts.append(text)
        return text

    recorded = fast(6).with_columns(primary_output=pl.col("pair_id"), silent_output=pl.lit("other"))
    live = Live(recorded[:4])
    live.compare(clean=clean)
    live.compare(gates={"cost": 0.5})
    live.pairs = recorded
    live.compare()
    assert sorted(text for text in texts if text != "other") == [f"p{n}" for n in range(6)]
    live.compare(tolerance=0.5)
    assert len([text for text in texts if text != "other"]) == 12


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


def test_the_line_of_a_strangers_recording_steers_no_terminal_and_is_short() -> None:
    names = ["\x1b[2J\x1b[31mred", "\u202eback\u200b", "x" * 1_000_000, "\r\x07", *map(str, range(9_000))]
    hostile = frame(len(names), arm=names, model_group=names[::-1])
    line = repr(Recording(hostile))
    assert line.isprintable()
    assert len(line) < 600
    assert "9001 more" in line


def test_nothing_that_is_told_of_a_strangers_recording_steers_a_terminal() -> None:
    odd = "\x1b[31m\x07\r\u202e\u200b"
    named = ("model_group", "cluster", "primary_output", "silent_output", "silent_model", "silent_error_type")
    texts = {name: [f"{odd}{n % 2}" for n in range(40)] for name in (*named, "arm", "messages", "note")}
    statuses = ["ok"] * 30 + ["error"] * 5 + [odd] * 5
    recording = Recording(frame(40, tags=[[odd]] * 40, silent_status=statuses, silent_latency_s=1.0, **texts))
    comparison = recording.compare(progress=False)
    told = [repr(recording), repr(comparison), str(comparison.verdict), *map(str, comparison.warnings)]
    told += [repr(recording.browse()), repr(recording.browse(blind=False))]
    for text in told:
        assert text.replace("\n", "").isprintable()


def test_reading_a_recording_and_comparing_it_imports_no_litellm_plotly_or_widgets(tmp_path: Path) -> None:
    path = tmp_path / "pairs.parquet"
    Recording(frame()).to_parquet(path)
    code = (
        "import sys; from mirrorkit.recording import load; load(sys.argv[1]).compare(); "
        "print([m for m in ('litellm', 'plotly', 'ipywidgets') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_what_a_recording_waits_for_goes_with_it_into_every_file_and_several_are_one(tmp_path: Path) -> None:
    pairs = Recording(frame(20)).frame
    recording = Recording(pairs)
    recording._before = pairs["started_at"].sort()[10]
    for name in ("pairs.csv", "pairs.parquet"):
        getattr(recording, f"to_{Path(name).suffix[1:]}")(tmp_path / name)
        again = load(tmp_path / name)
        assert again.complete_before == recording._before
        assert again.frame.columns == pairs.columns
        # what is complete has nothing to wait for
        Recording(pairs).to_csv(tmp_path / "whole.csv")
        assert load(tmp_path / "whole.csv").complete_before is None
        both = load(tmp_path / "whole.csv", tmp_path / name)
        assert both.complete_before == recording._before
        assert len(both) == 2 * pairs.height


def test_rules_are_for_comparing_and_change_nothing_that_is_recorded(tmp_path: Path) -> None:
    texts = {"primary_output": "id 17: Yes", "silent_output": "id 18: yes"}
    recording = Recording(frame(3, **texts))
    before = recording.frame
    seen = recording.compare(ignore=[r"id \d+: "], clean=str.lower)
    assert seen.table.filter(metric="identical")["effect"][0] == 1.0
    assert_frame_equal(seen.frame, before)
    assert_frame_equal(recording.frame, before)
    recording.to_parquet(tmp_path / "pairs.parquet")
    assert_frame_equal(load(tmp_path / "pairs.parquet").frame, before)


def test_a_recording_with_no_pairs_is_one_all_the_same() -> None:
    empty = Recording(SCHEMA.frame())
    assert len(empty) == 0
    assert empty
