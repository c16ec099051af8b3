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

from mirrorkit.compare.answers.fields import FIELDS
from mirrorkit.compare.measured import measured
from mirrorkit.compare.plan import Plan
from mirrorkit.compare.rows import TABLE
from mirrorkit.comparison import Comparison, compare
from mirrorkit.notebook import charts, theme
from mirrorkit.notebook.figures import forest, panels
from mirrorkit.records import SCHEMA, Call, Pair

VIEWS: list[Callable[[Comparison], Any]] = [
    Comparison.plot,
    Comparison.latency,
    Comparison.cost,
    Comparison.outputs,
    Comparison.errors,
    Comparison.lag,
]
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
        overhead_s=seconds / 50,
        cost_usd=scale,
        output="word " * (number % 7),
        finish_reason="stop",
    )


def seen(pairs: pl.DataFrame, **given: Any) -> Comparison:
    return compare(pairs, progress=False, **given)


def points(figure: Any) -> list[int]:
    return [len(trace.x) for trace in figure.data]


def texts(figure: Any) -> str:
    return json.dumps(figure.to_plotly_json(), default=str, ensure_ascii=False)


def named(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def names_on(figure: Any, trace: Any) -> list[str]:
    """What stands above each bar of a trace."""
    (names,) = [each for each in named(figure, theme.NAMES) if each.yaxis == trace.yaxis]
    return [names.text[place] for place in trace.y]


def test_however_many_pairs_there_are_no_more_points_than_a_screen_shows() -> None:
    many = seen(made(12_000, arms=("mini", "other", "control")))
    for view in VIEWS:
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
    comparison = seen(made(50, arms=("mini", "control")))
    cost, errors, identical = [trace for trace in comparison.plot().data if trace.type == "bar"]
    rows = comparison.table.unique(["arm", "metric"], keep="first", maintain_order=True)

    def sides(metric: str) -> list[float]:
        chosen = rows.filter(pl.col("metric") == metric)
        return [value for pair in chosen.select("primary", "silent").rows() for value in pair]

    assert list(cost.x) == [1000 * value for value in sides("cost")]
    assert list(errors.x) == sides("errors")
    assert list(identical.x) == rows.filter(pl.col("metric") == "identical")["effect"].to_list()


def test_a_whisker_is_the_interval_of_the_table_and_where_there_is_none_there_is_no_whisker() -> None:
    comparison = seen(made(120))
    row = comparison.table.filter(metric="errors").row(0, named=True)
    cost, errors, identical = [
        list(trace.x)
        for trace in comparison.plot().select_traces({"type": "scatter"})
        if trace.mode == "lines+markers"
    ]
    assert comparison.table.filter(metric="cost")["low"][0] is None
    assert cost == []
    assert errors == [max(row["primary"] + row["low"], 0), row["primary"] + row["high"], None]
    assert len(identical) == 3


def test_the_running_bill_ends_at_the_sum() -> None:
    figure = seen(made(1000)).cost()
    primary, silent = named(figure, "big (primary)")[0], named(figure, "mini (silent)")[0]
    assert (primary.x[-1], primary.y[-1]) == (900, pytest.approx(9.0))
    assert (silent.x[-1], silent.y[-1]) == (900, pytest.approx(4.5))


def test_with_several_arms_a_primary_call_is_counted_once() -> None:
    figure = seen(made(100, arms=("mini", "other"))).cost()
    assert named(figure, "big (primary)")[0].x[-1] == 90
    lines = {trace.name for trace in figure.data if trace.type == "scatter" and trace.mode == "lines"}
    assert lines == {"big (primary)", "mini (silent)", "other (silent)"}
    assert len({trace.line.dash for trace in figure.data if (trace.name or "").endswith("(silent)")}) == 2


def test_every_name_is_in_the_legend_once() -> None:
    figure = charts.latency(made(100, arms=("mini", "control")))
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(shown) == ["big (primary)", "mini (silent)", "primary again (control)"]


def test_lines_and_bars_of_one_name_are_both_in_the_legend_each_as_it_is_drawn() -> None:
    frame = made(100)
    for view, drawn in ((Comparison.outputs, {"scatter", "bar"}), (Comparison.cost, {"scatter"})):
        shown = [(trace.name, trace.type) for trace in view(seen(frame)).data if trace.showlegend]
        assert sorted(shown) == sorted(
            (name, k) for name in ("big (primary)", "mini (silent)") for k in drawn
        )
    # of a call of unknown type, what is not on record is not known to be blank
    unknown = (pl.lit(None, pl.String).alias(name) for name in ("primary_output", "call_type"))
    without_text = frame.with_columns(unknown)
    assert {trace.type for trace in seen(without_text).outputs().data if trace.showlegend} == {"bar"}


def test_arms_are_told_apart_by_the_shade_of_their_bars() -> None:
    figure = seen(made(100, arms=("mini", "other", "third"))).outputs()
    bars = [trace for trace in figure.data if trace.type == "bar" and (trace.name or "").endswith("(silent)")]
    assert len({trace.opacity for trace in bars}) == 3


@pytest.mark.parametrize("view", VIEWS)
def test_every_panel_says_how_many_pairs_it_rests_on(view: Callable[[Comparison], Any]) -> None:
    figure = view(seen(made(100)))
    titles = [note.text for note in figure.layout.annotations if note.yref == "paper"]
    assert titles
    assert all("n = " in title for title in titles if title != "Gates")


def test_every_axis_has_a_title() -> None:
    for view in VIEWS:
        figure = view(seen(made(100)))
        for axis in figure.select_xaxes():
            assert axis.title.text
    units = " ".join(axis.title.text for axis in seen(made(100)).plot().select_xaxes())
    for unit in ("seconds", "USD", "share"):
        assert unit in units


@pytest.mark.parametrize("view", VIEWS)
def test_columns_without_a_value_give_a_message_in_place_of_a_panel(
    view: Callable[[Comparison], Any],
) -> None:
    bare = made(3).with_columns(
        pl.lit(None, kind).alias(name)
        for name, kind in SCHEMA.columns.items()
        if name not in ("pair_id", "arm", "primary_status", "silent_status")
    )
    messages = [note.text for note in view(seen(bare)).layout.annotations if note.yref != "paper"]
    assert messages
    assert "no priced calls" in texts(seen(bare).cost())


def test_no_pairs_at_all_give_messages_too() -> None:
    none = measured(SCHEMA.frame(), Plan())
    for figure in (
        charts.latency(none),
        charts.cost(none, pl.DataFrame(schema=TABLE)),
        charts.outputs(none, pl.DataFrame(schema=TABLE), pl.DataFrame(schema=FIELDS)),
    ):
        assert [note.text for note in figure.layout.annotations if note.yref != "paper"]


def test_finish_reasons_and_errors_are_shares_of_each_side() -> None:
    figure = seen(made(100)).outputs()
    finish, errors = [trace for trace in named(figure, "mini (silent)") if trace.type == "bar"]
    assert (names_on(figure, finish), list(finish.x)) == (["stop"], [1.0])
    assert (names_on(figure, errors), list(errors.x)) == (["RateLimitError"], [0.1])


def test_rare_kinds_are_put_together() -> None:
    frame = made(60).with_columns(primary_finish_reason=pl.format("reason {}", pl.int_range(pl.len()) % 20))
    figure = seen(frame).outputs()
    finish = named(figure, "big (primary)")[1]
    assert names_on(figure, finish)[-1] == "other kinds"
    assert sum(finish.x) == pytest.approx(1.0)


@pytest.mark.slow
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
def test_hostile_text_is_drawn_and_not_read(view: Callable[[Comparison], Any], hostile: str) -> None:
    frame = made(40, arms=(hostile,), group=hostile).with_columns(
        pl.lit(hostile).alias(name)
        for name in ("primary_finish_reason", "silent_finish_reason", "silent_error_type", "primary_model")
    )
    drawn = texts(view(seen(frame))).replace("<br>", "").replace("<extra>", "").replace("</extra>", "")
    for sign in ("<", "$", "\x1b", "\u202e", "\\u001b"):
        assert sign not in drawn


def test_a_name_never_gets_into_a_hover_template() -> None:
    figure = seen(made(40, arms=("%{x}",))).plot()
    for trace in figure.data:
        assert "%{x}" not in (trace.hovertemplate or "").replace("%{x}</extra>", "")
        assert "<extra>" in (trace.hovertemplate or "<extra>")


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
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
    comparison = seen(frame)
    for view in VIEWS:
        view(comparison).to_json()


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
    for figure in (view(seen(made(50))) for view in VIEWS):
        for trace in figure.select_traces({"type": "scatter"}):
            axis = figure.layout[trace.xaxis.replace("x", "xaxis")]
            if axis.type == "log":
                shown = [x for x in trace.x if x > 0]
                assert axis.range[0] < math.log10(min(shown)) <= math.log10(max(shown)) < axis.range[1]


def test_the_order_of_rows_is_not_the_order_of_the_bill() -> None:
    frame = made(50).with_columns(primary_cost_usd=pl.int_range(pl.len()).cast(pl.Float64))
    forth, back = seen(frame).cost(), seen(frame.reverse()).cost()
    assert named(forth, "big (primary)")[0].y == named(back, "big (primary)")[0].y


def test_an_answer_of_no_characters_does_not_break_the_log_axis() -> None:
    empty = replace(answer(0, 1.0), output="")
    frame = made(3).with_columns(primary_output=pl.lit(empty.output), silent_output=pl.lit(""))
    assert seen(frame).outputs().layout.xaxis.type != "log"


def gates(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.xaxis == "x" and trace.name}


def test_a_gate_that_is_passed_lies_before_its_margin_and_one_that_failed_beyond_it() -> None:
    comparison = seen(made(400), gates={"latency": 1.1, "cost": 0.4, "errors": 0.1})
    assert comparison.gates["state"].to_list() == ["passed", "failed", "open"]
    drawn = gates(comparison.plot())
    latency, cost, errors = drawn["effect"].x
    assert latency < 0 < cost
    every_look = drawn["95 %, every look"].x
    assert max(every_look[0], every_look[1]) < 0 < min(every_look[3], every_look[4])
    assert every_look[6] < 0 < every_look[7], "what is open has its margin within its interval"
    assert every_look[6] < errors < every_look[7]


def test_a_metric_that_should_be_high_passes_on_the_same_side() -> None:
    comparison = seen(made(400), gates={"identical": 0.5})
    assert comparison.gates["state"].to_list() == ["passed"]
    assert gates(comparison.plot())["effect"].x[0] < 0


def test_each_gate_is_named_with_its_state_in_words() -> None:
    comparison = seen(made(400, arms=("mini", "other")), gates={"latency": 1.1, "errors": 0.1})
    labels = gates(comparison.plot())[theme.NAMES].text
    assert [label[: label.index(mark) - 1] for label, mark in zip(labels, "✓○✓○", strict=True)] == [
        "mini: latency &lt; ×1.1",
        "mini: errors &lt; +10 points",
        "other: latency &lt; ×1.1",
        "other: errors &lt; +10 points",
    ]
    assert "✓ passed after" in labels[0]
    assert "○ open" in labels[1]


def test_a_gate_without_an_interval_has_a_dot_and_no_bar() -> None:
    comparison = seen(made(20), gates={"latency": 1.1})
    drawn = gates(comparison.plot())
    assert list(drawn["95 %, every look"].x) == []
    assert "no interval yet" in drawn["effect"].text[0]


def test_a_gate_on_what_was_not_measured_is_drawn_without_a_place() -> None:
    frame = made(20).with_columns(stream=pl.lit(False))
    figure = seen(frame, gates={"ttft": 1.1}).plot()
    assert list(gates(figure)["effect"].x) == []
    assert "ttft &lt; ×1.1" in gates(figure)[theme.NAMES].text[0]


def test_no_gates_and_only_a_control_give_a_message() -> None:
    assert "no gates are set" in texts(seen(made(20), gates={}).plot())
    assert "no gates are set" in texts(seen(made(20, arms=("control",))).plot())


def test_the_alpha_of_the_plan_is_the_level_that_is_named() -> None:
    assert "90 %, every look" in gates(seen(made(120), alpha=0.1).plot())


def test_more_gates_than_can_be_drawn_are_counted() -> None:
    arms = tuple(f"arm {number}" for number in range(forest.LINES_SHOWN))
    figure = seen(made(3, arms=arms), gates={"latency": 1.1, "cost": 1.0}).plot()
    assert len(gates(figure)[theme.NAMES].text) == forest.LINES_SHOWN
    assert f"and {forest.LINES_SHOWN} more" in figure.layout.xaxis.title.text


def test_json_fields_are_drawn_only_where_some_differ_with_their_reading_and_the_controls_share() -> None:
    def answers(arm: str) -> pl.Expr:
        lacks = pl.int_range(pl.len()) % 2 == 0 if arm == "mini" else pl.lit(False)
        whole = pl.lit('{"a": ') + pl.int_range(pl.len()).cast(pl.String) + pl.lit(', "price": 1}')
        return pl.when(lacks).then(pl.lit('{"a": 1}')).otherwise(whole)

    frame = made(300, arms=("mini", "control")).with_columns(primary_output=pl.lit('{"a": 1, "price": 1}'))
    parts = [part.with_columns(silent_output=answers(part["arm"][0])) for part in frame.partition_by("arm")]
    figure = seen(pl.concat(parts)).outputs()
    title = figure.layout.annotations[0].text
    assert "JSON fields" in title
    bar = next(trace for trace in figure.data if trace.type == "bar")
    shares = dict(zip(names_on(figure, bar), bar.x, strict=True))
    (told,) = [name for name in shares if name.startswith("&#36;.price ✗ differs: ")]
    assert 0.4 < shares[told] < 0.6
    assert "JSON fields" not in texts(seen(made(50)).outputs())


def test_likeness_is_shown_beside_the_controls() -> None:
    figure = seen(made(40, arms=("mini", "control"))).outputs()
    assert [trace.name for trace in figure.data if trace.xaxis == "x"] == [
        "mini (silent)",
        "primary again (control)",
    ]


def test_a_hostile_json_key_or_metric_is_drawn_and_not_read() -> None:
    hostile = "<img src=x onerror=alert(1)>$x$ \x1b"
    frame = made(60).with_columns(
        primary_output=pl.lit(json.dumps({"a": 1})), silent_output=pl.lit(json.dumps({"a": 1, hostile: 2}))
    )
    comparison = seen(frame, metrics={hostile: pl.col("lag_s") < 1}, gates={hostile: 0.5})
    assert "JSON fields" in texts(comparison.outputs())
    for view in (Comparison.plot, Comparison.outputs):
        drawn = texts(view(comparison)).replace("<br>", "").replace("<extra>", "").replace("</extra>", "")
        drawn = drawn.replace(r"\\u001b", "spelt out")  # as JSON paths have it
        for sign in ("<", "$", "\x1b", "\\u001b"):
            assert sign not in drawn
    bundle = comparison._repr_mimebundle_()
    assert "<img" not in bundle["text/html"]
    assert "\x1b" not in "".join(bundle.values())
