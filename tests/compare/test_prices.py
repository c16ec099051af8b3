"""What was paid for: token prices worked out from costs and tokens, where these tell them."""

from math import isfinite
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrorkit.compare.prices import PARTS, savings, split_of
from mirrorkit.comparison import compare
from mirrorkit.errors import CompareError
from pairs import recorded

PRICES = np.array([2.5e-6, 1.25e-6, 1e-5])


def priced(n: int = 60, *, cached: bool = True, noise: float = 0.0, **more: Any) -> pl.DataFrame:
    """Calls of random sizes, a third with cached tokens, at known prices."""
    random = np.random.default_rng(n)
    fresh, output = random.integers(5, 2_000, n), random.integers(1, 900, n)
    from_cache = np.where(random.random(n) < 0.3, random.integers(1, 3_000, n), 0) * cached
    cost = np.stack([fresh, from_cache, output], axis=1) @ PRICES * (1 + noise * random.random(n))
    columns = {
        "model": "gpt-4o",
        "input_tokens": fresh + from_cache,
        "cached_input_tokens": from_cache if cached else None,
        "output_tokens": output,
        "cost_usd": cost,
    }
    return recorded(n, **{**columns, **more})


def bill(frame: pl.DataFrame, side: str = "primary") -> float:
    return float(frame[f"{side}_cost_usd"].sum())


def test_known_prices_are_found_and_each_part_is_its_tokens_at_its_price() -> None:
    frame = priced()
    split = split_of(frame, "primary")
    assert (split.calls, split.unsplit, split.why) == (60, 0.0, ())
    assert [split.prices["gpt-4o"][part] for part in PARTS] == pytest.approx(PRICES)
    cached = frame["primary_cached_input_tokens"].sum()
    counts = [frame["primary_input_tokens"].sum() - cached, cached, frame["primary_output_tokens"].sum()]
    assert [split.parts[part] for part in PARTS] == pytest.approx(np.array(counts) * PRICES)
    assert split.total == pytest.approx(bill(frame))


@pytest.mark.parametrize("unit", [1e-250, 1e-160, 1e160, 1e250])
def test_prices_are_found_in_any_unit_of_money(unit: float) -> None:
    usual = priced()
    told = split_of(usual.with_columns(primary_cost_usd=pl.col("primary_cost_usd") * unit), "primary")
    assert told.why == split_of(usual, "primary").why
    assert {name: part / unit for name, part in told.parts.items()} == pytest.approx(
        split_of(usual, "primary").parts
    )


@pytest.mark.parametrize("unit", [1e-160, 1.0, 1e160])
def test_in_no_unit_of_money_do_tokens_in_nearly_fixed_proportions_tell_prices(unit: float) -> None:
    random = np.random.default_rng(1)
    tokens = np.arange(1, 61) * 100
    cost = (tokens * 3e-6 + random.normal(0, 3e-5, 60)) * unit
    split = split_of(
        recorded(
            60,
            model="gpt-4o",
            input_tokens=tokens,
            output_tokens=tokens + random.integers(0, 2, 60),
            cost_usd=cost,
        ),
        "primary",
    )
    assert "nearly fixed proportions" in split.why[0]


def test_where_cached_tokens_are_not_on_record_there_are_two_prices() -> None:
    split = split_of(priced(cached=False), "primary")
    assert split.prices["gpt-4o"] == pytest.approx({"input": 2.5e-6, "output": 1e-5})
    assert split.parts["cached_input"] == 0.0


def test_cached_tokens_that_are_unknown_though_they_were_paid_for_leave_the_cost_unsplit() -> None:
    frame = priced().with_columns(primary_cached_input_tokens=pl.lit(None, pl.Int64))
    split = split_of(frame, "primary")
    assert (split.prices, split.unsplit) == ({}, pytest.approx(bill(frame)))
    assert split.why == ("gpt-4o: its costs do not follow from prices per token",)


def test_each_model_has_its_own_prices() -> None:
    models = ["gpt-4o", "mini"] * 30
    frame = priced(model=models).with_columns(
        primary_cost_usd=pl.col("primary_cost_usd") * pl.Series([1.0, 0.05] * 30)
    )
    split = split_of(frame, "primary")
    assert split.prices["mini"]["output"] == pytest.approx(5e-7)
    assert split.prices["gpt-4o"]["output"] == pytest.approx(1e-5)
    assert (split.unsplit, split.total) == (0.0, pytest.approx(bill(frame)))


def test_tokens_in_fixed_proportions_do_not_tell_prices() -> None:
    tokens = list(range(10, 70))
    frame = priced(
        input_tokens=[3 * count for count in tokens], cached_input_tokens=0, output_tokens=tokens,
        cost_usd=[count * 1e-5 for count in tokens],
    )  # fmt: skip
    split = split_of(frame, "primary")
    assert split.unsplit == split.total == pytest.approx(bill(frame))
    assert "fixed proportions" in split.why[0]


def test_tokens_in_nearly_fixed_proportions_with_a_little_noise_do_not_either() -> None:
    random = np.random.default_rng(1)
    output = random.integers(100, 900, 60)
    fresh = 2 * output + random.integers(0, 2, 60)
    cost = (fresh * 2.5e-6 + output * 1e-5) * (1 + 0.002 * random.standard_normal(60))
    frame = priced(
        input_tokens=fresh.tolist(),
        cached_input_tokens=0,
        output_tokens=output.tolist(),
        cost_usd=cost.tolist(),
    )
    assert "nearly fixed proportions" in split_of(frame, "primary").why[0]
    exact = frame.with_columns(primary_cost_usd=pl.Series(fresh * 2.5e-6 + output * 1e-5))
    assert split_of(exact, "primary").prices["gpt-4o"] == pytest.approx({"input": 2.5e-6, "output": 1e-5})


def test_prices_that_are_not_linear_leave_the_cost_unsplit() -> None:
    split = split_of(priced(noise=0.5), "primary")
    assert (split.prices, split.unsplit) == ({}, split.total)


def test_costs_rounded_to_a_millionth_of_a_dollar_are_split_all_the_same() -> None:
    frame = priced().with_columns(pl.col("primary_cost_usd").round(6))
    split = split_of(frame, "primary")
    assert split.unsplit == 0.0
    assert split.prices["gpt-4o"]["output"] == pytest.approx(1e-5, rel=0.01)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"output_tokens": [None] + [5] * 59}, "tokens unknown in 1 of 60 calls"),
        ({"input_tokens": 0, "cached_input_tokens": 0, "output_tokens": 0}, "no tokens on record"),
        ({"cached_input_tokens": 9_999}, "more cached tokens than input tokens"),
    ],
)
def test_what_the_record_lacks_is_said(columns: dict[str, Any], why: str) -> None:
    split = split_of(priced(**columns), "primary")
    assert split.unsplit == split.total
    assert why in split.why[0]


def test_few_calls_are_too_few() -> None:
    assert "too few" in split_of(priced(3), "primary").why[0]
    assert split_of(priced(8), "primary").unsplit == 0.0


def test_unknown_costs_stay_unknown_and_a_cost_of_nothing_is_nothing() -> None:
    assert split_of(priced(cost_usd=None), "primary").total is None
    half = priced(cost_usd=[None] * 30 + [0.5] * 30)
    assert (split_of(half, "primary").calls, split_of(half, "primary").total) == (30, 15.0)
    free = split_of(priced(cost_usd=0.0), "primary")
    assert (free.total, free.unsplit, free.why) == (0.0, 0.0, ())


def test_a_model_without_a_name_and_a_hostile_one_are_told_apart() -> None:
    frame = priced(model=[None, "evil\x1b[31m"] * 30, output_tokens=None)
    assert [each.partition(":")[0] for each in split_of(frame, "primary").why] == [
        "unknown model",
        "evil�[31m",
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.sampled_from(["a", "b"]),
            st.none() | st.floats(0, 1e300),
            st.none() | st.integers(0, 10**6),
            st.none() | st.integers(0, 10**6),
            st.none() | st.integers(0, 10**6),
        ),
        max_size=30,
    )
)
def test_the_parts_are_never_below_0_and_add_up_to_the_bill(rows: list[Any]) -> None:
    model, cost, fresh, cached, output = ([each[place] for each in rows] for place in range(5))
    frame = recorded(
        len(rows), model=model, cost_usd=cost, input_tokens=fresh, cached_input_tokens=cached,
        output_tokens=output,
    )  # fmt: skip
    split = split_of(frame, "silent")
    known = [each for each in cost if each is not None]
    if not known or not isfinite(sum(known)):
        assert split.total is None
        return
    assert split.total == pytest.approx(sum(known), rel=1e-9)
    assert sum(split.parts.values()) + split.unsplit == pytest.approx(split.total)
    assert min(*split.parts.values(), split.unsplit) >= 0


def test_what_a_switch_saves_is_the_tables_difference_at_the_volume() -> None:
    frame = priced(300).with_columns(silent_cost_usd=pl.col("silent_cost_usd") * 0.25)
    table = compare(frame, progress=False).table
    (saved,) = savings(table, 1_000_000)
    told = table.filter(metric="cost", estimand="difference per 1,000 calls").row(0, named=True)
    assert (saved.low, saved.high) == pytest.approx((-1_000 * told["high"], -1_000 * told["low"]))
    assert saved.primary - saved.silent == pytest.approx(saved.saved)
    assert saved.primary == pytest.approx(1_000_000 * bill(frame) / 300)
    assert saved.low < saved.saved < saved.high
    assert savings(compare(frame.head(20), progress=False).table, 1)[0].low is None


@pytest.mark.parametrize(
    "volume",
    [0, -1, float("nan"), float("inf"), "many", True, 10**400, -(10**400), "x" * 900],
    ids=lambda volume: repr(volume)[:8],
)
def test_a_volume_is_a_number_above_0(volume: Any) -> None:
    with pytest.raises(CompareError, match="number of requests above 0") as raised:
        compare(priced(), progress=False).cost(volume)
    assert len(str(raised.value)) < 150


@pytest.mark.parametrize(("cost", "volume"), [(1e308, 1_000), (1e305, 1e9), (1.0, 1e308)])
def test_what_is_more_than_a_number_can_be_is_no_saving_and_no_error(cost: float, volume: float) -> None:
    comparison = compare(priced(cost_usd=cost), progress=False)
    assert all(isfinite(each.saved) for each in savings(comparison.table, volume))
    comparison.cost(volume).to_json()
