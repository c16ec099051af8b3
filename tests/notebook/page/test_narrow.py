"""The report in a narrow window: what is wide scrolls in itself, and the page does not."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mirrorkit as mk
from pairs import recorded

pytestmark = pytest.mark.slow


def test_the_page_is_no_wider_than_a_narrow_window(page: Any, tmp_path: Path) -> None:
    arms = [
        recorded(
            40,
            name=arm,
            arm=f"provider/{arm}-with-a-long-name-2026-11-02",
            model=(f"gpt-large-{arm}", f"provider/{arm}-with-a-long-name-2026-11-02"),
            lag_s=10.0,
            overhead_s=0.00321,
            status=["ok", "error"] * 20,
            latency_s=([1.0 + row / 40 for row in range(40)], 0.5),
            cost_usd=(0.002, 0.001),
            output=(
                json.dumps({"a long name of a field": 1}),
                json.dumps({"a long name of a field": "x" * 200}),
            ),
        )
        for arm in ("mini", "nano", "micro", "pico", "femto")
    ]
    path = tmp_path / "report.html"
    mk.compare(pl.concat(arms), gates={"latency": 1.1, "errors": 0.01}, progress=False).to_html(path)
    for width in (500, 360):
        page.set_viewport_size({"width": width, "height": 1_000})
        page.goto(path.as_uri())
        page.wait_for_function("() => document.querySelectorAll('.main-svg g.trace').length > 6")
        page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
