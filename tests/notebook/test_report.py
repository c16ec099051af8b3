"""The report: one file that opens with no network, with everything in it and nothing hostile."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mirrorkit.comparison import compare
from mirrorkit.errors import CompareError, RecordingError
from mirrorkit.notebook import report
from mirrorkit.recording import Recording
from mirrorkit.records import CONTROL, SCHEMA, Call, Pair

ASKED = "What is it about?"
HOSTILE = '</script><img src="http://evil.example/x" onerror="alert(1)">'


def frame(arm: str = "mini", cluster: str | None = None, model: str = "big-2026") -> pl.DataFrame:
    start = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    return SCHEMA.frame(
        Pair(
            pair_id=f"p{number}",
            request_id=f"r{number}",
            trace_id="t",
            arm=arm,
            call_type="completion",
            started_at=start + timedelta(minutes=number),
            lag_s=0.25,
            cluster=cluster,
            tags=(),
            model_group=arm,
            messages=json.dumps([{"role": "user", "content": f"{ASKED} {model}"}]),
            params=None,
            stream=False,
            primary=Call("ok", model=model, latency_s=1.0, cost_usd=0.1, output=model, finish_reason=model),
            silent=Call("error", error_type=model, error_message=model, model=model),
        )
        for number in range(40)
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    compare(frame()).to_html(path, title="big or mini?")
    return path.read_text(encoding="utf-8")


def without_library(page: str) -> str:
    """The page without Plotly's own source, which is by far its longest script."""
    return page.replace(max(re.findall(r"<script.*?</script>", page, re.DOTALL), key=len), "")


def test_nothing_is_fetched_from_anywhere(page: str) -> None:
    own = without_library(page)
    assert not re.search(r"https?://|(?:src|href)=|@import|mathjax\.js", own)
    assert "default-src 'none'" in own


def test_plotly_is_embedded_once_and_draws_every_figure(page: str) -> None:
    assert 3_000_000 < len(page) < 8_000_000
    assert without_library(page).count("Plotly.newPlot(") == page.count("<figure>") == 4


def test_the_verdict_comes_first_then_what_it_rests_on(page: str) -> None:
    own = without_library(page)
    order = (
        "big or mini?</h1>", '<div class="verdict', '<table class="gates">', "What was seen",
        '<table class="metrics">', "<figure>", "The pairs that differ most", "To know when reading",
        "What was measured", "<footer>",
    )  # fmt: skip
    places = [own.index(words) for words in order]
    assert places == sorted(places)


def test_it_says_what_was_measured_and_when(page: str) -> None:
    for words in (
        "2026-11-02 23:30 to 2026-11-03 00:09 UTC",
        "big-2026 (40)",
        "error (40)",
        "0.250 s after the primary",
        "mirrorkit 0",
        "polars ",
        "litellm ",
    ):
        assert words in page


def test_conversations_are_pointed_out_only_where_there_are_any(page: str) -> None:
    words = "answers the primary&#x27;s history"
    assert words not in page
    assert words in report.page(compare(frame(cluster="chat-1")), title="x")


def test_hostile_text_is_shown_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    compare(frame(arm=HOSTILE, model=HOSTILE)).to_html(path, title=HOSTILE)
    own = without_library(path.read_text(encoding="utf-8"))
    assert "<img" not in own
    assert HOSTILE not in own
    assert "&lt;img" in own
    assert own.count("<script") == own.count("</script>")


def test_the_examples_are_of_the_metric_that_decides_and_show_prompt_and_both_answers() -> None:
    base = frame()
    pairs = base.with_columns(
        silent_status=pl.lit("ok"),
        silent_latency_s=pl.when(pl.col("pair_id") == "p7").then(9.0).otherwise(1.0),
        silent_output=pl.format("said in {}", "pair_id"),
        primary_output=pl.lit("x" * 2_000),
    )
    page = report.page(compare(pairs, gates={"latency": 1.1}), title="x")
    assert "The pairs that differ most in latency" in page
    first = page[page.index('<details class="example">') :]
    assert "p7" in first[: first.index("</summary>")]
    assert first.index(ASKED) < first.index("said in p7")
    assert "x" * 499 + "…" in first
    assert "x" * 500 not in first
    assert page.count('<details class="example">') == 10


@pytest.mark.parametrize(
    "messages", [None, "no JSON", "[]", '"text"', '[{"role": "user"}]', "3", "[3]", "{}"]
)
def test_messages_of_any_shape_make_a_report(messages: str | None) -> None:
    pairs = frame().with_columns(
        messages=pl.lit(messages, pl.String), silent_status=pl.lit("ok"), silent_latency_s=pl.lit(2.0)
    )
    page = report.page(compare(pairs, gates={"latency": 1.1}), title="x")
    assert (messages is None and "not on record" in page) or (messages or "").replace('"', "&quot;") in page


def test_without_gates_the_examples_are_the_least_alike() -> None:
    pairs = frame().with_columns(silent_status=pl.lit("ok"), silent_output=pl.lit("other"))
    page = report.page(compare(pairs, gates={}), title="x")
    assert "No gate is set." in page
    assert "The pairs that differ most in similarity" in page


def test_messages_nested_too_deep_to_read_are_shown_as_they_are() -> None:
    pairs = frame().with_columns(messages=pl.lit("[" * 200_000))
    page = report.page(compare(pairs, gates={"errors": 0.5}), title="x")
    assert "[" * 499 + "…" in page


def arms_of_the_examples(pairs: pl.DataFrame) -> list[str]:
    page = report.page(compare(pairs, gates={"errors": 0.5}), title="x")
    return re.findall(r'<details class="example"><summary>(.*?):', page)


def test_the_examples_are_of_the_arm_that_decides_however_much_another_differs() -> None:
    failing = frame("failing").with_columns(pl.format("f{}", "pair_id").alias("pair_id"))
    pairs = pl.concat([failing, frame("mini").with_columns(silent_status=pl.lit("ok"))])
    assert compare(pairs, gates={"errors": 0.5}).verdict.arm == "mini"
    assert arms_of_the_examples(pairs) == ["mini"] * 10


def test_control_pairs_are_no_examples() -> None:
    control = frame(CONTROL).with_columns(pl.format("c{}", "pair_id").alias("pair_id"))
    mini = frame().with_columns(silent_status=pl.lit("ok"))
    assert arms_of_the_examples(pl.concat([control, mini])) == ["mini"] * 10


def test_pairs_that_all_wait_for_an_older_request_make_a_report(tmp_path: Path) -> None:
    recording = Recording(frame())
    recording._before = datetime(2020, 1, 1, tzinfo=UTC)
    path = tmp_path / "report.html"
    recording.compare().to_html(path)
    assert "The pairs that differ most" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "it is a folder; name a file in it"),
        ("none/report.html", "there is no folder .*none; create it first"),
        ("x" * 300 + ".html", "; give a path that can be written to"),
    ],
)
def test_a_path_that_cannot_be_written_is_an_error_that_names_it(
    tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(CompareError, match=f"cannot write {re.escape(str(tmp_path / name))}: .*{words}"):
        compare(frame()).to_html(tmp_path / name)


def test_a_recording_in_place_of_its_frame_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(RecordingError, match=r"Recording: use \.compare\(\) on it, or give its \.frame$"):
        compare(Recording(frame()))  # type: ignore[arg-type]
