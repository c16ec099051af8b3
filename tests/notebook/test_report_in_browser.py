"""The report in a real browser: hostile texts in every column stay texts, figures are drawn, paper is fit."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mirrorkit as mk
from mirrorkit.records import SCHEMA, Call, Pair

pytestmark = pytest.mark.slow

HOSTILE = (
    "</script></style></textarea></title></pre></details></table>"
    "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'><svg onload='window.hacked=1'>"
    "<iframe src='https://evil.example/'></iframe><link rel=stylesheet href='https://evil.example/'>"
    "<style>@import 'https://evil.example/';</style>"
    "<meta http-equiv=refresh content='0;url=https://evil.example'>"
    "<a href='javascript:window.hacked=1'>click</a> [click](javascript:window.hacked=1) "
    "{{7*7}} ${window.hacked=1}"
    "\x1b[2J\x1b]0;title\x07 \u202eevil\u202c \u0000 $\\href{javascript:hacked=1}{x}$ "
)
FIGURES = 7
WIDE, NARROW = 1280, 640


def frame() -> pl.DataFrame:
    """Sixty pairs of three arms that differ, hostile wherever there is text."""
    call: dict[str, Any] = {
        "error_message": HOSTILE,
        "error_type": HOSTILE,
        "model": HOSTILE,
        "provider": HOSTILE,
        "finish_reason": HOSTILE,
        "usage_source": "provider",
        "tool_calls": json.dumps([{"name": HOSTILE, "arguments": json.dumps({HOSTILE: HOSTILE})}]),
    }
    answers = [
        HOSTILE,
        json.dumps({HOSTILE: HOSTILE}),
        HOSTILE + "x" * 1_000_000,
        f"{HOSTILE} and more",
        "[1]",
    ]
    start = pl.datetime(2026, 11, 2, time_zone="UTC")
    pairs = [
        Pair(
            pair_id=f"{number} {HOSTILE}",
            request_id=f"{number} {HOSTILE}",
            trace_id=HOSTILE,
            arm=f"{HOSTILE}{number % 2}",
            call_type=HOSTILE,
            started_at=None,  # type: ignore[arg-type]
            lag_s=0.1 + number / 100,
            cluster=None,
            tags=(f"{number % 2} {HOSTILE}",),
            model_group=f"{number % 2} {HOSTILE}",
            messages=json.dumps(
                [{"role": HOSTILE, "content": [HOSTILE, {"type": HOSTILE}], "name": HOSTILE}]
            ),
            params=HOSTILE,
            stream=number % 2 == 0,
            primary=Call(
                "ok", latency_s=1 + number / 10, cost_usd=0.1, ttft_s=0.1, output=answers[number % 3], **call
            ),
            silent=Call(
                "error" if number % 9 == 0 else "ok",
                latency_s=2 + number / 20,
                cost_usd=0.2,
                ttft_s=0.1,
                output=answers[number % 5],
                **call,
            ),
            preference="silent",
            note=HOSTILE,
        )
        for number in range(60)
    ]
    return SCHEMA.frame(pairs).with_columns(
        started_at=start + pl.duration(seconds=pl.int_range(pl.len())),
        judge_preference=pl.lit("tie"),
        judge_reason=pl.lit(HOSTILE),
        judge_model=pl.lit(HOSTILE),
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    metrics = {HOSTILE: pl.col("silent_latency_s") < 3}
    mk.compare(frame(), metrics=metrics, gates={"latency": 1.1, HOSTILE: 0.5}, progress=False).to_html(
        path, title=HOSTILE
    )
    return path


def opened(page: Any, report: Path) -> None:
    page.goto(report.as_uri())
    drawn = f"() => document.querySelectorAll('.main-svg g.trace').length > {FIGURES}"
    page.wait_for_function(drawn)


def assert_inert(page: Any) -> None:
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("main img, iframe, link, main style, meta[http-equiv=refresh]").count() == 0
    assert page.locator("main a[href], svg a[href]").count() == 0
    assert page.foreign == []
    assert page.errors == []


def test_hostile_texts_run_nothing_and_ask_for_nothing(page: Any, report: Path) -> None:
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if said.type == "error" else None)
    opened(page, report)
    page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.locator("details.example").count() == 20
    for number in range(3):
        page.locator("details.example pre").nth(number).hover()
    for plot in page.locator(".nsewdrag").all()[:6]:
        plot.hover(force=True)
    assert_inert(page)
    assert refused == [], "the page's policy had to refuse something"
    text = page.locator("details.example").first.inner_text()
    assert "<script>window.hacked=1</script>" in text
    assert "U+202E" in text
    assert report.stat().st_size < 7_000_000


def test_all_figures_are_drawn_and_fit_at_two_widths(page: Any, report: Path, tmp_path: Path) -> None:
    for width, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page.set_viewport_size({"width": width, "height": 1_000})
        page.emulate_media(color_scheme=scheme)
        opened(page, report)
        drawn = page.eval_on_selector_all(
            "figure .js-plotly-plot", "all => all.map(each => each.querySelectorAll('g.trace').length)"
        )
        assert len(drawn) == FIGURES
        assert all(drawn)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
        page.screenshot(path=str(tmp_path / f"report-{width}.png"), full_page=True)
    assert_inert(page)


def test_on_paper_no_figure_is_cut_and_examples_are_open(page: Any, report: Path, tmp_path: Path) -> None:
    opened(page, report)
    before = page.eval_on_selector_all(".js-plotly-plot", "all => all.map(each => each.offsetWidth)")
    folded = "() => document.querySelectorAll('details.example:not([open])').length"
    were_folded = page.evaluate(folded)
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    boxes = page.eval_on_selector_all(
        "figure .main-svg:first-child",
        "all => all.map(each => each.getBoundingClientRect()).map(box => [box.width, box.height])",
    )
    assert len(boxes) == FIGURES
    assert page.evaluate(folded) == 0
    # A4 and Letter less 14 mm on each side, at 96 pixels an inch
    assert all(width <= 687 and height <= 950 for width, height in boxes), boxes
    page.emulate_media(media="screen")
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(folded) == were_folded == 19
    assert page.eval_on_selector_all(".js-plotly-plot", "all => all.map(each => each.offsetWidth)") == before
    page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "report.pdf").read_bytes()))
    assert pages > FIGURES
    assert_inert(page)
