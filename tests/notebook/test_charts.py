"""The figures: true to the table, bounded in size, whole where data is missing, deaf to hostile text."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.estimates import estimate
from mirrorkit.notebook import charts, panels, theme
from mirrorkit.records import SCHEMA, Call, Pair

VIEWS = [charts.overview, charts.latency, charts.cost, charts.outputs]
START = datetime(2026, 11, 2, tzinfo=UTC)


def made(pairs: int, *, arms: tuple[str, ...] = ("mini",), group: str = "big") -> pl.DataFrame:
    """Pairs with latencies 0.01 s, 0.02 s …, the silent side at half of it, and a tenth failed."""
    return SCHEMA.frame(
        Pair(
            pair_id=f"{number}-{arm}",
            request_id=f"r{number}",
            trace_id="t",
            arm=arm,
            call_type="completion",
            started_at=START + timedelta(seconds=number),
            lag_s=0.1,
            cluster=None,
            tags=(),
            model_group=group,
            messages=None,
            params=None,
            stream=number % 2 == 0,
            primary=answer(number, 0.01),
            silent=Call("error", error_type="RateLimitError") if number % 10 == 9 else answer(number, 0.005),
        )
        for number in range(pairs)
        for arm in arms
    )


def answer(number: int, scale: float) -> Call:
    seconds = scale * (number + 1)
    return Call(
        "ok",
        latency_s=seconds,
        ttft_s=seconds / 4 if number % 2 == 0 else None,
        cost_usd=scale,
        output="word " * (number % 7),
        finish_reason="stop",
    )


def points(figure: Any) -> list[int]:
    return [len(trace.x) for trace in figure.data]


def texts(figure: Any) -> str:
    return json.dumps(figure.to_plotly_json(), default=str, ensure_ascii=False)


def named(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


@pytest.mark.parametrize("view", VIEWS)
def test_a_hundred_thousand_pairs_are_no_more_points_than_a_screen_shows(view: Callable[..., Any]) -> None:
    seed = made(1000, arms=("mini", "other", "control"))
    many = pl.concat([seed] * 34)
    assert many.height > 100_000
    figure = view(many)
    assert max(points(figure)) <= panels.POINTS
    assert len(texts(figure)) < 200_000


def test_the_distribution_of_few_calls_shows_every_one() -> None:
    figure = charts.latency(made(4))
    line = named(figure, "big (primary)")[0]
    assert list(line.x) == pytest.approx([0.01, 0.01, 0.02, 0.03, 0.04])
    assert list(line.y) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_a_thinned_distribution_keeps_its_ends_and_lies_on_the_whole_one() -> None:
    figure = charts.latency(made(2000))
    line = named(figure, "big (primary)")[0]
    values = [0.01 * (number + 1) for number in range(2000) if number % 10 != 9]
    assert (line.x[0], line.x[-1], line.y[-1]) == (pytest.approx(values[0]), pytest.approx(values[-1]), 1.0)
    for x, y in list(zip(line.x, line.y, strict=True))[1:]:
        assert sum(value <= x + 1e-9 for value in values) / len(values) == pytest.approx(y)


def test_the_ratio_is_drawn_where_ten_pairs_lie_on_either_side() -> None:
    figure = charts.latency(made(100))
    ratio = named(figure, "mini (silent)")[1]
    assert (ratio.x[0], ratio.x[-1]) == (12, 88)  # of the 90 pairs that are ok
    assert list(ratio.y) == pytest.approx([0.5] * len(ratio.y))


def test_bars_are_the_table() -> None:
    frame = made(50, arms=("mini", "control"))
    figure = charts.overview(frame)
    bars = [trace for trace in figure.data if trace.type == "bar"]
    cost = estimate(frame, ["cost"])
    errors = estimate(frame, ["errors"])
    assert [list(trace.x) for trace in bars] == [
        [1000 * value for value in cost["primary"]],
        [1000 * value for value in cost["silent"]],
        errors["primary"].to_list(),
        errors["silent"].to_list(),
    ]


def test_the_running_bill_ends_at_the_sum() -> None:
    figure = charts.cost(made(1000))
    primary, silent = named(figure, "big (primary)")[0], named(figure, "mini (silent)")[0]
    assert (primary.x[-1], primary.y[-1]) == (900, pytest.approx(9.0))
    assert (silent.x[-1], silent.y[-1]) == (900, pytest.approx(4.5))


def test_with_several_arms_a_primary_call_is_counted_once() -> None:
    figure = charts.cost(made(100, arms=("mini", "other")))
    assert named(figure, "big (primary)")[0].x[-1] == 90
    assert {trace.name for trace in figure.data if trace.name} == {
        "big (primary)",
        "mini (silent)",
        "other (silent)",
    }
    assert len({trace.line.dash for trace in figure.data if (trace.name or "").endswith("(silent)")}) == 2


def test_every_name_is_in_the_legend_once() -> None:
    figure = charts.latency(made(100, arms=("mini", "control")))
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == ["big (primary)", "mini (silent)", "primary again (control)"]


def test_lines_and_bars_of_one_name_are_both_in_the_legend_each_as_it_is_drawn() -> None:
    frame = made(100)
    for view, drawn in ((charts.outputs, {"scatter", "bar"}), (charts.cost, {"scatter"})):
        shown = [(trace.name, trace.type) for trace in view(frame).data if trace.showlegend]
        assert sorted(shown) == sorted(
            (name, k) for name in ("big (primary)", "mini (silent)") for k in drawn
        )
    without_text = frame.with_columns(primary_output=pl.lit(None, pl.String))
    assert {trace.type for trace in charts.outputs(without_text).data if trace.showlegend} == {"bar"}


def test_arms_are_told_apart_by_the_shade_of_their_bars() -> None:
    figure = charts.outputs(made(100, arms=("mini", "other", "third")))
    bars = [trace for trace in figure.data if trace.type == "bar" and (trace.name or "").endswith("(silent)")]
    assert len({trace.opacity for trace in bars}) == 3


@pytest.mark.parametrize("view", VIEWS)
def test_every_panel_says_how_many_pairs_it_rests_on(view: Callable[..., Any]) -> None:
    figure = view(made(100))
    titles = [note.text for note in figure.layout.annotations if note.yref == "paper"]
    assert titles
    assert all("n = " in title for title in titles)


def test_every_axis_has_a_title() -> None:
    for view in (charts.overview, charts.latency, charts.cost):
        figure = view(made(100))
        for axis in figure.select_xaxes():
            assert axis.title.text
    units = " ".join(axis.title.text for axis in charts.overview(made(100)).select_xaxes())
    assert "seconds" in units
    assert "USD" in units
    assert "characters" in units
    assert "share" in units


@pytest.mark.parametrize("view", VIEWS)
def test_columns_without_a_value_give_a_message_in_place_of_a_panel(view: Callable[..., Any]) -> None:
    bare = made(3).with_columns(
        pl.lit(None, kind).alias(name)
        for name, kind in SCHEMA.columns.items()
        if name not in ("pair_id", "arm", "primary_status", "silent_status")
    )
    for frame in (bare, SCHEMA.frame()):
        messages = [note.text for note in view(frame).layout.annotations if note.yref != "paper"]
        assert messages
    assert "no priced calls" in texts(charts.cost(bare))


def test_finish_reasons_and_errors_are_shares_of_each_side() -> None:
    figure = charts.outputs(made(100))
    finish, errors = named(figure, "mini (silent)")[1:]
    assert (list(finish.y), list(finish.x)) == (["stop"], [1.0])
    assert (list(errors.y), list(errors.x)) == (["RateLimitError"], [0.1])


def test_rare_kinds_are_put_together() -> None:
    frame = made(60).with_columns(primary_finish_reason=pl.format("reason {}", pl.int_range(pl.len()) % 20))
    finish = named(charts.outputs(frame), "big (primary)")[1]
    assert finish.y[-1] == "other kinds"
    assert sum(finish.x) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "hostile",
    [
        '<a href="javascript:alert(1)">x</a>',
        "a<br>b",
        "</script><script>alert(1)</script>",
        "$\\href{javascript:alert(1)}{x}$",
        "%{customdata}\x1b[31m\u202e",
    ],
)
@pytest.mark.parametrize("view", VIEWS)
def test_hostile_text_is_drawn_and_not_read(view: Callable[..., Any], hostile: str) -> None:
    frame = made(40, arms=(hostile,), group=hostile).with_columns(
        pl.lit(hostile).alias(name)
        for name in ("primary_finish_reason", "silent_finish_reason", "silent_error_type", "primary_model")
    )
    drawn = texts(view(frame)).replace("<br>n = ", "").replace("<extra>", "").replace("</extra>", "")
    for sign in ("<", "$", "\x1b", "\u202e", "\\u001b"):
        assert sign not in drawn


def test_a_name_never_gets_into_a_hover_template() -> None:
    figure = charts.overview(made(40, arms=("%{x}",)))
    for trace in figure.data:
        assert "%{x}" not in (trace.hovertemplate or "").replace("%{x}</extra>", "")
        assert "<extra>" in (trace.hovertemplate or "<extra>")


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats() | st.just(5e-324), st.floats() | st.just(1.7e308), st.floats()),
        min_size=1,
        max_size=40,
    )
)
def test_any_numbers_make_a_figure(rows: list[tuple[float, float, float]]) -> None:
    base = made(1).row(0, named=True)
    pair_of = [
        {**base, "primary_latency_s": a, "silent_latency_s": b, "primary_cost_usd": b, "silent_cost_usd": c}
        for a, b, c in rows
    ]
    frame = pl.DataFrame(pair_of, schema=dict(SCHEMA.columns))
    for view in VIEWS:
        view(frame).to_json()


@given(st.floats(1e-320, 1e308), st.floats(1, 1e9))
def test_log_ticks_are_few_positive_and_near_the_range(low: float, factor: float) -> None:
    high = low * factor
    if math.isinf(high):
        return
    ticks, labels = theme.log_ticks(low, high, "s")
    assert len(ticks) == len(labels) <= 16
    assert all(0 < tick < math.inf for tick in ticks)


@given(st.floats(1e-320, 1e308), st.floats(1, 1e9))
def test_a_log_axis_has_room_on_both_sides_and_a_tick(low: float, factor: float) -> None:
    high = low * factor
    if math.isinf(high):
        return
    first, last = theme.log_range(low, high)
    assert first < math.log10(low) <= math.log10(high) < last
    if 1e-290 < low < high < 1e290:  # nearer the ends of what a float can hold, ticks are left out
        assert any(first <= math.log10(tick) <= last for tick in theme.log_ticks(low, high, "s")[0])


def test_no_distribution_touches_the_frame() -> None:
    for figure in (charts.overview(made(50)), charts.latency(made(50)), charts.outputs(made(50))):
        for trace in figure.select_traces({"type": "scatter"}):
            axis = figure.layout[trace.xaxis.replace("x", "xaxis")]
            if axis.type == "log":
                shown = [x for x in trace.x if x > 0]
                assert axis.range[0] < math.log10(min(shown)) <= math.log10(max(shown)) < axis.range[1]


def test_the_order_of_rows_is_not_the_order_of_the_bill() -> None:
    frame = made(50).with_columns(primary_cost_usd=pl.int_range(pl.len()).cast(pl.Float64))
    forth, back = charts.cost(frame), charts.cost(frame.reverse())
    assert named(forth, "big (primary)")[0].y == named(back, "big (primary)")[0].y


def test_an_answer_of_no_characters_does_not_break_the_log_axis() -> None:
    empty = replace(answer(0, 1.0), output="")
    frame = made(3).with_columns(primary_output=pl.lit(empty.output), silent_output=pl.lit(""))
    assert charts.outputs(frame).layout.xaxis.type != "log"
