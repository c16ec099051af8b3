"""What is measured: the metrics of mirrorkit's own, and the user's."""

import math

import polars as pl
import pytest

from mirrorkit.compare.answers.differences import COLUMNS
from mirrorkit.compare.metrics import BUILT_IN, NET, Metric, columns_of, over_slo, usable
from mirrorkit.errors import CompareError
from mirrorkit.records import SCHEMA


def test_every_metric_reads_columns_that_there_are() -> None:
    for metric in (*BUILT_IN.values(), over_slo(1.0)):
        assert columns_of(metric) <= set(SCHEMA.columns) | set(COLUMNS), metric.name


def test_the_names_of_the_design_are_there_and_every_name_is_its_metrics() -> None:
    design = "latency ttft cost errors input_tokens output_tokens identical similarity preference"
    assert set(design.split()) <= set(BUILT_IN)
    assert all(name == metric.name for name, metric in BUILT_IN.items())
    assert set(NET) <= set(BUILT_IN)


def test_an_unknown_metric_is_no_metric() -> None:
    with pytest.raises(KeyError):
        usable(SCHEMA.frame(), "charm")


@pytest.mark.parametrize(
    "bounds", [(1, 0), (0, 0), (0, math.inf), (math.nan, 1), (0,), (0, 1, 2), 3, "01", ("a", "b")]
)
def test_bounds_are_a_least_and_a_greatest_value(bounds: object) -> None:
    with pytest.raises(CompareError, match="give the least and the greatest value, or None"):
        Metric(len, bounds=bounds)  # type: ignore[arg-type]


def test_a_metric_is_a_function_or_an_expression_and_has_a_better_side() -> None:
    with pytest.raises(CompareError, match="a function of a pair's row or a Polars expression, not 3"):
        Metric(3)  # type: ignore[arg-type]
    with pytest.raises(CompareError, match='"lower" or "higher"'):
        Metric(len, better="more")  # type: ignore[arg-type]


def test_a_users_metric_is_a_mean_exact_within_its_bounds(recorded, row) -> None:
    frame = recorded(300, latency_s=(1.0, [1.0, 4.0, 2.5] * 100))
    metrics = {
        "quick": lambda pair: pair["silent_latency_s"] < 2,
        "half": pl.col("silent_latency_s") / 8,
        "signed": Metric(lambda pair: pair["silent_latency_s"] - 3, bounds=(-3, 3), better="lower", unit="s"),
        "free": Metric(pl.col("silent_latency_s"), bounds=None, unit="s"),
    }
    seen = {name: row(frame, name, metrics=metrics) for name in metrics}
    effects = {name: each["effect"] for name, each in seen.items()}
    assert effects == pytest.approx({"quick": 1 / 3, "half": 2.5 / 8, "signed": -0.5, "free": 2.5})
    assert all(each["low"] < each["effect"] < each["high"] for each in seen.values())
    assert {each["estimand"] for each in seen.values()} == {"mean of the pairs"}
    assert [seen[name]["unit"] for name in ("signed", "free")] == ["s", "s"]
    few = {name: row(frame[:60], name, metrics=metrics) for name in metrics}
    assert few["signed"]["low"] is not None
    assert (few["free"]["low"], few["free"]["note"]) == (None, "an interval takes 100 pairs: 40 missing")


def test_pairs_on_which_a_users_metric_has_no_value_are_left_out_and_counted(recorded, row) -> None:
    frame = recorded(3, latency_s=(1.0, [0.5, None, math.nan]))
    seen = row(frame, "x", metrics={"x": Metric(pl.col("silent_latency_s"), bounds=None)})
    assert (seen["n"], seen["effect"]) == (1, 0.5)
    assert "1 left out: no value (" in seen["note"]
    assert "1 left out: value not finite" in seen["note"]
