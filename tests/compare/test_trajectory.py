"""How the answer settled: the numbers of the gates and of the table, at every prefix."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.metrics import Metric
from mirrorkit.compare.statistics.betting import quantile_ranks
from mirrorkit.compare.trajectory import WITHOUT_GATES, Path, trajectories
from mirrorkit.comparison import Comparison, compare
from mirrorkit.errors import CompareError
from pairs import recorded

NAMED = (
    "latency", "latency_with_errors", "ttft", "tokens_per_s", "cost", "input_tokens", "output_tokens",
    "errors", "refusals", "truncated", "finish_reason", "output_length", "identical", "similarity", "score",
)  # fmt: skip
SCORE = {"score": Metric(pl.col("silent_latency_s").clip(0, 1))}


def many(n: int = 500, *, faster: float = 0.8, clusters: int | None = None, **more: Any) -> pl.DataFrame:
    random = np.random.default_rng(n)
    base = random.lognormal(0, 0.4, n)
    tokens = random.integers(5, 500, n)
    columns: dict[str, Any] = {
        "latency_s": (base, faster * base * random.lognormal(0, 0.2, n)),
        "ttft_s": (base / 4, base / 5 * random.lognormal(0, 0.2, n)),
        "stream": True,
        "status": tuple(np.where(random.random(n) < share, "error", "ok") for share in (0.05, 0.02)),
        "cost_usd": (tokens * 1e-5, tokens * 4e-6 * random.lognormal(0, 0.2, n)),
        "input_tokens": tokens,
        "output_tokens": (tokens, tokens + 3),
        "finish_reason": ("stop", np.where(random.random(n) < 0.1, "length", "stop")),
        "output": ([f"answer {i % 5}" for i in range(n)], [f"answer {i % 7}" for i in range(n)]),
    }
    if clusters:
        columns["cluster"] = [f"c{i}" if i < n // 4 else f"d{i // clusters}" for i in range(n)]
    return recorded(n, **{**columns, **more})


def seen(frame: pl.DataFrame, **plan: Any) -> Comparison:
    return compare(frame, progress=False, **plan)


def paths(comparison: Comparison, metric: str | None = None, arm: str | None = None) -> tuple[Path, ...]:
    return trajectories(comparison._told, comparison.plan, metric, arm)


def row(comparison: Comparison, metric: str, arm: str = "mini") -> dict[str, Any]:
    return comparison.table.filter(arm=arm, metric=metric).row(0, named=True)


@pytest.mark.parametrize("clusters", [None, 3])
def test_without_a_gate_the_last_of_the_band_is_the_tables_interval(clusters: int | None) -> None:
    comparison = seen(many(clusters=clusters), gates={}, metrics=SCORE)
    for metric in NAMED:
        (path,) = paths(comparison, metric)
        told = row(comparison, metric)
        assert path.gate is None
        assert (path.n, path.pairs[-1]) == (told["n"], 500 if told["n"] == 500 else path.pairs[-1])
        assert path.effect[-1] == pytest.approx(told["effect"], rel=1e-12), metric
        for end, name in ((path.low[-1], "low"), (path.high[-1], "high")):
            known = told[name]
            assert np.isnan(end) if known is None else end == pytest.approx(known, rel=1e-9), metric


@pytest.mark.parametrize("clusters", [None, 3])
@pytest.mark.parametrize("faster", [0.8, 1.5])
def test_a_gate_is_decided_on_the_path_where_the_gates_say_and_at_no_point_before(
    clusters: int | None, faster: float
) -> None:
    gates = {"latency": 1.1, "cost": 0.45, "errors": 0.02, "identical": 0.3, "tokens_per_s": 1.0,
             "score": 0.4, "latency_with_errors": 1.1, "similarity": 0.99}  # fmt: skip
    comparison = seen(many(1_500, clusters=clusters, faster=faster), gates=gates, metrics=SCORE)
    states = dict.fromkeys(("passed", "failed", "open"), 0)
    for path, gate in zip(paths(comparison), comparison.gates.to_dicts(), strict=True):
        assert path.gate is not None
        states[gate["state"]] += 1
        assert (path.gate.state, path.gate.decided_after) == (gate["state"], gate["decided_after"])
        beyond = _decides(path)
        if gate["state"] == "open":
            assert path.gate.at is None
            assert not beyond.any()
        elif np.isfinite(path.low[path.gate.at]) or np.isfinite(path.high[path.gate.at]):
            assert path.pairs[path.gate.at] == gate["decided_after"]
            assert int(beyond.argmax()) == path.gate.at
    assert states["passed"]
    assert states["failed"] or faster < 1


def _decides(path: Path) -> np.ndarray:
    """At which points the band is on one side of the margin."""
    assert path.gate is not None
    with np.errstate(invalid="ignore"):
        return (path.high < path.gate.margin) | (path.low > path.gate.margin)


def test_arms_and_gates_share_the_error_rate_as_in_the_verdict() -> None:
    frame = pl.concat(
        [many(300), many(300).with_columns(arm=pl.lit("other"), pair_id="other" + pl.col("pair_id"))]
    )
    (latency, cost) = paths(seen(frame, gates={"latency": 1.1, "cost": 1.0}))
    assert latency.gate is not None
    assert (latency.gate.alpha_pass, latency.gate.alpha_fail) == pytest.approx((0.0225, 0.01125))
    assert latency.arm == cost.arm == "mini"
    assert paths(seen(frame), "errors", "other")[0].arm == "other"


def test_a_ratio_of_totals_takes_200_pairs_and_one_of_latencies_100_that_are_ok() -> None:
    comparison = seen(many(status=("ok", ["error"] * 10 + ["ok"] * 490)))
    latency, cost, errors = paths(comparison)
    assert (latency.burn_in, cost.burn_in, errors.burn_in) == (110, 200, 1)
    assert np.isnan(latency.high[latency.pairs < 110]).all()
    assert np.isfinite(latency.high[latency.pairs >= 110]).all()


def test_pairs_count_in_the_order_of_their_requests_whatever_the_frames() -> None:
    frame = many(300)
    (forth,), (back,) = paths(seen(frame), "latency"), paths(seen(frame.reverse()), "latency")
    for name in ("pairs", "effect", "low", "high"):
        np.testing.assert_array_equal(getattr(forth, name), getattr(back, name))


def test_at_the_budget_of_pairs_the_path_of_a_gate_ends_and_that_of_others_goes_on() -> None:
    comparison = seen(many(500), max_pairs=250)
    assert paths(comparison, "errors")[0].pairs[-1] == 250
    assert paths(comparison, "refusals")[0].n > 250


def test_labels_count_in_the_order_in_which_they_were_given() -> None:
    frame = many(40)
    given = frame["started_at"].reverse()
    frame = frame.with_columns(
        preference=pl.Series(["silent"] * 20 + ["primary"] * 20), labelled_at=given.dt.offset_by("1d")
    )
    comparison = seen(frame, gates={"preference": 0.4})
    (path,) = paths(comparison)
    assert path.of_labels
    assert path.pairs.tolist() == list(range(1, 41))
    assert path.effect[19] == 0.0, "the last pairs were labelled first"
    assert path.effect[39] == 0.5


def test_labels_of_pairs_that_wait_for_an_older_request_count_as_in_the_table() -> None:
    frame = many(40).with_columns(preference=pl.lit("silent"), labelled_at=pl.col("started_at"))
    comparison = seen(frame, before=frame["started_at"][30])
    (label,), (errors,) = paths(comparison, "preference"), paths(comparison, "errors")
    assert (
        (label.n, errors.n)
        == (row(comparison, "preference")["n"], row(comparison, "errors")["n"])
        == (40, 30)
    )


def test_the_median_has_the_values_of_its_ranks() -> None:
    frame = many(120)
    (path,) = paths(seen(frame), "latency_with_errors")
    low, high = quantile_ranks(120, 0.5, 0.05)
    ratio = frame.select(
        pl.when(pl.col("silent_status") == "error", pl.col("primary_status") == "error").then(1.0)
        .when(pl.col("silent_status") == "error").then(float("inf"))
        .when(pl.col("primary_status") == "error").then(0.0)
        .otherwise(pl.col("silent_latency_s") / pl.col("primary_latency_s"))
    ).to_series().sort()  # fmt: skip
    assert (path.low[-1], path.high[-1]) == (ratio[low - 1], ratio[high - 1])


def test_a_path_has_few_points_however_many_pairs() -> None:
    assert all(len(path.pairs) <= 200 for path in paths(seen(many(5_000))))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_pairs_have_a_path_each(n: int) -> None:
    for path in paths(seen(many(n, status="ok"))):
        assert path.pairs.tolist() == list(range(1, n + 1))
        assert (path.burn_in is None) == bool(path.note) == (path.metric.name != "errors")


def test_no_usable_pair_is_an_empty_path_that_says_why() -> None:
    (path,) = paths(seen(many(20, latency_s=None)), "latency")
    assert (path.n, path.pairs.size) == (0, 0)
    assert "latency unknown" in path.note


def test_the_control_arm_and_a_plan_without_gates_have_bands_without_margins() -> None:
    control = many(150, arm="control")
    assert [path.metric.name for path in paths(seen(control))] == list(WITHOUT_GATES)
    frame = pl.concat([control, many(150, name="q")])
    comparison = seen(frame)
    assert [path.gate for path in paths(comparison, arm="control")] == [None] * 3
    assert [path.arm for path in paths(comparison)] == ["mini"] * 3
    assert [path.gate for path in paths(seen(frame, gates={}))] == [None] * 3


def test_what_there_is_not_is_said_with_what_there_is() -> None:
    comparison = seen(many(20))
    with pytest.raises(CompareError, match="no metric 'speed'; there are latency, "):
        paths(comparison, "speed")
    with pytest.raises(CompareError, match="no arm 'other'; there are mini"):
        paths(comparison, "latency", "other")
