"""The promise of a verdict, simulated: wrong in at most 5 % of runs, however often one looks.

Each run has 2,000 pairs of a model whose true effect is exactly at the margin. The rule is applied at every
prefix, which is stricter than a look every 10 pairs. Beside it: a paired t-test at a look every 10 pairs.
`pytest -m slow -s` shows the table.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri, stdtrit

from mirrorkit.compare import waves
from mirrorkit.compare.analysis import analyse
from mirrorkit.compare.evidence import Evidence, Floats, Whole, by_arm, draw
from mirrorkit.compare.gates import Crossing, crossing
from mirrorkit.compare.measured import measured
from mirrorkit.compare.metrics import BUILT_IN, BuiltIn, Metric, of_user, over_slo
from mirrorkit.compare.plan import Plan
from pairs import recorded

RUNS, PAIRS, LOOK_EVERY, ALPHA = 1_000, 2_000, 10, 0.05
MOST = 0.06
SHAPE = (RUNS, PAIRS)

Sides = tuple[Floats, Floats]
Make = Callable[[np.random.Generator, float], Sides]


@dataclass(frozen=True)
class Case:
    """A gate on a metric, and how to make the sides of pairs whose true effect is exactly at its margin."""

    metric: BuiltIn
    margin: float
    make: Make
    clustered: bool = False


def evidence(metric: BuiltIn, primary: Floats, silent: Floats, clusters: Whole | None = None) -> Evidence:
    """The evidence of one run; the values of a metric of pairs are given as those of the silent side."""
    with np.errstate(all="ignore"):
        if metric.kind == "ratio":
            values = np.log(silent) - np.log(primary)
        elif metric.kind == "median":
            values = np.where(primary == silent, 1.0, silent / primary)
        else:
            values = silent if metric.kind == "mean" else silent - primary
    return Evidence(metric, pl.DataFrame(), primary, silent, values, clusters, np.arange(len(values)))


def log_ratio(spread: float, noise: str = "normal") -> Make:
    """Lognormal times that are alike within a pair; the mean log ratio is the log of the margin."""

    def make(random: np.random.Generator, margin: float) -> Sides:
        primary = random.lognormal(0, 0.8, SHAPE)
        unit = random.laplace(0, 0.5**0.5, SHAPE) if noise == "laplace" else random.standard_normal(SHAPE)
        return primary, primary * np.exp(log(margin) + spread * unit)

    return make


def with_failures(random: np.random.Generator, margin: float) -> Sides:
    """Times where 3 % of each side never come, 1 % on both, and the median ratio is the margin."""
    primary, spread = random.lognormal(0, 0.8, SHAPE), 0.4
    above = (0.5 - 0.02) / 0.95  # of the pairs with two times: failures of silent alone are above too
    silent = primary * np.exp(log(margin) + spread * (ndtri(above) + random.standard_normal(SHAPE)))
    drawn = random.random(SHAPE)
    primary[drawn < 0.03] = np.inf
    silent[(drawn > 0.02) & (drawn < 0.05)] = np.inf
    return primary, silent


def totals(sigma: float, rho: float) -> Make:
    """Lognormal sides with heavy tails, correlated in their logs, the ratio of whose means is the margin."""

    def make(random: np.random.Generator, margin: float) -> Sides:
        one, other = random.standard_normal(SHAPE), random.standard_normal(SHAPE)
        silent = rho * one + (1 - rho**2) ** 0.5 * other
        return np.exp(sigma * one - 6), margin * np.exp(sigma * silent - 6)

    return make


def shares(primary: float) -> Make:
    """Failures on both sides, of which a third of the primary's come with one of the silent side."""

    def make(random: np.random.Generator, margin: float) -> Sides:
        first = random.random(SHAPE) < primary
        rest = (primary + margin - primary / 3) / (1 - primary / 3)
        shared = first & (random.random(SHAPE) < 1 / 3)
        return first.astype(float), (shared | (random.random(SHAPE) < rest)).astype(float)

    return make


def mean_of(draw_values: Callable[[np.random.Generator, float], Floats]) -> Make:
    return lambda random, margin: (np.empty((RUNS, 0)), draw_values(random, margin))


def coin(random: np.random.Generator, margin: float) -> Floats:
    return (random.random(SHAPE) < margin).astype(float)


def beta(size: float) -> Callable[[np.random.Generator, float], Floats]:
    return lambda random, margin: random.beta(size * margin, size * (1 - margin), SHAPE)


def preferences(random: np.random.Generator, margin: float) -> Floats:
    """A fifth are ties, and the rest are such that the mean is the margin."""
    drawn = random.random(SHAPE)
    return np.select([drawn < 0.2, drawn < 0.2 + margin - 0.1], [0.5, 1.0], 0.0)


def conversations(random: np.random.Generator) -> Whole:
    """Codes of conversations of 1 to 8 turns, some under way at a time."""
    sizes = random.integers(1, 9, PAIRS)
    codes = np.repeat(np.arange(PAIRS), sizes)[:PAIRS]
    return codes[np.argsort(np.arange(PAIRS) + random.uniform(0, 60, PAIRS))]


CLUSTERS = conversations(np.random.default_rng(7))


def clustered_ratio(icc: float) -> Make:
    def make(random: np.random.Generator, margin: float) -> Sides:
        own, whole = random.standard_normal(SHAPE), random.standard_normal(SHAPE)[:, CLUSTERS]
        logs = log(margin) + 0.4 * (icc**0.5 * whole + (1 - icc) ** 0.5 * own)
        return np.ones(SHAPE), np.exp(logs)

    return make


def clustered_shares(primary: float, icc: float) -> Make:
    """Beta-binomial: each conversation has its own share of failures on each side."""

    def side(random: np.random.Generator, share: float) -> Floats:
        size = 1 / icc - 1
        own = random.beta(size * share, size * (1 - share), SHAPE)[:, CLUSTERS]
        return (random.random(SHAPE) < own).astype(float)

    return lambda random, margin: (side(random, primary), side(random, primary + margin))


def clustered_coin(icc: float) -> Make:
    def draw_values(random: np.random.Generator, margin: float) -> Floats:
        size = 1 / icc - 1
        own = random.beta(size * margin, size * (1 - margin), SHAPE)[:, CLUSTERS]
        return (random.random(SHAPE) < own).astype(float)

    return mean_of(draw_values)


USER = of_user("polite", Metric(pl.col("note").str.len_chars()))
CASES: dict[str, Case] = {
    "latency": Case(BUILT_IN["latency"], 1.10, log_ratio(0.4)),
    "latency_with_errors": Case(BUILT_IN["latency_with_errors"], 1.10, with_failures),
    "ttft": Case(BUILT_IN["ttft"], 1.05, log_ratio(0.7, "laplace")),
    "tokens_per_s": Case(BUILT_IN["tokens_per_s"], 0.90, log_ratio(0.5)),
    "cost": Case(BUILT_IN["cost"], 0.80, totals(1.0, 0.8)),
    "cost, sides apart": Case(BUILT_IN["cost"], 1.00, totals(1.0, 0.3)),
    "output_tokens": Case(BUILT_IN["output_tokens"], 1.20, totals(0.7, 0.6)),
    "errors": Case(BUILT_IN["errors"], 0.01, shares(0.03)),
    "refusals": Case(BUILT_IN["refusals"], 0.02, shares(0.01)),
    "json_valid": Case(BUILT_IN["json_valid"], -0.02, shares(0.97)),
    "over_slo": Case(over_slo(2.0), 0.02, shares(0.10)),
    "identical": Case(BUILT_IN["identical"], 0.90, mean_of(coin)),
    "similarity": Case(BUILT_IN["similarity"], 0.90, mean_of(beta(10))),
    "preference": Case(BUILT_IN["preference"], 0.50, mean_of(preferences)),
    "a user's": Case(USER, 0.30, mean_of(beta(1))),
    "latency, ICC .1": Case(BUILT_IN["latency"], 1.10, clustered_ratio(0.1), clustered=True),
    "latency, ICC .3": Case(BUILT_IN["latency"], 1.10, clustered_ratio(0.3), clustered=True),
    "latency_with_errors, ICC .3": Case(
        BUILT_IN["latency_with_errors"], 1.10, clustered_ratio(0.3), clustered=True
    ),
    "errors, ICC .1": Case(BUILT_IN["errors"], 0.01, clustered_shares(0.03, 0.1), clustered=True),
    "errors, ICC .3": Case(BUILT_IN["errors"], 0.01, clustered_shares(0.03, 0.3), clustered=True),
    "identical, ICC .3": Case(BUILT_IN["identical"], 0.90, clustered_coin(0.3), clustered=True),
}


def runs(case: Case, seed: int) -> Iterator[Evidence]:
    primary, silent = case.make(np.random.default_rng(seed), case.margin)
    clusters = CLUSTERS if case.clustered else None
    for one, other in zip(primary, silent, strict=True):
        yield evidence(case.metric, one, other, clusters)


def crossed(case: Case, each: Evidence, gates: int = 1, allowed: Floats | None = None) -> Crossing:
    allowed = np.full(len(each), ALPHA) if allowed is None else allowed
    return crossing(each, case.margin, allowed, allowed / gates)


def t_test_switches(case: Case, each: Evidence) -> bool:
    """Whether a one-sided paired t-test, looked at every 10 pairs, ever clears the margin."""
    if case.metric.kind == "totals":
        beyond = each.silent - case.margin * each.primary
    elif case.metric.kind == "median":
        beyond = np.sign(each.values - case.margin)
    else:
        beyond = each.values - (log(case.margin) if case.metric.kind == "ratio" else case.margin)
    beyond = beyond if case.metric.better == "lower" else -beyond
    n = np.arange(1, PAIRS + 1)[LOOK_EVERY - 1 :: LOOK_EVERY]
    total, squares = (np.cumsum(x)[LOOK_EVERY - 1 :: LOOK_EVERY] for x in (beyond, beyond**2))
    mean = total / n
    sd = np.sqrt(np.maximum(squares - n * mean**2, 0) / (n - 1))
    seen = sd > 0  # what has not varied yet is no test
    return bool((mean[seen] * np.sqrt(n[seen]) / sd[seen] < stdtrit(n[seen] - 1, ALPHA)).any())


@pytest.fixture(scope="module")
def shown() -> Iterator[list[str]]:
    """Lines that are printed at the end: what was simulated."""
    lines = [f"\n\n{'wrong, in shares of runs':<32}{'switch':>8}{'keep':>8}{'t-test':>8}"]
    yield lines
    print("\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_gate_at_its_margin_rarely_decides(name: str, shown: list[str]) -> None:
    """As false "switch" and as false "keep"; the t-test says "switch" in 30 to 80 % of runs."""
    case = CASES[name]
    switch, keep, t_test = 0, 0, 0
    for each in runs(case, seed=100 + list(CASES).index(name)):
        told = crossed(case, each)
        switch += told.passed is not None
        keep += told.failed is not None
        t_test += t_test_switches(case, each)
    shown.append(f"{name:<32}{switch / RUNS:>8.3f}{keep / RUNS:>8.3f}{t_test / RUNS:>8.3f}")
    assert switch / RUNS <= MOST
    assert keep / RUNS <= MOST
    assert t_test / RUNS > 0.2


PLANS = {
    "latency, cost, errors": (1.0, ("latency", "cost", "errors")),
    "speed, identical, over_slo": (1.0, ("tokens_per_s", "identical", "over_slo")),
    "conversations, ICC .3": (1.0, ("latency, ICC .3", "errors, ICC .3", "identical, ICC .3")),
    "the first, just inside": (0.99, ("latency", "cost", "errors")),
}


@pytest.mark.slow
@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_whose_margins_all_hold_rarely_ends_in_keep(plan: str, shown: list[str]) -> None:
    """All effects are at the margin, where failing is likeliest, or just inside."""
    inside, names = PLANS[plan]
    failed = np.zeros(RUNS, dtype=bool)
    for number, name in enumerate(names):
        case = CASES[name]
        made = Case(case.metric, case.margin * inside, case.make, case.clustered)
        for run, each in enumerate(runs(made, seed=200 + number)):
            failed[run] |= crossed(case, each, gates=len(names)).failed is not None
    shown.append(f"{plan:<32}{'':>8}{failed.mean():>8.3f}")
    assert failed.mean() <= MOST


@pytest.mark.slow
def test_differences_that_matter_are_found_within_a_few_hundred_pairs(shown: list[str]) -> None:
    slower = Case(BUILT_IN["latency"], 1.10, log_ratio(0.4))
    made = [crossed(slower, each) for each in runs(Case(slower.metric, 1.40, slower.make), seed=300)]
    failed = [told.failed + 1 for told in made if told.failed is not None]
    assert len(failed) == RUNS
    cheaper = Case(BUILT_IN["cost"], 1.00, totals(1.0, 0.8))
    made = [crossed(cheaper, each) for each in runs(Case(cheaper.metric, 0.70, cheaper.make), seed=301)]
    passed = [told.passed + 1 for told in made if told.passed is not None]
    assert len(passed) > 0.99 * RUNS
    shown.append(
        f"pairs it takes (median, 9 of 10): ×1.4 as slow {_typical(failed)}, ×0.7 as dear {_typical(passed)}"
    )
    assert np.quantile(failed, 0.9) <= 200
    assert np.quantile(passed, 0.9) <= 600


def _typical(pairs: list[int]) -> str:
    return ", ".join(f"{np.quantile(pairs, level):.0f}" for level in (0.5, 0.9))


def frame_of(case: Case, primary: Floats, silent: Floats) -> pl.DataFrame:
    """The pairs of a run as a recording has them."""
    start = np.datetime64("2026-11-01", "us") + np.arange(PAIRS) * np.timedelta64(1, "s")
    columns: dict[str, Any] = {
        "pair_id": [f"p{number:05}" for number in range(PAIRS)],
        "model_group": "chat",
        "started_at": pl.Series(start).dt.replace_time_zone("UTC"),
    }
    if case.clustered:
        columns["cluster"] = [f"conversation {code}" for code in CLUSTERS]
    for side, values in (("primary", primary), ("silent", silent)):
        if case.metric.name == "errors":
            columns[f"{side}_status"] = np.where(values == 1, "error", "ok")
        elif case.metric.name == "latency_with_errors":
            columns[f"{side}_status"] = np.where(np.isinf(values), "timeout", "ok")
            columns[f"{side}_latency_s"] = values
        elif case.metric.kind == "mean":
            columns["lag_s"] = silent
        else:
            columns[f"{side}_{'cost_usd' if case.metric.name == 'cost' else 'latency_s'}"] = values
    return recorded(PAIRS, arm="next", **columns)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("latency", 1.0, 1.2),
        ("latency_with_errors", 1.0, 1.2),
        ("latency, ICC .3", 1.0, 1.2),
        ("cost", 0.7, 0.9),
        ("errors", -0.01, 0.03),
        ("errors, ICC .3", -0.025, 0.1),
        ("a user's", 0.35, 0.25),
    ],
)
def test_a_comparison_tells_what_the_simulated_rule_tells(name: str, better: float, worse: float) -> None:
    """From the frame of a run, a comparison decides the same after the same number of pairs."""
    case = CASES[name]
    own = {"polite": Metric(pl.col("lag_s"))} if case.metric is USER else {}
    plan = Plan(gates={case.metric.name: case.margin}, metrics=own)
    times = np.arange(PAIRS)
    allowed = waves.shares({"next": times})["next"].alphas(times, ALPHA)
    for effect, answer in ((better, "switch"), (worse, "keep")):
        seen = 0
        primaries, silents = case.make(np.random.default_rng(400), effect)
        for primary, silent in zip(primaries[:3], silents[:3], strict=True):
            each = evidence(case.metric, primary, silent, CLUSTERS if case.clustered else None)
            told = crossed(case, each, allowed=allowed)
            first = min(at for at in (told.passed, told.failed, PAIRS) if at is not None)
            verdict = analyse(measured(frame_of(case, primary, silent), plan), plan).verdict
            expected = answer if first < PAIRS else "keep collecting"
            assert verdict.answer == expected
            assert verdict.after == (first + 1 if first < PAIRS else None)
            seen += first < PAIRS
        assert seen


def test_the_evidence_simulated_is_the_evidence_drawn() -> None:
    random = np.random.default_rng(500)
    case = CASES["cost"]
    primary, silent = random.lognormal(-6, 1, (2, PAIRS))
    drawn = draw(by_arm(frame_of(case, primary, silent))["next"], case.metric)
    short = evidence(case.metric, primary, silent)
    assert np.array_equal(drawn.values, short.values)
    assert np.array_equal(drawn.primary, short.primary)
