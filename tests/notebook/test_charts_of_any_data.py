"""Latency, errors and lag draw, or say what is missing, whatever is in the frame, and however much of it."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.comparison import compare
from mirrorkit.notebook import charts
from mirrorkit.records import SCHEMA
from mirrorkit.store.files import conform
from pairs import recorded

View = Callable[[pl.DataFrame], Any]
VIEWS: list[View] = [charts.latency, charts.errors, charts.lag]


def busy(requests: int, arms: tuple[str, ...] = ("mini",)) -> pl.DataFrame:
    """Pairs of a run in which half of all calls stream, and a third fail."""
    random = np.random.default_rng(5)
    start = np.datetime64("2026-11-01", "us") + np.cumsum(random.integers(1, 10**6, requests))
    base = random.lognormal(0, 0.5, requests)
    shared = {
        "model_group": "chat",
        "started_at": pl.Series(start).dt.replace_time_zone("UTC"),
        "stream": random.random(requests) < 0.5,
        "messages": [f'[{{"role": "user", "content": "Question {number}?"}}]' for number in range(requests)],
    }

    def side(name: str) -> dict[str, Any]:
        kind = random.choice(["ok", "ok", "RateLimitError", "Timeout"], requests)
        latency = base * random.lognormal(0, 0.3, requests)
        return {
            f"{name}_status": np.where(kind == "ok", "ok", "error"),
            f"{name}_error_type": np.where(kind == "ok", "", kind),
            f"{name}_latency_s": latency,
            f"{name}_ttft_s": latency / 5,
            f"{name}_overhead_s": latency * random.lognormal(-4, 0.5, requests),
        }

    primary = side("primary")
    return pl.concat(
        recorded(
            requests, name=f"{arm} ", arm=arm, **shared, **primary, **side("silent"),
            lag_s=random.lognormal(0, 0.5, requests),
        )
        for arm in arms
    )  # fmt: skip


def nothing_known(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        pl.lit(None, kind).alias(name)
        for name, kind in SCHEMA.columns.items()
        if name not in ("pair_id", "arm")
    )


def all_failed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        primary_status=pl.lit("error"),
        silent_status=pl.lit("timeout"),
        primary_latency_s=pl.lit(None, pl.Float64),
        silent_latency_s=pl.lit(None, pl.Float64),
    )


FRAMES: dict[str, pl.DataFrame] = {
    "no pairs": SCHEMA.frame(),
    "null everywhere": nothing_known(busy(30)),
    "one pair": busy(1),
    "all errors": all_failed(busy(50)),
    "no streams": busy(50).with_columns(stream=pl.lit(False)),
    "streams without a first token": busy(50).with_columns(primary_ttft_s=pl.lit(None, pl.Float64)),
    "control only": busy(50, ("control",)),
    "many arms": busy(40, tuple(f"arm {number}" for number in range(30))),
    "many groups": busy(40).with_columns(model_group=pl.format("group {}", pl.int_range(pl.len()))),
    "no start known": busy(50).with_columns(started_at=pl.lit(None, pl.Datetime("us", "UTC"))),
    "all at once": busy(50).with_columns(started_at=pl.lit(datetime(2026, 1, 1, tzinfo=UTC))),
    "all alike": busy(50).with_columns(primary_latency_s=pl.lit(1.0), silent_latency_s=pl.lit(1.0)),
    "zero and infinite": busy(50).with_columns(
        primary_latency_s=pl.lit(0.0), silent_latency_s=pl.lit(math.inf), lag_s=pl.lit(math.nan)
    ),
    "no texts": busy(50).drop("messages"),
}


def texts(figure: Any) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def points(figure: Any) -> int:
    return sum(
        sum(len(row) for row in trace.z) if trace.type == "heatmap" else len(trace.x) for trace in figure.data
    )


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", FRAMES)
def test_each_panel_is_drawn_or_says_what_is_missing(view: View, name: str) -> None:
    figure = view(FRAMES[name])
    assert len(figure.to_json()) < 300_000
    drawn = {(trace.xaxis or "x").replace("x", "xaxis") for trace in figure.data}
    assert drawn == {axis.plotly_name for axis in figure.select_xaxes()}
    assert all("n = " in text for text in texts(figure)[: len(drawn)])
    assert "NaN" not in figure.to_json()


@pytest.mark.parametrize(
    ("view", "name", "message"),
    [
        (charts.latency, "null everywhere", "no pair with latency on both sides"),
        (charts.latency, "all errors", "no pair with latency on both sides"),
        (charts.latency, "one pair", "needs 20 pairs"),
        (charts.latency, "streams without a first token", "no pair with time to first token on both sides"),
        (charts.errors, "null everywhere", "no finished calls"),
        (charts.lag, "null everywhere", "no lag on record"),
        (charts.lag, "null everywhere", "LiteLLM did not say"),
    ],
)
def test_what_is_missing_is_named(view: View, name: str, message: str) -> None:
    assert message in texts(view(FRAMES[name]))


@pytest.mark.parametrize("view", VIEWS)
def test_the_control_alone_is_drawn_beside_the_primary(view: View) -> None:
    figure = view(FRAMES["control only"])
    assert "primary again (control)" in str(figure.to_dict())


@pytest.mark.parametrize("view", VIEWS)
def test_a_figure_does_not_grow_with_the_pairs(view: View) -> None:
    few, many = view(busy(1_000)), view(busy(100_000))
    assert points(many) <= 1.2 * points(few)
    assert len(many.to_json()) < 300_000


@pytest.mark.parametrize("view", VIEWS)
def test_the_order_of_rows_does_not_matter(view: View) -> None:
    frame = busy(300).with_columns(messages=pl.lit(None, pl.String))
    assert json.loads(view(frame).to_json()) == json.loads(view(frame.reverse()).to_json())


def test_a_lazy_frame_has_the_same_figures_without_prompts() -> None:
    frame = busy(60, ("mini", "control"))
    lazy = compare(frame.lazy(), progress=False)
    assert "messages" not in lazy.frame.columns
    without = charts.latency(frame.drop("messages"))
    assert json.loads(lazy.latency().to_json()) == json.loads(without.to_json())
    for figure in (lazy.errors(), lazy.lag()):
        assert figure.data


NUMBERS = st.none() | st.floats() | st.sampled_from([0.0, 5e-324, 1.7e308])
ROWS = st.fixed_dictionaries(
    {
        "arm": st.sampled_from(["mini", "other", "control", "<b>$"]),
        "started_at": st.none()
        | st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)),
        "stream": st.none() | st.booleans(),
        "messages": st.none() | st.text(max_size=20) | st.text(max_size=20).map(json.dumps),
        "lag_s": NUMBERS,
        **{
            f"{side}_{name}": values
            for side in ("primary", "silent")
            for name, values in (
                ("status", st.none() | st.sampled_from(["ok", "ok", "ok", "error", "timeout", "cancelled"])),
                ("error_type", st.none() | st.text(max_size=10)),
                ("latency_s", NUMBERS),
                ("ttft_s", NUMBERS),
                ("overhead_s", NUMBERS),
            )
        },
    }
)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.lists(ROWS, max_size=30))
def test_any_frame_makes_figures(rows: list[dict[str, Any]]) -> None:
    numbered = [{**row, "pair_id": str(number)} for number, row in enumerate(rows)]
    columns = {name: kind for name, kind in SCHEMA.columns.items() if rows and name in numbered[0]}
    frame = conform(pl.DataFrame(numbered, schema=columns)) if rows else SCHEMA.frame()
    for view in VIEWS:
        figure = view(frame)
        assert figure.data
        assert "Infinity" not in figure.to_json()
