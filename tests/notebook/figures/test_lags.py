"""Lag, and LiteLLM's own share of latency: of all calls, and over time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from mirrorkit.notebook import charts
from pairs import recorded

START = datetime(2026, 11, 1, 9, tzinfo=UTC)


def pairs(lags: Sequence[float | None], arm: str = "mini", share: float | None = 0.1) -> pl.DataFrame:
    return recorded(
        len(lags),
        name=f"{arm} ",
        arm=arm,
        started_at=[START + timedelta(seconds=number) for number in range(len(lags))],
        lag_s=list(lags),
        latency_s=2.0,
        overhead_s=(share and 2 * share, share and 4 * share),
    )


def of_panel(figure: Any, number: int) -> dict[str, Any]:
    axis = "x" if number == 1 else f"x{number}"
    return {trace.name: trace for trace in figure.data if trace.xaxis == axis and trace.name}


def subtitle(figure: Any) -> str:
    return str(figure.layout.title.subtitle.text)


def test_the_distribution_is_of_each_arms_lag() -> None:
    figure = charts.lag(pl.concat([pairs([0.1, 0.2]), pairs([3.0, 4.0], "control")]))
    drawn = of_panel(figure, 1)
    assert list(drawn["mini (silent)"].x) == [0.1, 0.1, 0.2]
    assert list(drawn["primary again (control)"].x) == [3.0, 3.0, 4.0]


def test_medians_and_p95_follow_the_time() -> None:
    figure = charts.lag(pairs([0.1] * 600 + [0.8] * 600))
    drawn = of_panel(figure, 2)
    median, p95 = drawn["mini (silent)"], drawn["mini (silent), p95"]
    assert median.y[0] == pytest.approx(0.1)
    assert median.y[-1] == pytest.approx(0.8)
    assert len(p95.y) == len(median.y)
    assert median.x[0].startswith("2026-11-01 09:00")


def test_p95_is_left_out_where_a_bin_has_few_calls() -> None:
    assert set(of_panel(charts.lag(pairs([0.1, 0.2, 0.3] * 10)), 2)) == {"mini (silent)"}


def test_the_share_is_litellms_time_over_the_calls_of_both_sides_in_per_cent() -> None:
    figure = charts.lag(pairs([0.1] * 5))
    drawn = of_panel(figure, 3)
    assert list(drawn["big (primary)"].x) == pytest.approx([10.0] * 6)
    assert list(drawn["mini (silent)"].x) == pytest.approx([20.0] * 6)
    assert "LiteLLM itself took 10.0 % of primary latency and 20.0 % of silent latency" in subtitle(figure)


def test_the_sentence_tells_p95_only_of_200_calls_or_more() -> None:
    assert "95 % within" not in subtitle(charts.lag(pairs([0.1] * 199)))
    assert "95 % within 0.100 s" in subtitle(charts.lag(pairs([0.1] * 200)))


def test_what_is_unknown_is_said_and_is_not_zero() -> None:
    figure = charts.lag(pairs([None, 0.5], share=None))
    assert list(of_panel(figure, 1)["mini (silent)"].x) == [0.5, 0.5]
    assert "n = 1 call" in next(note.text for note in figure.layout.annotations)
    assert [note.text for note in figure.layout.annotations].count("LiteLLM did not say") == 2
    assert "not on record" in subtitle(charts.lag(pairs([None])))


def test_a_lag_of_nothing_has_no_place_on_a_log_axis_and_breaks_nothing() -> None:
    figure = charts.lag(pairs([0.0] * 30, share=0.0))
    assert "no lag above 0" in [note.text for note in figure.layout.annotations]
