"""The pairs that differ most in a metric."""

import math

import polars as pl
import pytest

from mirrorkit.compare.answers.differences import differences
from mirrorkit.compare.examples import SHOWN, examples
from mirrorkit.compare.measured import measured
from mirrorkit.compare.metrics import Metric
from mirrorkit.compare.plan import Plan
from mirrorkit.errors import CompareError

OWN = {"own": lambda pair: pair["silent_latency_s"] / 10, "low": Metric(pl.col("lag_s"), better="lower")}


def shown(frame: pl.DataFrame, metric: str, n: int = 10) -> list[tuple[str, float]]:
    plan = Plan().with_changes(metrics=OWN)
    seen = examples(measured(frame, plan, differences(frame)), plan, metric, n)
    assert seen.columns == list(SHOWN)
    return seen.select("pair_id", "difference").rows()


@pytest.fixture
def frame(recorded) -> pl.DataFrame:
    return recorded(
        4,
        arm=["a", "b", "a", "c"],
        status=(["ok", "ok", "ok", "error"], "ok"),
        latency_s=(1.0, [1.5, 0.25, 1.0, 1.0]),
        cost_usd=(1.0, [2.0, 0.5, 1.0, 5.0]),
        output=("abcd", ["abcd", "abxy", "wxyz", "abcd"]),
        lag_s=[0.1, 0.3, None, 0.2],
    )


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # ×0.25 is further from ×1 than ×1.5 is
        ("latency", [("p1", 0.25), ("p0", 1.5), ("p2", 1.0)]),
        ("latency_with_errors", [("p3", 0.0), ("p1", 0.25), ("p0", 1.5), ("p2", 1.0)]),
        ("cost", [("p3", 4.0), ("p0", 1.0), ("p1", -0.5), ("p2", 0.0)]),
        ("errors", [("p3", -1.0), ("p0", 0.0), ("p2", 0.0), ("p1", 0.0)]),
        ("identical", [("p2", 1.0), ("p1", 1.0), ("p0", 0.0)]),
        ("similarity", [("p2", 1.0), ("p1", 0.5), ("p0", 0.0)]),
        ("own", [("p1", 0.025), ("p2", 0.1), ("p3", 0.1), ("p0", 0.15)]),
        ("low", [("p1", 0.3), ("p3", 0.2), ("p0", 0.1)]),
        ("preference", []),
    ],
)
def test_the_most_different_pairs_come_first(frame, metric: str, expected: list[tuple[str, float]]) -> None:
    seen = shown(frame, metric)
    assert [pair for pair, _ in seen] == [pair for pair, _ in expected]
    assert [difference for _, difference in seen] == pytest.approx([each for _, each in expected])


def test_no_more_than_asked_for(frame) -> None:
    assert [pair for pair, _ in shown(frame, "latency", 2)] == ["p1", "p0"]


def test_control_pairs_are_shown_only_where_there_are_no_others(recorded) -> None:
    both = recorded(3, arm=["control", "a", "control"], latency_s=(1.0, [9.0, 2.0, 8.0]))
    assert shown(both, "latency", 2) == [("p1", 2.0)]
    assert [pair for pair, _ in shown(both.filter(arm="control"), "latency")] == ["p0", "p2"]


@pytest.mark.parametrize("metric", ["latency", "errors", "similarity", "own"])
def test_of_no_pairs_there_are_no_examples(recorded, metric: str) -> None:
    assert shown(recorded(0), metric) == []


def test_a_silent_failure_is_infinitely_slower(recorded) -> None:
    assert shown(recorded(1, status=("ok", "error"), latency_s=1.0), "latency_with_errors") == [
        ("p0", math.inf)
    ]


@pytest.mark.parametrize("metric", ["charm", None, "over_slo", ["latency"]])
def test_an_unknown_metric_is_an_error(frame, metric) -> None:
    with pytest.raises(CompareError, match=r"there is no metric .*; there are latency, "):
        shown(frame, metric)


@pytest.mark.parametrize("n", [0, -1, True, 1.5, "3", None])
def test_n_is_a_whole_number_above_0(frame, n) -> None:
    with pytest.raises(CompareError, match="give a whole number, 1 or more"):
        shown(frame, "latency", n)
