"""Each effect in words: right way round, the unit once, and no surer than the interval."""

from typing import Any

import pytest

from mirrorkit.compare.metrics import BUILT_IN
from mirrorkit.notebook.page.meanings import meaning


def row(
    metric: str, effect: float, low: float | None = None, high: float | None = None, **more: Any
) -> dict[str, Any]:
    known = BUILT_IN.get(metric)
    of = (
        {"estimand": known.estimand, "unit": known.unit}
        if known
        else {"estimand": "mean of the pairs", "unit": ""}
    )
    return {
        "metric": metric,
        "effect": effect,
        "low": low,
        "high": high,
        "primary": None,
        "silent": None,
        **of,
        **more,
    }


@pytest.mark.parametrize(
    ("of", "says"),
    [
        (
            row("latency", 0.5, 0.4, 0.6),
            "A typical answer takes 50.0 % less time; what was seen puts it at 40.0 to 60.0 % less time.",
        ),
        (
            row("cost", 2.5, 2.0, 3.0),
            "The same requests cost 150 % more; what was seen puts it at 100 to 200 % more.",
        ),
        (
            row("latency", 1.0, 0.9, 1.1),
            "It is as fast; what was seen allows anything from 10.0 % less time to 10.0 % more time.",
        ),
        (row("cost", 1.0, 1.0, 1.0), "It costs the same."),
        (row("cost", 1.0, 1 - 2e-16, 1 - 1e-16), "It costs the same."),
        (row("ttft", 1.2), "The first token takes 20.0 % more time; how sure that is cannot be said yet."),
        (
            row("cost", 0.9, None, 1.2),
            "The same requests cost 10.0 % less; what was seen allows up to 20.0 % more.",
        ),
        (
            row("errors", 0.02, -0.01, 0.05, primary=0.01, silent=0.03),
            "Of 1,000 calls 20 more fail (30 instead of 10); "
            "what was seen allows anything from 10 fewer to 50 more.",
        ),
        (
            row("errors", 0.0, -0.01, 0.01, primary=0.01, silent=0.01),
            "On both sides as many calls fail; what was seen allows anything from 10 fewer to 10 more.",
        ),
        (
            row("errors", 0.0009, -0.0021, 0.0204, primary=0.0011, silent=0.002),
            "Of 1,000 calls 0.900 more fail (2 instead of 1.10); "
            "what was seen allows anything from 2.10 fewer to 20.4 more.",
        ),
        (
            row("errors", 0.0009, primary=0.0204, silent=0.0213),
            "Of 1,000 calls 0.900 more fail (21.3 instead of 20.4); how sure that is cannot be said yet.",
        ),
        (
            row("errors", 0.999, primary=0.001, silent=1.0),
            "Of 1,000 calls 999 more fail (1,000 instead of 1); how sure that is cannot be said yet.",
        ),
        (
            row("refusals", 0.0004, 0.0001, 0.001),
            "Of 1,000 calls 0.400 more are refused; what was seen puts it at 0.100 to 1 more.",
        ),
        (
            row("identical", 0.5, 0.4, 0.6),
            "In 50.0 % of the pairs both give the same answer; what was seen puts it at 40.0 to 60.0 %.",
        ),
        (
            row("preference", 0.6, 0.45, 0.75),
            "People prefer its answer in 60.0 % of the pairs, a tie counting half; "
            "what was seen allows anything from 45.0 to 75.0 %.",
        ),
        (
            row("preference", 0.4, 0.3, 0.45),
            "People prefer its answer in 40.0 % of the pairs, a tie counting half; "
            "what was seen puts it at 30.0 to 45.0 %.",
        ),
        (
            row("my score", 3.2, 3.0, 3.4),
            "Its mean over the pairs is 3.20; what was seen puts it at 3.00 to 3.40.",
        ),
    ],
)
def test_an_effect_is_said_in_a_sentence(of: dict[str, Any], says: str) -> None:
    assert meaning(of) == says


@pytest.mark.parametrize("metric", BUILT_IN)
@pytest.mark.parametrize("effect", [0.0, 1e-9, 0.5, 1.0, 1e6, float("inf")])
@pytest.mark.parametrize("ends", [(None, None), (0.0, 1.0), (None, 1.0), (0.0, None), (1.0, 1.0)])
def test_every_metric_has_one_whatever_its_effect(
    metric: str, effect: float, ends: tuple[float | None, float | None]
) -> None:
    said = meaning(row(metric, effect, *ends))
    assert said.endswith(".")
    assert "  " not in said
    assert "{" not in said


def test_what_further_rows_add_is_said_too() -> None:
    cost = row("cost", 0.8)
    per_1000 = {
        **cost,
        "estimand": "difference per 1,000 calls",
        "unit": "USD per 1,000 calls",
        "effect": -0.54,
    }
    latency = row("latency", 0.8)
    p95 = {**latency, "estimand": "difference of p95", "effect": -0.2, "primary": 0.5, "silent": 0.3}
    net = row("identical", 0.5, estimand="difference of shares, net of control", primary=0.1, silent=0.6)
    assert meaning(cost, [per_1000]).endswith(" That is $0.540 less per 1,000 calls.")
    assert meaning(latency, [p95]).endswith(
        " One call in 20 takes longer than 0.500 s with the primary, 0.300 s with the silent model."
    )
    assert meaning(row("identical", 0.4), [net]).endswith(
        " Where the primary was asked twice, it differs from itself in 10.0 % of the pairs; "
        "there the silent model differs from it in 60.0 %."
    )
