"""Comparison: what the user holds, as text, in a notebook and as figures."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from mirrorkit.comparison import Comparison, compare
from mirrorkit.errors import CompareError, RecordingError
from mirrorkit.records import SCHEMA, Call, Pair

HOSTILE = '<img src=x onerror="alert(1)">\x1b[31m$x$'


def frame(count: int = 4, *, arm: str = "mini", group: str = "big") -> pl.DataFrame:
    return SCHEMA.frame(
        Pair(
            pair_id=f"p{number}",
            request_id=f"r{number}",
            trace_id=f"t{number}",
            arm=arm,
            call_type="completion",
            started_at=datetime(2026, 11, 2, 10, number % 60, tzinfo=UTC),
            lag_s=0.1,
            cluster=None,
            tags=(),
            model_group=group,
            messages=None,
            params=None,
            stream=False,
            primary=Call("ok", latency_s=1.0, cost_usd=0.00123, output="yes"),
            silent=Call("ok", latency_s=0.412, cost_usd=0.000123, output="yes"),
        )
        for number in range(count)
    )


def test_a_frame_without_pairs_says_what_to_do() -> None:
    with pytest.raises(CompareError, match=r"no pairs to compare: .*drain\(\).*session\.funnel"):
        compare(SCHEMA.frame())


def test_a_frame_that_is_no_recording_is_refused() -> None:
    with pytest.raises(RecordingError):
        compare(pl.DataFrame({"prompt": ["hi"]}))


def test_the_comparison_does_not_change_with_the_frame_it_was_made_from() -> None:
    pairs = frame()
    seen = compare(pairs)
    before = str(seen)
    pairs.insert_column(0, pl.Series("arm_too", ["x"] * 4))
    pairs.extend(pairs)
    assert str(seen) == before
    assert seen.frame.height == 4
    with pytest.raises(AttributeError):
        seen.table = seen.frame  # type: ignore[misc]


def test_a_terminal_gets_numbers_with_units_in_at_most_100_columns() -> None:
    seen = repr(compare(pl.concat([frame(), frame(arm="control", group="big" * 40), frame(arm="mini" * 40)])))
    assert max(map(len, seen.splitlines())) <= 100
    for words in ("0.412 s", "×0.412", "$0.00123", "$0.000123", "×0.100", "0 points", "100 %", "12 pairs"):
        assert words in seen
    assert "p95 needs 200 pairs, has 4" in seen


@pytest.mark.parametrize("word", ["faster", "slower", "better", "worse", "cheaper", "significant"])
def test_nothing_is_claimed_that_needs_an_interval(word: str, tmp_path: Path) -> None:
    seen = compare(frame(250))
    assert word not in repr(seen).lower()
    assert word not in seen._repr_mimebundle_()["text/html"].lower()


def test_a_notebook_gets_html_and_text() -> None:
    seen = compare(frame())
    bundle = seen._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == str(seen)
    assert "<td>0.412 s</td>" in bundle["text/html"]


def test_equal_notes_share_a_number_in_text_and_html_alike() -> None:
    odd = frame(250).with_columns(
        silent_latency_s=pl.when(pl.col("pair_id") == "p0").then(-1.0).otherwise(pl.col("silent_latency_s")),
        silent_cost_usd=pl.when(pl.col("pair_id") == "p1").then(None).otherwise(pl.col("silent_cost_usd")),
    )
    bundle = compare(odd)._repr_mimebundle_()
    notes = [
        "[1] 1 left out: latency negative or not finite (primary 0, silent 1)",
        "[2] 1 left out: cost unknown (primary 0, silent 1)",
    ]
    for note in notes:
        assert bundle["text/plain"].splitlines().count(note) == 1
        assert bundle["text/html"].count(note) == 1
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>.*?<td class="mark">(.*?)</td>', bundle["text/html"])
    marked = [(metric, mark) for metric, mark in rows if mark]
    assert marked[:3] == [("latency p50", "[1]"), ("latency p95", "[1]"), ("cost, mean", "[2]")]
    for metric, mark in marked[:3]:
        line = next(line for line in bundle["text/plain"].splitlines() if line.startswith(f"  {metric}"))
        assert line.endswith(mark)


def test_hostile_names_are_harmless_in_text_and_html() -> None:
    bundle = compare(frame(arm=HOSTILE, group=HOSTILE))._repr_mimebundle_()
    assert "\x1b" not in bundle["text/plain"]
    assert "\x1b" not in bundle["text/html"]
    assert "<img" not in bundle["text/html"]
    assert "&lt;img" in bundle["text/html"]


def test_each_view_is_a_figure() -> None:
    seen = compare(frame(30))
    for view in (seen.plot, seen.latency, seen.cost, seen.outputs):
        assert len(view().data) > 0


def test_a_report_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="no folder"):
        compare(frame()).to_html(tmp_path / "missing" / "report.html")


def test_comparing_and_reporting_need_no_litellm_and_only_figures_need_plotly(tmp_path: Path) -> None:
    recording = tmp_path / "pairs.parquet"
    frame().write_parquet(recording)
    script = f"""
import sys
sys.modules["litellm"] = None  # as if it were not installed: any import of it raises
import polars
from mirrorkit.comparison import compare
seen = compare(polars.read_parquet({str(recording)!r}))
str(seen), seen._repr_mimebundle_(), seen.table
assert not {{"plotly", "ipywidgets", "scipy"}} & set(sys.modules), "imported too early"
seen.plot()
assert "plotly" in sys.modules
seen.to_html({str(tmp_path / "report.html")!r})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 1_000_000


def test_a_comparison_is_made_by_compare() -> None:
    assert isinstance(compare(frame()), Comparison)
