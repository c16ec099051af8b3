"""The signature picture: true to the gates, whole where data is missing, deaf to hostile text."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.metrics import Metric
from mirrorkit.compare.trajectory import trajectories
from mirrorkit.comparison import Comparison, compare
from mirrorkit.errors import CompareError
from mirrorkit.notebook import theme
from mirrorkit.notebook.figures import trajectory
from pairs import recorded


def made(n: int, *, arm: str = "mini", faster: float = 0.8, failing: float = 0.0) -> pl.DataFrame:
    random = np.random.default_rng(n)
    base = random.lognormal(0, 0.4, n)
    return recorded(
        n,
        name=arm,
        arm=arm,
        status=("ok", np.where(random.random(n) < failing, "error", "ok")),
        latency_s=(base, faster * base * random.lognormal(0, 0.2, n)),
        cost_usd=(base / 1_000, base / 4_000),
    )


def seen(frame: pl.DataFrame, **plan: Any) -> Comparison:
    return compare(frame, progress=False, outputs=False, **plan)


def words(figure: Any) -> list[str]:
    return [note.text.replace("<br>after", " after") for note in figure.layout.annotations]


def named(figure: Any, name: str) -> list[Any]:
    return [trace for trace in figure.data if trace.name == name]


def test_the_pair_that_decided_is_marked_and_labelled_as_the_gates_have_it() -> None:
    comparison = seen(made(400, faster=1.5))
    figure = comparison.trajectory()
    for gate in comparison.gates.to_dicts():
        label = {"passed": "✓ passed", "failed": "✗ failed", "open": "none"}[gate["state"]]
        said = f"{label} after {gate['decided_after']} pairs"
        assert (said in words(figure)) == (gate["state"] != "open")
        marks = [trace for trace in figure.data if trace.hovertemplate == f"{said}<extra></extra>"]
        assert [list(mark.x) for mark in marks] == [[gate["decided_after"]]] * (gate["state"] != "open")
    assert comparison.gates["state"].to_list()[:2] == ["failed", "passed"]


def test_there_is_a_panel_for_each_gate_or_one_for_the_metric_that_is_asked_for() -> None:
    comparison = seen(made(150), gates={"latency": 1.1, "errors": 0.05})
    assert len(named(comparison.trajectory(), "estimate")) == 2
    assert [len(named(comparison.trajectory(name), "estimate")) for name in ("errors", "cost")] == [1, 1]
    margins = [text for text in words(comparison.trajectory("cost")) if "margin" in text]
    assert margins == [], "cost has no gate here"


def test_margin_burn_in_and_numbers_of_pairs_are_in_words() -> None:
    told = words(seen(made(400)).trajectory())
    for text in ("margin ×1.1, passes ↓", "margin +1 point, passes ↓", "no interval before 100 pairs"):
        assert text in told
    assert "latency &lt; ×1.1<br>n = 400 pairs" in told
    assert any(text.startswith("errors &lt; +1 point, still open") for text in told)


def test_the_band_and_the_estimate_end_where_the_table_does() -> None:
    comparison = seen(made(300), gates={})
    figure = comparison.trajectory("latency")
    row = comparison.table.filter(metric="latency").row(0, named=True)
    band = [trace for trace in figure.data if trace.hoverinfo == "skip"]
    assert [trace.y[-1] for trace in band] == pytest.approx([row["low"], row["high"]], rel=1e-5)
    assert named(figure, "estimate")[0].y[-1] == pytest.approx(row["effect"], rel=1e-5)
    errors = seen(made(300, failing=0.1), gates={}).trajectory("errors")
    assert named(errors, "estimate")[0].y[-1] > 5, "shares are drawn in points"


def test_a_decision_so_early_that_it_would_not_be_seen_makes_the_axis_logarithmic() -> None:
    late, early = seen(made(400)), seen(made(4_000))
    assert late.trajectory("latency").layout.xaxis.type != "log"
    figure = early.trajectory("latency")
    assert figure.layout.xaxis.type == "log"
    assert "(log)" in figure.layout.xaxis.title.text
    (label,) = [note for note in figure.layout.annotations if note.text.startswith("✓ passed")]
    assert label.x == pytest.approx(2.0, abs=0.01), "after 100 pairs, as a power of ten"


@pytest.mark.parametrize("n", [1, 2, 30, 400])
def test_every_axis_says_what_it_is_and_in_which_unit(n: int) -> None:
    own = {"words": Metric(pl.col("silent_latency_s"), bounds=None, unit="words")}
    figure = seen(made(n), gates={"latency": 1.1, "errors": 0.01, "words": 5.0}, metrics=own).trajectory()
    assert [axis.title.text for axis in figure.select_yaxes()] == [
        "silent ÷ primary (log)",
        "silent − primary, points",
        "words, words",
    ]
    assert all("pairs" in axis.title.text for axis in figure.select_xaxes())


def test_what_is_missing_is_said_in_place_of_a_panel_or_in_it() -> None:
    assert "an interval takes 100 pairs:<br>70 missing" in words(seen(made(30)).trajectory("latency"))
    assert any("no usable pair" in text for text in words(seen(made(30)).trajectory("ttft")))
    bare = made(30).with_columns(silent_latency_s=pl.lit(None, pl.Float64))
    assert any("latency unknown" in text.replace("<br>", " ") for text in words(seen(bare).trajectory()))


def test_more_gates_than_can_be_drawn_are_counted() -> None:
    own = {f"m{number}": Metric(pl.col("silent_latency_s").clip(0, 1)) for number in range(11)}
    figure = seen(made(20), gates=dict.fromkeys(own, 0.5), metrics=own).trajectory()
    assert len(named(figure, "estimate")) == trajectory.PANELS_SHOWN
    assert "3 more gates are not drawn" in figure.layout.title.subtitle.text


def test_each_arm_has_its_own_picture_and_the_control_is_green() -> None:
    frame = pl.concat([made(150), made(140, arm="other"), made(130, arm="control")])
    comparison = seen(frame)
    for arm, n, color in (
        ("mini", 150, theme.SILENT),
        ("other", 140, theme.SILENT),
        ("control", 130, theme.CONTROL),
    ):
        figure = comparison.trajectory("errors", arm=arm)
        assert figure.layout.title.text.endswith(arm)
        assert f"n = {n} pairs" in words(figure)[0]
        assert named(figure, "estimate")[0].line.color == color


def test_the_level_is_that_of_the_plan_shared_by_arms_and_gates() -> None:
    one = seen(made(120), alpha=0.1).trajectory().layout.title.subtitle.text
    assert "one-sided, 91 %" in one
    assert "97 %" in one, "nine tenths of a tenth, shared by three gates"
    assert "at 90 %" in seen(made(120), alpha=0.1, gates={}).trajectory().layout.title.subtitle.text


def test_names_from_the_data_run_nothing() -> None:
    hostile = '<a href="javascript:alert(1)">x</a>'
    own = {hostile: Metric(pl.col("silent_latency_s"), bounds=None, unit=hostile)}
    figure = seen(made(120, arm=hostile), metrics=own, gates={hostile: 0.5}).trajectory()
    for drawn in (figure, seen(made(120, arm=hostile), metrics=own, gates={hostile: 0.5}).plot()):
        assert "<a" not in json.dumps(drawn.to_plotly_json(), default=str)


def test_a_metric_or_an_arm_that_there_is_not_is_an_error() -> None:
    comparison = seen(made(10))
    with pytest.raises(CompareError, match="no metric 'speed'"):
        comparison.trajectory("speed")
    with pytest.raises(CompareError, match="no arm 'other'"):
        comparison.trajectory(arm="other")


def test_many_pairs_make_a_small_figure() -> None:
    figure = seen(made(20_000)).trajectory()
    assert len(figure.to_json()) < 150_000
    assert max(len(trace.x) for trace in figure.data) <= 200


def test_the_figure_of_the_verdict_shows_how_the_gate_that_decides_settled() -> None:
    comparison = seen(made(400, faster=1.5))
    titles = [text for text in words(comparison.plot()) if text.startswith("How it settled: ")]
    assert titles == ["How it settled: latency &lt; ×1.1<br>n = 400 pairs"]
    assert "✗ failed after 100 pairs" in words(comparison.plot())
    assert not [text for text in words(seen(made(40), gates={}).plot()) if "How it settled" in text]


@pytest.mark.parametrize("values", [[0.0] * 150, [1e308] * 150, [5e-324] * 150, [1.0] * 149 + [1e308]])
def test_numbers_of_any_size_make_a_figure(values: list[float]) -> None:
    frame = made(150).with_columns(
        silent_cost_usd=pl.Series(values), silent_latency_s=pl.Series(values), primary_cost_usd=pl.lit(1e-3)
    )
    seen(frame).trajectory().to_json()


def test_there_is_no_band_where_there_is_no_interval_but_a_grey_field_and_its_words() -> None:
    """A conversation that goes on for long makes up most of the pairs for a while."""
    place = pl.int_range(pl.len())
    frame = made(700).with_columns(cluster=pl.when(place.is_between(150, 250)).then(pl.lit("long")))
    comparison = seen(frame)
    (path,) = trajectories(comparison._told, comparison.plan, "latency")
    known = np.flatnonzero(np.isfinite(path.low) | np.isfinite(path.high))
    [hole] = np.flatnonzero(np.diff(known) > 1)
    lost, again = (int(path.pairs[known[place]]) for place in (hole, hole + 1))
    figure = comparison.trajectory("latency")
    band = [trace for trace in figure.data if (trace.name or "").startswith("band")]
    drawn = {x for trace in band for x in trace.x}
    assert drawn == set(path.pairs[known].tolist())
    assert not any(min(trace.x) < again <= max(trace.x) for trace in band), "none goes across"
    assert (lost, again) in [(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"]
    assert f"no interval between {lost} and {again} pairs" in "<br>".join(words(figure))
    assert [trace.showlegend for trace in band] == [True, False]


def test_a_path_that_loses_its_interval_says_why_where_it_ends() -> None:
    late = pl.when(pl.int_range(pl.len()) < 150).then(pl.format("c{}", pl.int_range(pl.len())))
    frame = made(200).with_columns(cluster=late.otherwise(pl.lit("one")))
    comparison = seen(frame)
    (path,) = trajectories(comparison._told, comparison.plan, "latency")
    assert path.note
    assert path.burn_in is not None
    told = " ".join(words(comparison.trajectory("latency"))).replace("<br>", " ")
    assert path.note[:40] in told


@pytest.mark.parametrize("n", [30, 250])
def test_a_model_that_costs_nothing_is_drawn_at_the_foot_of_the_axis(n: int) -> None:
    figure = seen(made(n).with_columns(silent_cost_usd=pl.lit(0.0))).trajectory("cost")
    (estimate,) = named(figure, "estimate")
    axis = figure.layout.yaxis
    place = dict(zip(axis.ticktext, axis.tickvals, strict=True))["×0"]
    assert set(estimate.y) == {place}
    assert axis.range[0] < np.log10(place) < axis.range[1]
    assert place == min(axis.tickvals)
    assert ("✓ passed after 200 pairs" in words(figure)) == (n > 200)


def test_the_levels_are_those_of_a_gate_that_has_pairs_and_shared_where_none_has() -> None:
    gates = {"ttft": 1.1, "errors": 0.01, "latency": 1.1}
    for metric in (None, "ttft", "latency"):
        told = seen(made(120), gates=gates).trajectory(metric).layout.title.subtitle.text
        assert "98.5 %" in told, metric
    frame = pl.concat([made(120), made(110, arm="other")])
    told = seen(frame, gates=gates).trajectory("ttft").layout.title.subtitle.text
    assert "97.8 %" in told, "of two arms each has half"


def test_the_panel_on_how_it_settled_is_of_one_arm_and_the_gate_that_decided_it() -> None:
    failing, dear = made(400, arm="failing", failing=0.3), made(390, arm="dear")
    comparison = seen(pl.concat([failing, dear.with_columns(silent_cost_usd=pl.col("primary_cost_usd") * 2)]))
    assert (comparison.verdict.answer, comparison.verdict.arm) == ("keep", None)
    gates = {(row["arm"], row["metric"]): row["state"] for row in comparison.gates.to_dicts()}
    (panel,) = [text for text in words(comparison.plot()) if text.startswith("How it settled: ")]
    assert panel.startswith("How it settled: failing: errors")
    assert (gates["failing", "errors"], gates["dear", "errors"]) == ("failed", "open")
    assert comparison.trajectory().layout.title.text.endswith("failing")


@pytest.mark.parametrize(("gate", "beside"), [({"cost": 0.9}, "top"), ({"latency": 1.1}, "bottom")])
def test_the_margins_words_are_on_its_side_away_from_no_difference(
    gate: dict[str, float], beside: str
) -> None:
    notes = seen(made(300), gates=gate).trajectory().layout.annotations
    assert [note.yanchor for note in notes if note.text.startswith("margin")] == [beside]
