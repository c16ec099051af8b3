"""The figures on cost and answers: parts of a bill, what a switch saves, refusals."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from mirrorkit.compare.prices import Saving, split_of
from mirrorkit.comparison import Comparison, compare
from mirrorkit.notebook.figures import bars
from pairs import recorded

PARTS = ("input tokens", "cached input tokens", "output tokens")


def made(n: int = 300, *, arm: str = "mini", times: float = 0.25, model: str = "small") -> pl.DataFrame:
    """Pairs at 2, 1 and 10 USD per million tokens, the silent side at `times` of that."""
    random = np.random.default_rng(n)
    fresh, cached, output = (random.integers(low, high, n) for low, high in ((5, 2_000), (0, 400), (1, 900)))
    cost = (2 * fresh + cached + 10 * output) / 1e6
    refusal = "I'm sorry, but I can't help with that."
    return recorded(
        n,
        name=arm,
        arm=arm,
        model=("large", model),
        input_tokens=fresh + cached,
        cached_input_tokens=cached,
        output_tokens=output,
        cost_usd=(cost, times * cost),
        output=("An answer.", [refusal if i % 10 == 0 else "Yes." for i in range(n)]),
    )


def seen(frame: pl.DataFrame) -> Comparison:
    return compare(frame, progress=False)


def stacks(figure: Any) -> dict[str, list[float]]:
    return {trace.name: list(trace.x) for trace in figure.data if trace.type == "bar"}


def subtitle(figure: Any) -> str:
    return str(figure.layout.title.subtitle.text).replace("<br>", " ").replace("&#36;", "$")


def test_the_stacked_parts_of_each_side_add_up_to_the_tables_cost_per_1000_requests() -> None:
    comparison = seen(made())
    parts = stacks(comparison.cost())
    assert tuple(parts) == PARTS
    row = comparison.table.filter(metric="cost").row(0, named=True)
    for place, side in enumerate(("primary", "silent")):
        assert sum(part[place] for part in parts.values()) == pytest.approx(1_000 * row[side])
        split = split_of(comparison.frame, side)
        assert parts["output tokens"][place] == pytest.approx(1_000 * split.parts["output"] / split.calls)
    assert comparison.cost().layout.barmode == "stack"
    assert "worked out from the record" in subtitle(comparison.cost())


def test_what_cannot_be_split_is_drawn_whole_and_said() -> None:
    frame = made().with_columns(silent_cost_usd=pl.Series(np.random.default_rng(1).lognormal(0, 1, 300)))
    figure = seen(frame).cost()
    parts = stacks(figure)
    assert parts["not split"][0] == 0
    assert parts["not split"][1] == pytest.approx(1_000 * frame["silent_cost_usd"].mean())
    assert "Not split: small: its costs do not follow from prices per token." in subtitle(figure)
    assert stacks(seen(frame.drop("primary_output_tokens", "silent_output_tokens")).cost()).keys() == {None}


def test_the_saving_is_told_at_the_volume_that_is_asked_for() -> None:
    told = subtitle(seen(made()).cost(2_000_000))
    assert "At 2,000,000 requests: primary $" in told
    assert "a switch saves $" in told
    assert "at every look" in told
    assert "At 1,000 requests: " in subtitle(seen(made()).cost())
    assert "no interval yet" in subtitle(seen(made(20)).cost())
    assert "costs $" in subtitle(seen(made(times=2.0)).cost(1_000))


def test_a_saving_in_words() -> None:
    saves = Saving("mini", 1e6, 1230.0, 410.0, 820.0, -10.0, 840.0)
    assert bars.saving(saves).endswith("a switch saves $820 (−$10.0 to $840, at every look).")
    costs = Saving("mini", 1e6, 410.0, 1230.0, -820.0, -840.0, -800.0)
    assert bars.saving(costs).endswith("a switch costs $820 more ($800 to $840, at every look).")


def test_several_arms_and_the_control_each_have_their_bars_and_only_silent_arms_a_saving() -> None:
    frame = pl.concat([made(), made(250, arm="other", times=0.5), made(220, arm="control", times=1.0)])
    figure = seen(frame).cost(1_000)
    assert [len(lengths) for lengths in stacks(figure).values()] == [6, 6, 6]
    assert subtitle(figure).count("At 1,000 requests") == 2


def test_where_a_cache_answered_the_saving_is_of_the_other_requests_and_the_hits_are_counted() -> None:
    hit = pl.int_range(pl.len()) % 3 == 0
    told = subtitle(seen(made().with_columns(primary_cache_hit=hit)).cost(5_000))
    assert "At 5,000 requests that no cache answers: primary $" in told
    assert "A cache answered 100 primary and 0 silent calls" in told
    assert "cache" not in subtitle(seen(made().with_columns(primary_cache_hit=pl.lit(False))).cost())


def test_savings_that_are_not_told_are_counted() -> None:
    told = subtitle(seen(pl.concat([made(20, arm=arm) for arm in "abcd"])).cost())
    assert told.count("At 1,000 requests") == 3
    assert "What a switch saves is told of 3 of 4 arms." in told


def test_refusals_are_beside_the_other_answers_figures() -> None:
    comparison = seen(made())
    figure = comparison.outputs()
    titles = [note.text for note in figure.layout.annotations]
    assert "Refusals<br>n = 300 pairs" in titles
    row = comparison.table.filter(metric="refusals").row(0, named=True)
    assert row["silent"] == 0.1
    drawn = [list(trace.x) for trace in figure.data if trace.type == "bar"]
    assert [row["primary"], row["silent"]] in drawn


def test_hostile_models_and_arms_run_nothing() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    frame = made(arm=hostile, model=hostile).with_columns(silent_output_tokens=pl.lit(None, pl.Int64))
    for figure in (seen(frame).cost(1e6), seen(frame).outputs()):
        assert "<img" not in figure.to_json()
        assert "\\u003cimg" not in figure.to_json()


def test_the_bill_without_prices_says_so() -> None:
    bare = made(30).with_columns(
        pl.lit(None, pl.Float64).alias(f"{side}_cost_usd") for side in ("primary", "silent")
    )
    figure = seen(bare).cost(1_000)
    assert [note.text for note in figure.layout.annotations if note.yref != "paper"] == [
        "no priced calls"
    ] * 2
