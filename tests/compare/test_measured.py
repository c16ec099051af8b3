"""The user's metrics worked out on each pair, and the differences of answers worked out once."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from mirrorkit.compare.answers.differences import ALONE, COLUMNS, differences
from mirrorkit.compare.answers.rules import make_rules
from mirrorkit.compare.measured import Kept, measured
from mirrorkit.compare.metrics import Metric, column_of
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError


def values(frame: pl.DataFrame, value: Any, **more: Any) -> list[float | None]:
    plan = Plan().with_changes(metrics={"x": Metric(value, **more)})
    return measured(frame, plan)[column_of("x")].to_list()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (lambda pair: None, [None] * 3),
        (lambda pair: True, [1.0] * 3),
        (lambda pair: np.float64(0.5), [0.5] * 3),
        (lambda pair: {"p0": 0, "p1": 1}[pair["pair_id"]], [0.0, 1.0, None]),
        (pl.col("pair_id") == "p1", [0.0, 1.0, 0.0]),
        (pl.col("lag_s"), [None] * 3),
        (pl.when(pl.col("pair_id") == "p2").then(1), [None, None, 1.0]),
    ],
)
def test_a_value_is_a_number_a_truth_or_none_and_none_where_the_function_raised(
    recorded, value, expected
) -> None:
    assert values(recorded(3), value) == expected


def fails(pair: dict[str, Any]) -> float:
    raise ZeroDivisionError("by zero")


@pytest.mark.unwarned
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (fails, "'x' raised on every pair, first ZeroDivisionError: by zero"),
        (lambda pair: "good", "'x' gave 'good' for a pair: give a number"),
        (lambda pair: "0.5", "'x' gave '0.5' for a pair: give a number"),
        (lambda pair: [1.0], r"'x' gave \[1.0\] for a pair"),
        (lambda pair: 1j, "'x' gave 1j for a pair"),
        (lambda pair: 10**400, "'x' gave 1000.* for a pair"),
        (lambda pair: 1.5, "'x' gave 1.5, which is not within its bounds 0 to 1"),
        (lambda pair: math.nan, "'x' gave nan, which is not within its bounds"),
        (pl.when(pl.col("pair_id") == "p2").then(-0.5), "'x' gave -0.5, which is not within its bounds"),
        (
            pl.col("pair_id").map_elements(fails, return_dtype=pl.Float64),
            "the expression of 'x' cannot be run",
        ),
        (pl.col("charm"), "the expression of 'x' cannot be run on the frame: .*charm"),
        (pl.col("lag_s").mean(), "the expression of 'x' gives 1 values for 3 pairs"),
        (pl.col("lag_s").head(2), "the expression of 'x' gives 2 values for 3 pairs"),
        (pl.col("pair_id"), "the expression of 'x' gives String"),
        (pl.col("tags"), "the expression of 'x' gives List"),
        (pl.col("started_at"), "the expression of 'x' gives Datetime"),
        (pl.col("lag_s", "tags"), "the expression of 'x' cannot be run on the frame"),
    ],
)
def test_what_is_no_metric_of_each_pair_is_an_error_that_names_it(recorded, value, words: str) -> None:
    with pytest.raises(CompareError, match=words):
        values(recorded(3), value)


def test_without_bounds_a_value_may_be_anything_and_what_is_not_finite_is_left_out_later(recorded) -> None:
    assert values(recorded(1), lambda pair: -1e308, bounds=None) == [-1e308]
    assert math.isnan(values(recorded(1), lambda pair: math.nan, bounds=None)[0])


def test_a_column_of_the_users_of_the_same_name_is_no_obstacle(recorded) -> None:
    frame = recorded(2).with_columns(pl.lit("mine").alias(column_of("x")), similarity=pl.lit("mine"))
    assert values(frame, lambda pair: 1) == [1.0, 1.0]
    assert measured(frame, Plan())["similarity"].to_list() == [None, None]
    assert measured(frame, Plan(), differences(frame))["similarity"].dtype == pl.Float64


def test_without_differences_their_columns_are_null_but_for_what_each_answer_tells_by_itself(
    recorded,
) -> None:
    seen = measured(recorded(2, output=("x", "äöü")), Plan())
    unknown = [name for name in COLUMNS if name not in ALONE]
    assert seen.select(unknown).null_count().row(0) == (2,) * len(unknown)
    assert seen.select(list(ALONE)).rows() == [("text", "text", 1, 3)] * 2


class Counting:
    """A `clean` that counts the texts it was given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> str:
        self.texts.append(text)
        return text


def test_the_differences_of_each_pair_are_worked_out_once(recorded) -> None:
    texts = [f"answer {number}" for number in range(5)]
    frame = recorded(5, output=(texts, "other"))
    clean, kept, done = Counting(), Kept(), []
    rules = make_rules(clean=clean)
    for height, missing in ((2, 2), (2, 0), (5, 3), (5, 0)):
        assert kept.missing(frame[:height], rules) == missing
        found = kept.of(frame[:height], rules, done.append)
        assert_frame_equal(found, differences(frame[:height], make_rules()))
    assert sorted(text for text in clean.texts if text != "other") == texts
    assert done == [2, 3]


def test_other_rules_make_the_differences_anew(recorded) -> None:
    frame, kept = recorded(3, output=("a 1", "a 2")), Kept()
    assert kept.of(frame, make_rules())["identical"].to_list() == [False] * 3
    rules = make_rules([r"\d"])
    assert kept.missing(frame, rules) == 3
    assert kept.of(frame, rules)["identical"].to_list() == [True] * 3
    assert kept.of(frame, make_rules())["identical"].to_list() == [False] * 3


def test_a_frame_that_has_become_shorter_is_worked_out_anew(recorded) -> None:
    frame, kept = recorded(3, output=(["a", "b", "c"], "a")), Kept()
    kept.of(frame, make_rules())
    assert kept.of(frame[1:], make_rules())["identical"].to_list() == [False, False]
    assert kept.missing(recorded(0), make_rules()) == 0


@pytest.mark.parametrize("value", [
    pl.col("silent_latency_s") < pl.col("silent_latency_s").mean(),
    pl.col("silent_latency_s").shift(1) < 2,
    pl.col("silent_latency_s").rank() / 100,
])  # fmt: skip
def test_an_expression_that_looks_at_other_pairs_is_refused(recorded, value: pl.Expr) -> None:
    frame = recorded(20, latency_s=(1.0, [float(at) for at in range(20)]))
    with pytest.raises(CompareError, match="looks at other pairs"):
        measured(frame, Plan().with_changes(metrics={"x": value}))
