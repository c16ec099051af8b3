"""The report: one file that opens with no network, with everything in it and nothing hostile."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from mirrorkit.comparison import compare
from mirrorkit.errors import CompareError, RecordingError
from mirrorkit.notebook import report
from mirrorkit.notebook.page import pages
from mirrorkit.recording import Recording
from mirrorkit.records import CONTROL
from pairs import recorded

ASKED = "What is it about?"
HOSTILE = '</script><img src="http://evil.example/x" onerror="alert(1)">'


def frame(arm: str = "mini", cluster: str | None = None, model: str = "big-2026") -> pl.DataFrame:
    start = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
    return recorded(
        40,
        arm=arm,
        call_type="completion",
        started_at=[start + timedelta(minutes=number) for number in range(40)],
        lag_s=0.25,
        cluster=cluster,
        model_group=arm,
        messages=json.dumps([{"role": "user", "content": f"{ASKED} {model}"}]),
        status=("ok", "error"),
        error_type=(None, model),
        error_message=(None, model),
        model=model,
        latency_s=(1.0, None),
        cost_usd=(0.1, None),
        output=(model, None),
        finish_reason=(model, None),
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
    assert without_library(page).count("Plotly.newPlot(") == page.count("<figure>") == 7
    assert page.index("Plotly.newPlot(") > page.index("plotly.js v"), "drawn before it can draw"


def test_the_verdict_comes_first_then_what_it_rests_on(page: str) -> None:
    own = without_library(page)
    order = (
        "big or mini?</h1>", '<div class="verdict', "What it means</h2>", '<table class="gates">', "<figure>",
        "What was seen</h2>", '<table class="metrics">', "The pairs that differ most</h2>",
        "To know when reading</h3>", "What was measured</h2>", "<footer>",
    )  # fmt: skip
    places = [own.index(words) for words in order]
    assert places == sorted(places)


def test_it_says_what_was_measured_and_when(page: str) -> None:
    for words in (
        "2026-11-02 23:30 to 2026-11-03 00:09 UTC",
        "big-2026 (40)",
        "error (40)",
        "0.250 s apart from the primary",
        "mirrorkit 0",
        "polars ",
        "litellm ",
    ):
        assert words in page


def test_every_table_scrolls_in_itself_where_the_page_is_narrower(page: str) -> None:
    own = without_library(page)
    assert own.count("<table ") == own.count('<div class="wide"><table ') >= 5


def test_no_line_ends_between_a_number_and_its_unit() -> None:
    pairs = pl.concat(frame().with_columns(pl.col("pair_id", "request_id") + f"-{n}") for n in range(6))
    both = pairs.with_columns(silent_status=pl.lit("ok"), silent_latency_s=pl.lit(2.0))
    own = report.page(compare(both, gates={"latency": 1.1}), title="x", examples=0)
    table = own[own.index('<table class="told">') :].partition("</table>")[0]
    told = " ".join(re.findall("<td>([^<]*)</td></tr>", table))
    assert "takes longer than 1.00\N{NO-BREAK SPACE}s with the primary" in told
    assert not re.search(r"\d (?:s|%)", told)


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


@pytest.mark.parametrize("examples", [-1, 1.5, True, "20", None])
def test_a_number_of_examples_that_is_none_is_refused(examples: object) -> None:
    with pytest.raises(CompareError, match="give a whole number, 0 or more"):
        report.page(compare(frame()), title="x", examples=examples)  # type: ignore[arg-type]


def test_without_examples_no_text_of_a_pair_is_in_the_report() -> None:
    pairs = frame().with_columns(silent_status=pl.lit("ok"), silent_latency_s=pl.lit(2.0))
    assert ASKED in report.page(compare(pairs), title="x", examples=1)
    page = report.page(compare(pairs), title="x", examples=0)
    assert ASKED not in page
    assert "The pairs that differ most" not in page


def test_what_is_redacted_is_nowhere_in_the_report() -> None:
    said = frame().with_columns(
        silent_status=pl.lit("ok"),
        silent_latency_s=pl.lit(2.0),
        silent_output=pl.lit("Dear Ada"),
        primary_output=pl.lit('{"name": "\\u0041da", "Ada": 1}'),
        silent_tool_calls=pl.lit('[{"name": "find", "arguments": "{\\"who\\": \\"\\\\u0041da\\"}"}]'),
        messages=pl.lit('[{"role": "user", "content": "I am \\u0041da"}]'),
        silent_error_message=pl.lit("Ada is unknown"),
        note=pl.lit("Ada liked it"),
        judge_reason=pl.lit("Ada is named"),
    )
    seen = compare(said, gates={"similarity": 0.9})
    assert "Ada" in report.page(seen, title="x", examples=1)
    page = without_library(
        report.page(seen, title="x", examples=1, redact=lambda text: text.replace("Ada", "N.N."))
    )
    shown = page[page.index("The pairs that differ most") :]
    assert "Ada" not in page
    assert "0041da" not in page
    assert shown.count("N.N.") >= 7


def test_the_keys_of_json_answers_are_redacted_in_findings_and_figures() -> None:
    own = pl.lit('{"ada@x.org": 1, "bob@x.org": 1, "b": 2}')
    other = pl.lit('{"ada@x.org": 2, "bob@x.org": 3, "b": 2}')
    said = {"silent_status": pl.lit("ok"), "primary_output": own}
    again = frame(CONTROL).with_columns(**said, silent_output=own, pair_id="c" + pl.col("pair_id"))
    once = pl.concat([frame().with_columns(**said, silent_output=other), again])
    pairs = pl.concat(once.with_columns(pl.col("pair_id", "request_id") + f"-{n}") for n in range(5))
    seen = compare(pairs)
    assert [finding.path for finding in seen.findings if finding.path] == ['$["ada@x.org"]', '$["bob@x.org"]']
    assert "ada@x.org" in report.page(seen, title="x", examples=0)
    page = without_library(
        report.page(seen, title="x", examples=2, redact=lambda text: re.sub(r"\w+@x.org", "[mail]", text))
    )
    assert "@x.org" not in page
    found = page[page.index("<h3>Found") : page.index("What was seen")]
    assert "$[&quot;[mail]&quot;] in " in found
    assert "$[&quot;[mail]&quot;] (2) in " in found
    assert "ADA@X.ORG" in seen.with_paths(str.upper).outputs().to_json()


def test_what_is_unknown_is_not_none() -> None:
    names = ("pair_id", "arm", "primary_status", "silent_status", "primary_latency_s", "silent_latency_s")
    page = report.page(compare(frame().select(names)), title="x")
    facts = page[page.index("What was measured") :]
    for what in ("requests", "requests started", "streams"):
        assert f'<th scope="row">{what}</th><td>unknown</td>' in facts
    assert "<td>unknown</td><td>–</td></tr>" in facts
    assert "apart from the primary" not in facts


def test_it_says_of_how_many_pairs_something_is_unknown() -> None:
    some = pl.int_range(pl.len()) < 3
    pairs = frame().with_columns(
        pl.when(~some).then(name).alias(name) for name in ("request_id", "stream", "lag_s")
    )
    page = report.page(compare(pairs), title="x")
    assert "<td>37 (3 unknown)</td>" in page
    assert "<td>0 pairs (3 unknown)</td>" in page
    assert "<td>0.250 s apart from the primary (3 unknown)</td>" in page


def test_a_title_is_a_text_in_which_nothing_hides() -> None:
    with pytest.raises(CompareError, match="title=5: give a text"):
        report.page(compare(frame()), title=5)  # type: ignore[arg-type]
    page = report.page(compare(frame()), title="July \udcff \u202e")
    assert page.count("July ⟨U+DCFF⟩ ⟨U+202E⟩") == 2


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("earlier", encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(CompareError, match="title"):
        compare(frame()).to_html(path, title=5)  # type: ignore[arg-type]
    assert path.read_text(encoding="utf-8") == "earlier"
    pages.write(path, "a\udcffb")
    assert path.read_text(encoding="utf-8") == r"a\udcffb"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_an_earlier_report_is_replaced_not_overwritten(tmp_path: Path) -> None:
    """Who reads it meanwhile reads it to its end, and nothing is lost if writing fails half-way."""
    path, link = tmp_path / "report.html", tmp_path / "link.html"
    path.write_text("earlier", encoding="utf-8")
    link.symlink_to(path)
    with path.open(encoding="utf-8") as reader:
        pages.write(link, "new")
        assert reader.read() == "earlier"
    assert path.read_text(encoding="utf-8") == "new"
    assert link.is_symlink()


def test_what_is_no_file_is_written_to_and_not_replaced() -> None:
    pages.write(Path(os.devnull), "<p>new</p>")
    assert not Path(os.devnull).is_file()


def test_a_lazy_comparison_has_the_same_report_as_an_eager_one() -> None:
    pairs = frame().with_columns(silent_status=pl.lit("ok"), silent_output=pl.lit("other"))
    eager, lazy = (
        without_library(report.page(compare(each, gates={"similarity": 0.9}), title="x"))
        for each in (pairs, pairs.lazy())
    )
    assert ASKED in lazy
    start = "The pairs that differ most"
    assert lazy[lazy.index(start) :] == eager[eager.index(start) :]


def test_only_control_pairs_make_a_report() -> None:
    page = report.page(compare(frame(CONTROL)), title="x")
    assert "<footer>" in page


def test_answers_that_were_not_compared_make_a_report() -> None:
    page = report.page(compare(frame(), outputs=False), title="x")
    assert "<footer>" in page


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
